"""Runs in lm-eval's own environment, offline: python harness.py JOB.json

A job names the data, the tasks and the recorded responses; out come, for each task and filter, what lm-eval read,
how it scored, its mean and its standard error, and the messages that it would send.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("HF_HOME", str(Path.cwd() / "hf"))

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

SHIPPED = Path(lm_eval.__file__).parent / "tasks"
FILES = {
    "gsm8k": "gsm8k/gsm8k.yaml",
    "gsm8k_cot": "gsm8k/gsm8k-cot.yaml",
    "gsm8k_cot_zeroshot": "gsm8k/gsm8k-cot-zeroshot.yaml",
    "gsm8k_cot_llama": "gsm8k/gsm8k-cot-llama.yaml",
    "gsm8k_cot_self_consistency": "gsm8k/gsm8k-cot-self-consistency.yaml",
    "gsm8k_platinum": "gsm8k_platinum/gsm8k-platinum.yaml",
    "gsm8k_platinum_cot": "gsm8k_platinum/gsm8k-platinum-cot.yaml",
    "gsm8k_platinum_cot_zeroshot": "gsm8k_platinum/gsm8k-platinum-cot-zeroshot.yaml",
    "gsm8k_platinum_cot_llama": "gsm8k_platinum/gsm8k-platinum-cot-llama.yaml",
    "gsm8k_platinum_cot_self_consistency": "gsm8k_platinum/gsm8k-platinum-cot-self-consistency.yaml",
    "mmlu_generative": "mmlu/generative/mmlu_anatomy.yaml",
}


def write_tasks(folder: Path, job: dict[str, Any]) -> Any:
    """The shipped tasks, with the data swapped for local files; they are called NAME_local."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in job["tasks"]:
        data = job["mmlu"] if name.startswith("mmlu") else job["gsm8k"]
        splits = {"test": data["test"]} if "platinum" in name else data
        lines = [f"include: {SHIPPED / FILES[name]}", f"task: {name}_local", "dataset_path: json", "dataset_name: null"]
        lines.append(f"dataset_kwargs: {json.dumps({'data_files': splits})}")
        lines += ["num_fewshot: 5"] if name.startswith("mmlu") else []
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")
    return TaskManager(include_path=str(folder), include_defaults=False)


class Recorded(LM):  # type: ignore[misc]
    """Answers the k-th request for a document with its k-th recorded response."""

    tokenizer_name = "recorded"

    def __init__(self, responses: list[list[str]]) -> None:
        super().__init__()
        self.responses = responses
        self.asked: dict[int, int] = {}
        self.prompts: list[str] = []

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
        return json.dumps(chat_history, ensure_ascii=False)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        texts = []
        for request in requests:
            nth = self.asked[request.doc_id] = self.asked.get(request.doc_id, -1) + 1
            if not nth:
                self.prompts.append(request.args[0])
            texts.append(self.responses[request.doc_id][nth])
        return texts

    def loglikelihood(self, requests: Any) -> Any:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


def lines(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def digest(texts: Iterable[str]) -> str:
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def whole(name: str, manager: Any, responses: list[list[str]]) -> dict[str, Any]:
    """lm-eval's whole evaluation of one task."""
    model = Recorded(responses)
    task = f"{name}_local"
    said = lm_eval.simple_evaluate(
        model=model, tasks=[task], log_samples=True, task_manager=manager, apply_chat_template=True
    )
    result, filters = said["results"][task], {}
    for metric in result:
        kind, comma, filter_name = metric.partition(",")
        if kind == "exact_match" and comma:
            rows = sorted((s for s in said["samples"][task] if s["filter"] == filter_name), key=lambda s: s["doc_id"])
            filters[filter_name] = {
                "read": digest(str(row["filtered_resps"][0]) for row in rows),
                "scores": digest(repr(float(row["exact_match"])) for row in rows),
                "mean": float(result[metric]),
                "stderr": float(result[f"exact_match_stderr,{filter_name}"]),
                "count": len(rows),
            }
    return {"prompts": digest(model.prompts), "filters": filters}


def fuzzed(name: str, manager: Any, pairs: list[dict[str, str]]) -> Iterator[list[list[Any]]]:
    """What the filters and the metric of a task make of responses: [[name of the filter, read, score], ...] each."""
    (task,) = manager.load([f"{name}_local"])["tasks"].values()
    if name.startswith("mmlu"):
        docs: list[dict[str, Any]] = [
            {"answer": "ABCD".index(p["letter"]), "question": "", "choices": list("1234")} for p in pairs
        ]
    else:
        docs = [{"question": "", "answer": p["answer"]} for p in pairs]
    instances = [
        Instance("generate_until", doc, ("",), 0, (name, n, 1), resps=[pair["response"]])
        for n, (doc, pair) in enumerate(zip(docs, pairs, strict=True))
    ]
    for each in task._filters:
        if not each.name.startswith("maj"):
            each.apply(instances)
    for doc, instance in zip(docs, instances, strict=True):
        yield [[key, read, scored(task, doc, read)] for key, read in instance.filtered_resps.items()]


SCORED: dict[tuple[str, ...], float] = {}
"""Tasks with the same metric need not score the same twice."""


def scored(task: Any, doc: dict[str, Any], read: str) -> float:
    """lm-eval's score of what was read."""
    key = (json.dumps(task.config.metric_list, default=str), str(doc["answer"]), read)
    if key not in SCORED:
        SCORED[key] = float(task.process_results(doc, [read])["exact_match"])
    return SCORED[key]


def main(job_file: str) -> None:
    job = json.loads(Path(job_file).read_text())
    manager = write_tasks(Path(job["folder"]) / "tasks", job)
    if job["do"] == "whole":
        said = {name: whole(name, manager, lines(file)) for name, file in job["tasks"].items()}
        Path(job["out"]).write_text(
            json.dumps({"version": lm_eval.__version__, "adds_up": sum([0.1] * 10), "tasks": said})
        )
    elif job["do"] == "fuzz":
        pairs = lines(job["pairs"])
        with Path(job["out"]).open("w") as out:
            for name in job["tasks"]:
                for found in fuzzed(name, manager, pairs):
                    out.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

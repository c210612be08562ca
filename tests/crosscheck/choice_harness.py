"""Runs in lm-eval's own environment, offline: python choice_harness.py JOB.json

A job names one multiple-choice task, its made-up data and the recorded responses, by subtask and question. Out come the
messages, what each filter read, the scores, means and standard errors, of subtasks and groups. With "pairs", only the
filters and the metric are applied, to rows with their own choices. GPQA needs a fresh process and an empty HF_HOME:
`datasets` caches the shuffled choices.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from crosscheck.harness import SHIPPED, Recorded, lines

GPQA = "gpqa/cot_zeroshot/gpqa_diamond_cot_zeroshot.yaml"
PRO, REDUX = "mmlu_pro", "mmlu-redux/generative"
PAIR_TASKS = {
    "gpqa_diamond_cot_zeroshot": GPQA,
    "mmlu_pro": f"{PRO}/mmlu_pro_biology.yaml",
    "mmlu_redux_generative": f"{REDUX}/mmlu_anatomy.yaml",
}


def shipped_files(task: str) -> dict[str, str]:
    """Return the YAML files of a task or group, by lm-eval's name of the (sub)task."""
    if task.startswith("gpqa"):
        return {task: GPQA}
    folder, prefix, end = (PRO, "mmlu_pro_", "") if task == PRO else (REDUX, "mmlu_", "_generative")
    files = sorted((SHIPPED / folder).glob(f"{prefix}*.yaml"))
    names = [f.stem if task == PRO else f"mmlu_redux_{f.stem.removeprefix(prefix)}{end}" for f in files]
    return {name: f"{folder}/{file.name}" for name, file in zip(names, files, strict=True)}


def write_tasks(folder: Path, task: str, data: dict[str, Any]) -> dict[str, str]:
    """Write the shipped tasks with the data replaced; return the names of those for which there is data."""
    folder.mkdir(parents=True)
    names = {}
    for name, file in shipped_files(task).items():
        subject = name.removeprefix("mmlu_redux_").removesuffix("_generative").removeprefix("mmlu_pro_")
        files = data.get(subject, data.get("all"))
        if files is None:
            continue
        kind = "csv" if task.startswith("gpqa") else "json"
        text = (
            f"include: {SHIPPED / file}\ntask: {name}_local\ndataset_path: {kind}\ndataset_name: null\n"
            f"dataset_kwargs: {json.dumps({'data_files': files})}\n"
        )
        (folder / f"{name}.yaml").write_text(text)
        names[f"{name}_local"] = subject
    return names


def write_groups(folder: Path, names: dict[str, str], groups: dict[str, list[str]]) -> None:
    """Write the groups, each with lm-eval's aggregation. The last one has all subjects: it consists of the others."""
    *parts, _ = groups
    for group, subjects in groups.items():
        members = parts if parts and group not in parts else [n for n, subject in names.items() if subject in subjects]
        metric = {"metric": "exact_match", "aggregation": "mean", "weight_by_size": True}
        text = f"group: {group}\ntask: {json.dumps(members)}\naggregate_metric_list: {json.dumps([metric])}\n"
        (folder / f"group-{group.replace(' ', '-')}.yaml").write_text(text)


class BySubtask(Recorded):
    """Answers a document of a subtask with its recorded response."""

    def __init__(self, responses: dict[str, list[str]], names: dict[str, str]) -> None:
        super().__init__([])
        self.by_subject, self.names = responses, names
        self.sent: dict[str, list[str]] = {}

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        texts = []
        for request in sorted(requests, key=lambda each: each.doc_id):
            self.sent.setdefault(self.names[request.task_name], []).append(request.args[0])
        for request in requests:
            texts.append(self.by_subject[self.names[request.task_name]][request.doc_id])
        return texts


def written(job: dict[str, Any]) -> dict[str, str]:
    """Write the tasks and groups of a job; return the subject of each task by name."""
    names = write_tasks(Path(job["folder"]), job["task"], job["data"])
    if job["groups"]:
        write_groups(Path(job["folder"]), names, job["groups"])
    return names


def whole(job: dict[str, Any]) -> dict[str, Any]:
    """Return lm-eval's whole evaluation."""
    folder, names = Path(job["folder"]), written(job)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    model = BySubtask(json.loads(Path(job["responses"]).read_text()), names)
    said = lm_eval.simple_evaluate(
        model=model,
        tasks=list(job["groups"])[-1:] or list(names),
        log_samples=True,
        task_manager=manager,
        apply_chat_template=True,
    )
    figures = {**said["results"], **said.get("groups", {})}
    return {
        "prompts": model.sent,
        "rows": {
            names[name]: [[s["doc_id"], s["filter"], str(s["filtered_resps"][0]), s["exact_match"]] for s in samples]
            for name, samples in said["samples"].items()
        },
        "figures": {names.get(name, name): dict(_figures(values)) for name, values in figures.items()},
    }


def _figures(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        kind, comma, _ = key.partition(",")
        if comma and kind in ("exact_match", "exact_match_stderr"):
            yield key, float(value) if value != "N/A" else None


def fuzzed(job: dict[str, Any], out: Any) -> None:
    """Write what the filters and the metric of a task make of each pair."""
    folder = Path(job["folder"])
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(
        f"include: {SHIPPED / PAIR_TASKS[job['task']]}\ntask: fuzz_local\ndataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs: {json.dumps({'data_files': job['data']['all']})}\n"
    )
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    (task,) = manager.load(["fuzz_local"])["tasks"].values()
    pairs = lines(job["pairs"])
    docs = [{"choices": p["choices"], "answer": _gold(job["task"], p["right"]), "question": ""} for p in pairs]
    instances = [
        Instance("generate_until", doc, ("",), 0, ("fuzz", n, 1), resps=[pair["response"]])
        for n, (doc, pair) in enumerate(zip(docs, pairs, strict=True))
    ]
    for each in task._filters:
        each.apply(instances)
    for doc, instance in zip(docs, instances, strict=True):
        read = instance.filtered_resps.items()
        out.write(json.dumps([[k, v, float(task.process_results(doc, [v])["exact_match"])] for k, v in read]) + "\n")


def _gold(task: str, right: int) -> Any:
    return (
        right
        if task.startswith("mmlu_redux")
        else f"({'ABCD'[right]})"
        if task.startswith("gpqa")
        else "ABCDEFGHIJ"[right]
    )


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    with Path(given["out"]).open("w") as file:
        if "pairs" in given:
            fuzzed(given, file)
        else:
            json.dump(whole(given) if "responses" in given else written(given), file)

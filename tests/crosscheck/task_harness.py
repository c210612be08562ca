"""Runs in lm-eval's own environment, offline: python task_harness.py JOB.json

Evaluates tasks as lm-eval ships them, on local rows and on recorded responses: one response to each row. A job has

    folder, out      where to write
    tasks            name -> {yaml, rows, split, responses}: the file of the task below lm_eval/tasks, the rows in the
                     form of the hub, the name of their split, the responses in the order of the rows
    groups           name -> {tasks, weight_by_size}: groups of these tasks, whose means are wanted

The result has, for each task, its messages and request bodies (as hashes), its mean and standard error by metric, and
a file with what lm-eval extracted and scored of each row; for each group, its mean and standard error.
"""

import copy
import json
import os
import sys
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("HF_HOME", str(Path.cwd() / "hf"))

import lm_eval
import lm_eval.utils
import sympy
from lm_eval.api.model import LM
from lm_eval.models.openai_completions import LocalChatCompletion
from lm_eval.tasks import TaskManager

SHIPPED = Path(lm_eval.__file__).parent / "tasks"
lm_eval.utils.env.from_string = cache(lm_eval.utils.env.from_string)
"""lm-eval compiles the same few templates for every row, which is most of its time."""


def remember_mathematics() -> None:
    """Have sympy parse each text and simplify each expression once. Responses without an answer are all the same."""
    import math_verify.grader  # noqa: F401  it keeps sympy's own function
    from sympy.parsing import latex

    simplify, results = sympy.simplify, dict[str, Any]()

    def remembering(expression: Any) -> Any:
        key = sympy.srepr(expression)
        if key not in results:
            results[key] = simplify(expression)
        return results[key]

    latex.parse_latex, sympy.simplify = cache(latex.parse_latex), remembering


class Recorded(LM):  # type: ignore[misc]
    """Answers the request for a document with its recorded response, and keeps the body that would be sent."""

    tokenizer_name = "recorded"

    def __init__(self, responses: dict[str, list[str]]) -> None:
        super().__init__()
        self.responses = responses
        self.prompts: dict[str, list[str]] = {name: [] for name in responses}
        self.bodies: dict[str, list[str]] = {name: [] for name in responses}
        self._api = LocalChatCompletion(base_url="http://localhost/v1/chat/completions", model="any")

    def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
        return json.dumps(chat_history, ensure_ascii=False)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        texts = []
        for request in requests:
            prompt, settings = request.args
            self.prompts[request.task_name].append(prompt)
            body = self._api._create_payload(
                json.loads(prompt), generate=True, gen_kwargs=copy.deepcopy(settings), seed=1234, eos=None
            )
            self.bodies[request.task_name].append(json.dumps(body))
            texts.append(self.responses[request.task_name][request.doc_id])
        return texts

    def loglikelihood(self, requests: Any) -> Any:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


def digest(texts: Iterable[str]) -> str:
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def write_tasks(folder: Path, job: dict[str, Any]) -> TaskManager:
    """The shipped tasks, with the data swapped for local files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, each in job["tasks"].items():
        files = dict.fromkeys((each["split"], *each.get("more_splits", ())), each["rows"])
        lines = [
            f"include: {SHIPPED / each['yaml']}", f"task: {name}", "dataset_path: json", "dataset_name: null",
            f"dataset_kwargs: {json.dumps({'data_files': files})}", *each.get("changes", ()),
        ]  # fmt: skip
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, each in job.get("groups", {}).items():
        metrics = [
            {"metric": "exact_match", "aggregation": "mean", "weight_by_size": each["weight_by_size"],
             "filter_list": each["filters"]}
        ]  # fmt: skip
        group = {"group": name, "task": each["tasks"], "aggregate_metric_list": metrics, "metadata": {"version": 1}}
        (folder / f"{name}.yaml").write_text(json.dumps(group), encoding="utf-8")
    return TaskManager(include_path=str(folder), include_defaults=False)


def main(job_file: str) -> None:
    """Do a job."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    folder = Path(job["folder"])
    remember_mathematics()
    manager = write_tasks(folder / "tasks", job)
    responses = {
        name: [json.loads(line) for line in Path(each["responses"]).read_text(encoding="utf-8").splitlines()]
        for name, each in job["tasks"].items()
    }
    model = Recorded(responses)
    said = lm_eval.simple_evaluate(
        model=model, tasks=[*job["tasks"], *job.get("groups", {})], log_samples=True, task_manager=manager,
        apply_chat_template=True, bootstrap_iters=100,
    )  # fmt: skip
    result: dict[str, Any] = {"version": lm_eval.__version__, "tasks": {}, "groups": {}}
    for name in job["tasks"]:
        rows_file = folder / f"{name}.rows"
        rows: dict[int, dict[str, Any]] = {}
        for sample in said["samples"][name]:
            scores = {metric: sample[metric] for metric in sample["metrics"] if metric in sample}
            rows.setdefault(sample["doc_id"], {})[sample["filter"]] = [sample["filtered_resps"][0], scores]
        with rows_file.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(rows[n], default=float) + "\n" for n in sorted(rows))
        numbers = {key: value for key, value in said["results"][name].items() if "," in key}
        result["tasks"][name] = {
            "prompts": digest(model.prompts[name]), "bodies": digest(model.bodies[name]),
            "count": len(rows), "first_body": model.bodies[name][0], "numbers": numbers, "rows": str(rows_file),
        }  # fmt: skip
    for name in job.get("groups", {}):
        result["groups"][name] = {key: value for key, value in said["groups"][name].items() if "," in key}
    Path(job["out"]).write_text(json.dumps(result, default=float), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])

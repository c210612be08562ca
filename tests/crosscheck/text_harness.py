"""Runs in lm-eval's own environment, offline: python text_harness.py JOB.json

A job names IFEval or a group of BIG-Bench Hard, its questions by subtask and a response to each. Out come the messages,
for each row and metric what was read and the score, and the means and standard errors of subtasks and of the group.
With "pairs" only the filters and the metric are applied; with neither, the tasks are only written.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from choice_harness import BySubtask  # type: ignore[import-not-found]
from harness import SHIPPED, Instance, TaskManager, lines, lm_eval  # type: ignore[import-not-found]
from langdetect import DetectorFactory

DetectorFactory.seed = 0  # as in our checks; lm-eval has none
METRICS = (
    "exact_match",
    *(f"{level}_level_{kind}_acc" for level in ("prompt", "inst") for kind in ("strict", "loose")),
)


def write_tasks(folder: Path, job: dict[str, Any]) -> dict[str, str]:
    """Write the shipped tasks with the data replaced, and their group; return their names by subtask."""
    folder.mkdir(parents=True)
    names = {}
    for subtask, file in job["data"].items():
        name = subtask if subtask == "ifeval" else f"{job['task']}_{subtask}"
        path = "ifeval/ifeval.yaml" if subtask == "ifeval" else f"{job['task'].replace('bbh_', 'bbh/')}/{subtask}.yaml"
        files = {"train" if subtask == "ifeval" else "test": file}
        (folder / f"{name}.yaml").write_text(
            f"include: {SHIPPED / path}\ntask: {name}_local\ndataset_path: json\ndataset_name: null\n"
            f"dataset_kwargs: {json.dumps({'data_files': files})}\n"
            + "".join(f"{key}: {json.dumps(value)}\n" for key, value in job["prompts"].get(subtask, {}).items())
        )
        names[f"{name}_local"] = subtask
    if job["task"] != "ifeval":
        metrics = [
            {"metric": "exact_match", "aggregation": "mean", "weight_by_size": True, "filter_list": job["filters"]}
        ]
        (folder / "group.yaml").write_text(
            f"group: {job['task']}\ntask: {json.dumps([*names])}\naggregate_metric_list: {json.dumps(metrics)}\n"
        )
    return names


def whole(job: dict[str, Any]) -> dict[str, Any]:
    """Return lm-eval's whole evaluation."""
    names = write_tasks(Path(job["folder"]), job)
    manager = TaskManager(include_path=job["folder"], include_defaults=False)
    model = BySubtask(json.loads(Path(job["responses"]).read_text()), names)
    said = lm_eval.simple_evaluate(
        model=model, tasks=[job["task"] if job["task"] != "ifeval" else "ifeval_local"], log_samples=True,
        task_manager=manager, apply_chat_template=True,
    )  # fmt: skip
    figures = {**said["results"], **said.get("groups", {})}
    return {
        "prompts": model.sent,
        "rows": {
            names[name]: [[s["doc_id"], *row] for s in sorted(samples, key=lambda s: s["doc_id"]) for row in _scores(s)]
            for name, samples in said["samples"].items()
        },
        "figures": {names.get(name, name): dict(_figures(values)) for name, values in figures.items()},
    }


def _scores(sample: dict[str, Any]) -> Iterator[list[Any]]:
    for metric in METRICS:
        if metric in sample:
            read = sample["filtered_resps"][0] if metric == "exact_match" else None
            yield [sample["filter"] if metric == "exact_match" else metric, read, _number(sample[metric])]


def _number(value: Any) -> float:
    return sum(value) / len(value) if isinstance(value, list) else float(value)


def _figures(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        metric, comma, name = key.partition(",")
        plain = metric.removesuffix("_stderr")
        if comma and plain in METRICS:
            label = f"{name if plain == 'exact_match' else plain}{'_stderr' if metric != plain else ''}"
            yield label, float(value) if value != "N/A" else None


def fuzzed(job: dict[str, Any], out: Any) -> None:
    """Write what the filters and the metric make of each pair: [[filter or metric, read, score], ...], or the error."""
    names = write_tasks(Path(job["folder"]), job)
    manager = TaskManager(include_path=job["folder"], include_defaults=False)
    tasks = {names[name]: task for name, task in manager.load([*names])["tasks"].items()}
    for pair in lines(job["pairs"]):
        task = tasks[pair["subtask"]]
        if pair["subtask"] == "ifeval":
            verdicts = task.process_results(pair["doc"], [pair["response"]])
            out.write(json.dumps([[name, verdicts[f"inst_level_{name}_acc"]] for name in ("strict", "loose")]) + "\n")
            continue
        try:
            instance = Instance("generate_until", pair["doc"], ("",), 0, ("x", 0, 1), resps=[pair["response"]])
            for each in task._filters:
                each.apply([instance])
            found = [
                [name, read, float(task.process_results(pair["doc"], [read])["exact_match"])]
                for name, read in instance.filtered_resps.items()
            ]
        except (IndexError, ValueError) as error:  # word2number cannot read some numbers
            found = repr(error)  # type: ignore[assignment]
        out.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    with Path(given["out"]).open("w") as file:
        if "pairs" in given:
            fuzzed(given, file)
        elif "responses" in given:
            json.dump(whole(given), file)
        else:
            json.dump(write_tasks(Path(given["folder"]), given), file)

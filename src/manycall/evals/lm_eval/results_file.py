"""The scores in lm-eval's results file: of tasks or subtasks, and of groups of subtasks."""

import math
from collections.abc import Sequence
from typing import Any

from manycall.evals.eval_result import MeanEstimate
from manycall.evals.grouped_scores import GROUP_MEANS
from manycall.evals.lm_eval.export_samples import NO_FILTER, TaskSamples
from manycall.evals.lm_eval.task_names import group_name, metric_name
from manycall.evals.stats.group_means import SubtaskMean
from manycall.evals.tasks.task import SubtaskGroup, Task

NOT_KNOWN = "N/A"
"""What lm-eval writes for a standard error that is not known."""


def lm_eval_mean(scores: Sequence[float], weights: Sequence[float] = ()) -> MeanEstimate:
    """Return mean and standard error as lm-eval computes them (`mean`, `mean_stderr` in its api/metrics.py).

    The scores are added in the order of the questions, so that the results are equal to the last bit. With weights,
    the mean is that of all parts (IFEval's instructions), and has no standard error.
    """
    count = len(scores)
    if weights:
        parts = sum(score * weight for score, weight in zip(scores, weights, strict=True))
        return MeanEstimate(parts / sum(weights), None, count)
    mean = sum(scores) / count
    variance = sum([(x - mean) ** 2 for x in scores]) / (count - 1) if count > 1 else None
    return MeanEstimate(mean, None if variance is None else math.sqrt(variance) / math.sqrt(count), count)


def task_entry(task: Task, samples: TaskSamples) -> dict[str, Any]:
    """Return the entry of a (sub)task in `results`."""
    alias = samples.subtask.replace(" ", "_") or task.name
    return {"name": samples.name, "alias": alias, "sample_len": samples.answered, **_numbers(task, _means(samples))}


def group_entries(task: Task, parts: Sequence[TaskSamples]) -> dict[str, dict[str, Any]]:
    """Return the entries of `groups`."""
    found = {}
    for group in task.groups:
        members = [_means(part) for part in _members(group, parts)]
        if members:
            average = GROUP_MEANS[group.weight]
            means = {key: average([each[key] for each in members]) for key in members[0]}
            name, total = group_name(task, group), max(mean.rows for mean in means.values())
            found[name] = {"name": name, "alias": name, "sample_len": total, **_numbers(task, means)}
    return found


def group_members(task: Task, parts: Sequence[TaskSamples]) -> dict[str, list[str]]:
    """Return `group_subtasks`: a group of all subtasks lists the groups within it, and subtasks that are in none."""
    inner = {
        group_name(task, group): [part.name for part in _members(group, parts)]
        for group in task.groups
        if group.subtasks is not None and _members(group, parts)
    }
    listed = {name for names in inner.values() for name in names}
    rest = [part.name for part in parts if part.name not in listed]
    outer = [group_name(task, group) for group in task.groups if group.subtasks is None]
    return {**inner, **{name: [*inner, *rest] for name in outer}}


def _members(group: SubtaskGroup, parts: Sequence[TaskSamples]) -> list[TaskSamples]:
    return [part for part in parts if group.subtasks is None or part.subtask in group.subtasks]


def _means(samples: TaskSamples) -> dict[str, SubtaskMean]:
    means = {name: lm_eval_mean(scores, samples.weights.get(name, ())) for name, scores in samples.scores.items()}
    return {name: SubtaskMean(mean.value, mean.stderr, mean.count) for name, mean in means.items()}


def _numbers(task: Task, means: dict[str, SubtaskMean]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for name, mean in means.items():
        metric = metric_name(task, name)
        label = NO_FILTER if metric == name else name
        numbers[f"{metric},{label}"] = mean.value
        numbers[f"{metric}_stderr,{label}"] = NOT_KNOWN if mean.stderr is None else mean.stderr
    return numbers

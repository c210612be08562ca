"""lm-eval's names of tasks, subtasks, groups and metrics."""

from manycall.evals.tasks.registry import BENCHMARKS
from manycall.evals.tasks.task import SubtaskGroup, Task


def metric_name(task: Task, filter_name: str) -> str:
    """Return lm-eval's name of the metric of a filter."""
    return BENCHMARKS[task.name].metric or filter_name if task.name in BENCHMARKS else "score"


def subtask_name(task: Task, subtask: str) -> str:
    """Return lm-eval's name of a subtask, for example mmlu_pro_computer_science; of the task if `subtask` is ""."""
    if not subtask:
        return task.name
    form = BENCHMARKS[task.name].subtask_name if task.name in BENCHMARKS else ""
    return (form or f"{task.name}_{{}}").format(subtask.replace(" ", "_"))


def group_name(task: Task, group: SubtaskGroup) -> str:
    """Return lm-eval's name of a group. The group of all subtasks has the name of the task, others are within it."""
    return task.name if group.subtasks is None else f"{task.name}::{group.name}"

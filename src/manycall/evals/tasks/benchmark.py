"""Benchmark, the entry of a task in the registry."""

import msgspec

from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Task

LM_EVAL = "lm-evaluation-harness 0.4.13"


class Benchmark(msgspec.Struct, frozen=True):
    """A built-in task and what a user should know about it.

    Attributes:
        task: the task. It has no rows until its `loader` adds them.
        questions: number of questions in the published data.
        authority: whose protocol the task follows, to which its scores are equal. "manycall": our own variant.
        data: where the questions come from, in one line.
        extra: the optional dependencies that the task needs, for example "math"; "": none.
        metric: lm-eval's name of the metric of every filter. "": the name of each filter is that of a metric.
        version: version of the task in lm-eval; None if lm-eval has no such task.
        subtask_name: lm-eval's name of a subtask, with {} for the value of `Task.subtask`. "": the name of the task and
            the value.
    """

    task: Task
    questions: int
    authority: str
    data: str
    extra: str = ""
    metric: str = "exact_match"
    version: float | None = None
    subtask_name: str = ""

    @property
    def source(self) -> str:
        """Where the questions come from, and whether a download of them can be verified."""
        loader = self.task.loader
        is_verified = not isinstance(loader, PublishedData) or loader.is_verified
        return self.data if is_verified else f"{self.data} (checksum not confirmed)"

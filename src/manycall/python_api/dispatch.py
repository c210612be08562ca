"""Where a job runs. Today: in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TypeVar

from manycall.errors import ManycallError, RunStopped
from manycall.run.async_bridge import run_blocking
from manycall.run.job import Job
from manycall.run.job_group import GroupMember, run_group
from manycall.run.options import RunOptions
from manycall.run.run_result import RunResult
from manycall.run.session import run_job
from manycall.run.signals import Interrupts

R = TypeVar("R")


@contextmanager
def resume_note(out: str | PathLike[str]) -> Iterator[None]:
    """Add a note to the traceback of a run that stopped: how many rows are saved, and how to resume."""
    try:
        yield
    except RunStopped as stopped:
        stopped.add_note(f"{stopped.rows_done} rows are saved in {out}. Make the same call again to resume.")
        raise


def run(job: Job[R], options: RunOptions) -> R:
    """Run a job and return its result. Blocks; works in a notebook too, where a loop is already running.

    Raises:
        RunStopped: no call can succeed, a limit was reached, or the run was interrupted. The same call resumes it.
        StorageError: the files cannot be read or written.
    """
    interrupts = Interrupts()
    with resume_note(options.out):
        return job.finish(run_blocking(run_job(job, options, interrupts), interrupts))


def run_together(title: str, members: Sequence[GroupMember]) -> list[RunResult | ManycallError]:
    """Run several jobs at once. Return for each how it went, or why it stopped. Blocks, as `run` does.

    Args:
        title: the name of the jobs in the status line.

    Raises:
        UsageError, StorageError: before any call.
        Interrupted: the jobs were interrupted. The same call resumes them.
    """
    interrupts = Interrupts()
    return run_blocking(run_group(title, members, interrupts), interrupts)

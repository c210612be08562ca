"""Where a job runs. Today: in this process."""

from typing import TypeVar

from manycall.run.async_bridge import run_blocking
from manycall.run.job import Job, run_job
from manycall.run.options import RunOptions
from manycall.run.signals import Interrupts

R = TypeVar("R")


def run(job: Job[R], options: RunOptions) -> R:
    """Run a job and return its result. Blocks; works in a notebook too, where a loop is already running.

    Raises:
        RunStopped: no call can succeed, a limit was reached, or the run was interrupted. The same call resumes it.
        StorageError: the files cannot be read or written.
    """
    interrupts = Interrupts()
    return job.finish(run_blocking(run_job(job, options, interrupts), interrupts))

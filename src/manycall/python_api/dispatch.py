"""Where a job runs: in this process, or in several."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from typing import Any, TypeVar

from manycall.errors import ManycallError, RunStopped, UsageError
from manycall.option_flags import option
from manycall.python_api.job_call import current_call, encode_job_call
from manycall.run.async_bridge import run_blocking
from manycall.run.job import Job
from manycall.run.job_group import GroupMember, run_group
from manycall.run.options import RunOptions
from manycall.run.run_result import RunResult
from manycall.run.session import MakeEngine, run_job
from manycall.run.signals import Interrupts

R = TypeVar("R")
MAX_PROCESSES = 256


RunHere = Callable[[Job[Any], RunOptions], Any]
_run_by: ContextVar[RunHere | None] = ContextVar("run_by", default=None)


@contextmanager
def jobs_run_by(run_here: RunHere) -> Iterator[None]:
    """Pass the jobs that are built inside the `with` block to a function, as a worker process does."""
    token = _run_by.set(run_here)
    try:
        yield
    finally:
        _run_by.reset(token)


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
    if (run_here := _run_by.get()) is not None:
        return run_here(job, options)  # type: ignore[no-any-return]
    make_engine = None if options.dry_run else _make_engine(job, options)
    interrupts = Interrupts()
    with resume_note(options.out):
        return job.finish(run_blocking(run_job(job, options, interrupts, make_engine), interrupts))


def _make_engine(job: Job[Any], options: RunOptions) -> MakeEngine | None:
    """Return what processes the rows in other processes; None if the options want this process to do it.

    Raises:
        UsageError: the job cannot be passed to other processes.
    """
    processes = options.processes
    if processes is None:
        return None
    from manycall.cluster.driver import WorkerGroup
    from manycall.cluster.local_workers import LocalStarter
    from manycall.cluster.worker_count import WorkerCount

    if sys.platform == "win32":
        raise UsageError(f"{option('processes')} needs Linux or macOS. On Windows, use WSL.")
    if isinstance(processes, str) and processes != "auto" and not processes.isdecimal():
        raise UsageError(f"{option('processes', processes)} is neither a number nor auto.")
    count = None if processes == "auto" else int(processes)
    if count is not None and not 1 <= count <= MAX_PROCESSES:
        raise UsageError(f"{option('processes', count)} is not between 1 and {MAX_PROCESSES}.")
    call = current_call()
    assert call is not None
    encoded = encode_job_call(call.for_worker(job.source.first_row))
    key = None if options.api_key is None else options.api_key.reveal()
    return lambda session: WorkerGroup(session, LocalStarter(encoded, key), WorkerCount(count))


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

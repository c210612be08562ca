"""Where a job runs: in this process, or in several."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from typing import Any, TypeVar

from manycall.cluster.starting import WorkerStarter
from manycall.errors import ManycallError, RunStopped, UsageError
from manycall.option_flags import is_command_line, option
from manycall.python_api.job_call import USER_MODULE, JobCall, current_call, encode_job_call
from manycall.run.async_bridge import run_blocking
from manycall.run.job import Job
from manycall.run.job_group import GroupMember, run_group
from manycall.run.options import RunOptions
from manycall.run.run_job import run_job
from manycall.run.run_result import RunResult
from manycall.run.session import JobSession, MakeEngine
from manycall.run.signals import Interrupts

R = TypeVar("R")
MAX_PROCESSES = 1_000


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
    if options.processes is None and options.cluster is None:
        return None
    from manycall.cluster.driver import WorkerGroup
    from manycall.cluster.worker_count import WorkerCount

    count = _worker_count(options.processes)
    start = _local_workers(job, options) if options.cluster is None else _ray_workers(job, options, options.cluster)

    def make_engine(session: JobSession) -> WorkerGroup:
        starter = start(session)
        return WorkerGroup(session, starter, WorkerCount(count, starter.cores))

    return make_engine


def _worker_count(processes: int | str | None) -> int | None:
    """Return the number of workers; None for as many as are needed.

    Raises:
        UsageError: `processes` is not a number of workers.
    """
    if processes is None or processes == "auto":
        return None
    if isinstance(processes, str) and not processes.isdecimal():
        raise UsageError(f"{option('processes', processes)} is neither a number nor auto.")
    if not 1 <= (count := int(processes)) <= MAX_PROCESSES:
        raise UsageError(f"{option('processes', count)} is not between 1 and {MAX_PROCESSES}.")
    return count


def _local_workers(job: Job[Any], options: RunOptions) -> Callable[[JobSession], WorkerStarter]:
    from manycall.cluster.local_workers import LocalStarter

    if sys.platform == "win32":
        raise UsageError(f"{option('processes')} needs Linux or macOS. On Windows, use WSL.")
    encoded = encode_job_call(_call_for_worker(job))
    key = None if options.api_key is None else options.api_key.reveal()
    return lambda session: LocalStarter(encoded, key)


def _ray_workers(job: Job[Any], options: RunOptions, address: str) -> Callable[[JobSession], WorkerStarter]:
    if options.api_key is not None:
        raise UsageError(
            f"{option('api_key')} is not sent to other machines. With {option('cluster', address)}, set the variable "
            "of the provider wherever workers run, or write the key to an endpoints.toml that all of them read."
        )
    from manycall.cluster.ray_workers import RayStarter, connect
    from manycall.python_api.worker_jobs import RayTask, work_on_ray

    task = RayTask(_call_for_worker(job), job.source.first_row, is_command_line())
    modules = [module for name, module in [*sys.modules.items()] if name.startswith(USER_MODULE)]
    disconnects = connect(address)
    return lambda session: RayStarter(
        work_on_ray, task, session.folder.folder.resolve(), modules=modules, disconnects=disconnects
    )


def _call_for_worker(job: Job[Any]) -> JobCall:
    call = current_call()
    assert call is not None
    return call.for_worker(job.source.first_row)


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

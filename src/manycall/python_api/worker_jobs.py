"""Build the job of another process, and run it as a worker of that process."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from manycall.cluster.link import Link
from manycall.cluster.worker import run_worker
from manycall.cluster.worker_messages import failure_message
from manycall.errors import ManycallError
from manycall.option_flags import spelled_as_flags
from manycall.python_api import dispatch, jobs
from manycall.python_api.job_call import ROWS_ARGUMENTS, JobCall
from manycall.records import Fields
from manycall.run.async_bridge import run_blocking
from manycall.run.job import Job
from manycall.run.options import RunOptions


def run_as_worker(call: JobCall, is_command_line: bool, open_link: Callable[[], Awaitable[Link]]) -> None:
    """Make the call that builds the job, and work for the driver. Blocks until there is nothing left to do.

    Args:
        call: the call of the driver, for a worker (`JobCall.for_worker`).
        is_command_line: how messages name options.
        open_link: connects to the driver, in the loop of the worker.

    Raises:
        ManycallError: the job cannot be built here.
    """

    def work(job: Job[Any], options: RunOptions) -> None:
        async def linked() -> None:
            await run_worker(job, options, await open_link())

        run_blocking(linked())

    with spelled_as_flags() if is_command_line else nullcontext(), dispatch.jobs_run_by(work):
        job = import_module(f"{jobs.__name__}.{call.function}_call")
        getattr(job, call.function)(**call.arguments)


class RayTask(NamedTuple):
    """What Ray sends to a worker.

    Attributes:
        call: see `run_as_worker`.
        first_row: a row of the input, for a machine that does not see the file of the rows.
        is_command_line: how messages name options.
    """

    call: JobCall
    first_row: Fields | None
    is_command_line: bool


def work_on_ray(task: RayTask, link: Link) -> None:
    """Work for the driver at the other end of a link, in a process that Ray has started."""

    async def opened() -> Link:
        return link

    arguments = dict(task.call.arguments)
    for name in ROWS_ARGUMENTS:
        if isinstance(path := arguments.get(name), str | Path) and not Path(path).exists():
            arguments[name] = [] if task.first_row is None else [task.first_row]
    try:
        run_as_worker(JobCall(task.call.function, arguments), task.is_command_line, opened)
    except ManycallError as error:
        link.send(failure_message(error))

"""A worker process of a run with several processes. `cluster/local_workers.py` starts it."""

import os
import socket
from contextlib import nullcontext

from manycall.cli.user_code import load_module
from manycall.cluster.link import open_socket_link, receive_now, send_now
from manycall.cluster.local_workers import KEY_VARIABLE
from manycall.cluster.worker import run_worker
from manycall.cluster.worker_messages import failure_message
from manycall.errors import ManycallError
from manycall.option_flags import spelled_as_flags
from manycall.python_api import dispatch, jobs
from manycall.python_api.job_call import decode_job_call
from manycall.run.async_bridge import run_blocking
from manycall.run.job import Job
from manycall.run.options import RunOptions


def main(descriptor: int) -> None:
    """Work for the driver at the other end of a socket.

    Args:
        descriptor: file descriptor of the socket.
    """
    key = os.environ.pop(KEY_VARIABLE, None)
    connected = socket.socket(fileno=descriptor)
    if (encoded := receive_now(connected)) is None:
        return
    try:
        call, is_command_line = decode_job_call(encoded, load_module)
        arguments = call.arguments if key is None else {**call.arguments, "api_key": key}
        with spelled_as_flags() if is_command_line else nullcontext(), dispatch.jobs_run_by(_Work(connected).run):
            getattr(jobs, call.function)(**arguments)
    except ManycallError as error:
        send_now(connected, failure_message(error))


class _Work:
    """Runs the job that is built in this process as a worker."""

    def __init__(self, connected: socket.socket) -> None:
        self._connected = connected

    def run(self, job: Job[object], options: RunOptions) -> None:
        """Work for the driver."""

        async def work() -> None:
            await run_worker(job, options, await open_socket_link(self._connected))

        run_blocking(work())

"""A worker process of a run with several processes. `cluster/local_workers.py` starts it."""

import os
import socket
from functools import partial

from manycall.cli.user_code import load_module
from manycall.cluster.link import open_socket_link, receive_now, send_now
from manycall.cluster.local_workers import KEY_VARIABLE
from manycall.cluster.worker_messages import failure_message
from manycall.errors import ManycallError
from manycall.python_api.job_call import decode_job_call
from manycall.python_api.worker_jobs import run_as_worker


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
        if key is not None:
            call = call._replace(arguments={**call.arguments, "api_key": key})
        run_as_worker(call, is_command_line, partial(open_socket_link, connected))
    except ManycallError as error:
        send_now(connected, failure_message(error))

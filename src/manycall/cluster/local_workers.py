"""Workers on this machine: processes that are connected to the driver by socket pairs."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial

from manycall.client.system_limits import available_cores
from manycall.client.threads import in_own_thread
from manycall.cluster.link import Link, open_socket_link
from manycall.errors import RunStopped
from manycall.option_flags import option
from manycall.sim.process import PACKAGE_FOLDER

START = """\
import sys
sys.path.append(sys.argv[1])
from manycall.cli.worker_process import main
main(int(sys.argv[2]))
"""
KEY_VARIABLE = "MANYCALL_WORKER_KEY"
"""Environment variable of a worker with the key that the driver was given in Python."""


class LocalWorker:
    """A worker process on this machine.

    Attributes:
        link: the connection to it.
    """

    def __init__(self, link: Link, process: "subprocess.Popen[bytes]") -> None:
        self.link, self._process = link, process

    def __repr__(self) -> str:
        return f"<LocalWorker, process {self._process.pid}>"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """End the process at once, also if it is frozen."""
        self._process.kill()

    async def wait(self) -> str:
        """Wait until the process has ended. Return why, if it was not by itself; "" otherwise."""
        self.link.close()
        status = await in_own_thread(self._process.wait)
        if status < 0:
            with suppress(ValueError):
                return f"killed by signal {signal.Signals(-status).name}"
        return f"ended with status {status}" if status else ""


class LocalStarter:
    """Starts workers on this machine.

    Args:
        call: the call that builds the job, encoded (python_api/job_call.py).
        key: the API key that was given in Python; None if there is none.

    Attributes:
        cores: number of cores of this machine that may be used.
    """

    is_local = True

    def __init__(self, call: bytes, key: str | None) -> None:
        self._call, self.cores = call, available_cores()
        self._environment = {**os.environ, **({} if key is None else {KEY_VARIABLE: key})}

    async def start(self, number: int) -> LocalWorker:
        """Start a worker process. It ends when this process does.

        Raises:
            RunStopped: the system refuses another process or file.
        """
        try:
            link, process = await self._start()
        except OSError as error:
            raise RunStopped(
                f"A worker process cannot be started: {error.strerror}. Lower {option('processes')}, or raise the "
                "limits of open files (ulimit -n) and of processes (ulimit -u)."
            ) from error
        link.send(self._call)
        return LocalWorker(link, process)

    async def _start(self) -> tuple[Link, "subprocess.Popen[bytes]"]:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await in_own_thread(partial(self._spawn, theirs.fileno()))
            return await open_socket_link(ours), process
        except BaseException:
            ours.close()
            raise

    def _spawn(self, descriptor: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(PACKAGE_FOLDER), str(descriptor)], stdin=subprocess.DEVNULL,
            pass_fds=[descriptor], start_new_session=True, env=self._environment,
        )  # fmt: skip

    async def close(self) -> None:
        """Nothing is left to release."""

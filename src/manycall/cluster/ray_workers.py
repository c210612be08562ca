"""Workers that are actors of a Ray cluster. The only module that imports ray.

An actor is never restarted: it has no state that a new process could continue. The driver starts another worker
instead, with another segment. Nothing in a worker calls Ray, so nothing in it can wait for Ray.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from manycall._version import __version__
from manycall.client.threads import in_own_thread
from manycall.cluster.actor_link import ActorEnd, DriverEnd, FromWorker
from manycall.cluster.link import Link
from manycall.cluster.mirrored_link import MirroringLink
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.terminal import sanitize_line

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no reports of usage
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # no messages of Ray among those of the command
}
"""Ray's settings of this process, which it reads when it is imported. What the user has set is kept."""
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

try:
    import ray
    from ray.exceptions import ActorUnavailableError, RayActorError
except ImportError as error:
    raise UsageError(f"{option('cluster', 'auto')} needs Ray: pip install 'manycall[ray]'. ({error})") from None

CONNECT_SECONDS = 5.0
"""How long the head of a cluster may take to accept a connection. Ray itself tries for two minutes."""
CLOSE_SECONDS = 10.0
THREADS = 6
"""Threads of an actor: one runs the worker, the others answer the driver, also if it repeats a call that is late."""
CURRENT_CLUSTER = "/tmp/ray/ray_current_cluster"  # noqa: S108
"""Where `ray start` writes the address of the head (ray/_private/utils.py)."""

Work = Callable[[Any, Link], None]
"""Makes the calls of a worker. It gets the task that was passed to `RayStarter`, and the link to the driver."""


class WorkerActor:
    """The process of a worker. Its methods run concurrently, in threads."""

    def __init__(self) -> None:
        self._end = ActorEnd()

    def run(self, pickled: bytes, version: str, folder: str, path: list[str]) -> None:
        """Work for the driver until there is nothing left to do.

        Args:
            pickled: the work and its task.
            version: the driver's version of manycall.
            folder: the driver's working directory, because paths may be relative to it.
            path: where the driver finds modules; this process looks there, too.

        Raises:
            RuntimeError: this machine has another version.
        """
        try:
            if version != __version__:
                raise RuntimeError(f"manycall {__version__} is installed on {socket.gethostname()}, not {version}")
            with suppress(OSError):
                os.chdir(folder)
            sys.path.extend(each for each in path if each not in sys.path)
            work, task = ray.cloudpickle.loads(pickled)
            work(task, self._end)
        finally:
            self._end.close()

    def take(self, first: int, messages: list[bytes]) -> int:
        """See `ActorEnd.take`."""
        return self._end.take(first, messages)

    def next_messages(self, acknowledged: int) -> FromWorker:
        """See `ActorEnd.next_messages`."""
        return self._end.next_messages(acknowledged)


class _Calls:
    """The methods of an actor, for the driver's end of the link."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def take(self, first: int, messages: list[bytes]) -> "Future[int]":
        return self._actor.take.remote(first, messages).future()  # type: ignore[no-any-return]

    def next_messages(self, acknowledged: int) -> "Future[FromWorker]":
        return self._actor.next_messages.remote(acknowledged).future()  # type: ignore[no-any-return]

    def is_lost(self, error: BaseException) -> bool:
        return isinstance(error, RayActorError) and not isinstance(error, ActorUnavailableError)


class RayWorker:
    """A worker on the cluster. It may wait for a free core, or for the cluster to add one.

    Attributes:
        link: the connection to it.
    """

    def __init__(self, actor: Any, end: DriverEnd, link: Link, ended: "Future[None]") -> None:
        self.link = link
        self._actor, self._end = actor, end
        self._ended = asyncio.wrap_future(ended)
        self._ended.add_done_callback(self._close_if_failed)

    def kill(self) -> None:
        """End the process at once."""
        with suppress(Exception):  # the cluster is gone
            ray.kill(self._actor)

    async def wait(self) -> str:
        """Wait until its process has ended, or is dead for Ray. Return why, if it was not by itself; "" otherwise."""
        self.link.close()
        try:
            await self._ended
        except Exception as error:
            return _sentence(error)
        self.kill()
        return ""

    def _close_if_failed(self, ended: "asyncio.Future[None]") -> None:
        """End the link if the worker cannot say anything any more."""
        if not ended.cancelled() and ended.exception() is not None:
            self._end.close()


class RayStarter:
    """Starts workers on the cluster that this process is connected to. Each takes a core.

    Args:
        work: makes the calls of a worker, in the worker's process.
        task: what Ray passes to `work`. Its functions are sent with their code, as far as they are defined in the
            user's script, in a notebook or in one of `modules`.
        modules: modules that the workers cannot import.
        run_folder: the run folder.
        disconnects: end the connection when the workers have ended.

    Attributes:
        cores: number of cores of the cluster, as Ray counts them.

    Raises:
        UsageError: Ray cannot send the task.
    """

    is_local = False

    def __init__(
        self, work: Work, task: Any, run_folder: Path, *, modules: Iterable[ModuleType] = (), disconnects: bool = True
    ) -> None:
        self._run_folder, self._disconnects = run_folder, disconnects
        for module in modules:
            ray.cloudpickle.register_pickle_by_value(module)
        try:
            pickled = ray.cloudpickle.dumps((work, task))
        except Exception as error:  # of an object of the user
            raise UsageError(f"An argument cannot be sent to the workers: {_sentence(error)}") from None
        self.cores = int(ray.cluster_resources().get("CPU", 0))
        self._arguments = pickled, __version__, str(Path.cwd()), sys.path
        self._actor = ray.remote(WorkerActor).options(
            num_cpus=1, max_concurrency=THREADS, max_restarts=0, scheduling_strategy="SPREAD"
        )

    async def start(self, number: int) -> RayWorker:
        """Start a worker, as soon as a core is free."""
        actor = self._actor.remote()
        link = DriverEnd(_Calls(actor))
        ended = actor.run.remote(*self._arguments).future()
        return RayWorker(actor, link, MirroringLink(link, self._run_folder, number), ended)

    async def close(self) -> None:
        """Disconnect from the cluster, unless the program was connected before."""
        if self._disconnects:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await in_own_thread(ray.shutdown)


def connect(address: str) -> bool:
    """Connect this process to a cluster. Return False if the program was connected before.

    Args:
        address: the head of the cluster, HOST:PORT; "auto": the cluster of this machine or of RAY_ADDRESS.

    Raises:
        UsageError: there is no such cluster, or it has another version of Ray or Python.
    """
    if ray.is_initialized():
        return False
    _check_reachable(address)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"Cannot connect to the Ray cluster {address}: {_sentence(error)}. If the cluster requires a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or write the token to ~/.ray/auth_token."
        ) from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)  # Ray replaces it
    return True


def _check_reachable(address: str) -> None:
    """Check that a process accepts connections at the head's address."""
    if address == "auto":
        with suppress(OSError):
            address = os.environ.get("RAY_ADDRESS") or Path(CURRENT_CLUSTER).read_text("utf-8").strip()
    if address.startswith("ray://"):
        raise UsageError(
            f"{option('cluster', address)}: Ray Client (ray://) is not supported. Run the command on a machine of the "
            "cluster, for example with `ray job submit`, or pass HOST:PORT of the head."
        )
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return  # Ray explains what is wrong
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"No Ray cluster answers at {address} ({error.strerror or error}). Start one as docs/scale.md says, or "
            f"use {option('processes', 'auto')} for this machine only."
        ) from None


def _sentence(error: BaseException) -> str:
    """Return the line of an error of Ray that says what happened: the last line of a traceback, else the first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return sanitize_line(lines[-1] if "ray::" in lines[0] else lines[0])

"""The worker processes of a run: started, followed, ended."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Protocol

from manycall import clock
from manycall.cluster.driven_worker import DrivenWorker
from manycall.cluster.starting import WorkerStarter
from manycall.cluster.worker_messages import Report, Setup, decode_report, encode_message

END_SECONDS, KILL_SECONDS = 20.0, 5.0
"""How long workers may take to end, before they are killed: silent ones after all others, and any after the run."""


class PoolListener(Protocol):
    """Acts on what workers do."""

    def take_report(self, worker: DrivenWorker, report: Report) -> None:
        """Handle a report, which is newer than those before it."""

    def take_end(self, worker: DrivenWorker, died: str) -> None:
        """Handle that the process of a worker has certainly ended. `died`: why, if it was not by itself."""

    def take_error(self, error: Exception) -> None:
        """Handle that the files cannot be written, or a bug."""


class WorkerPool:
    """The workers that have not ended.

    Args:
        starter: starts them.
        setup: returns the first message to a worker with this number.
        listener: acts on what they do.
    """

    def __init__(self, starter: WorkerStarter, setup: Callable[[int], Setup], listener: PoolListener) -> None:
        self._starter, self._setup, self._listener = starter, setup, listener
        self._workers: dict[int, DrivenWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._alone_since = 0.0

    def __repr__(self) -> str:
        return f"<WorkerPool {[*self._workers]}>"

    @property
    def all(self) -> list[DrivenWorker]:
        """The workers whose processes have not ended."""
        return [*self._workers.values()]

    @property
    def active(self) -> list[DrivenWorker]:
        """Those of them that have not lost their rows. One that replaces another takes its place in this list."""
        return sorted((each for each in self._workers.values() if not each.is_lost), key=lambda each: each.place)

    def __getitem__(self, number: int) -> DrivenWorker:
        return self._workers[number]

    async def start(self, number: int) -> None:
        """Start a worker.

        Raises:
            RunStopped: it cannot be started.
        """
        taken = {each.place for each in self.active}
        place = next(place for place in count() if place not in taken)
        worker = DrivenWorker(number, place, await self._starter.start(number))
        worker.started.link.send(encode_message(self._setup(number)))
        self._workers[number] = worker
        task = asyncio.create_task(self._follow(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, worker: DrivenWorker) -> None:
        """Receive the reports of a worker until its process has ended."""
        died = "could not be followed"
        with self._killed_after_an_error(worker):
            await self._receive_reports(worker)
        with self._killed_after_an_error(worker):
            died = await worker.started.wait()
        del self._workers[worker.number]
        with self._killed_after_an_error(worker):
            self._listener.take_end(worker, died)

    @contextmanager
    def _killed_after_an_error(self, worker: DrivenWorker) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # its segment cannot be written here, or a bug
            self._listener.take_error(error)
            worker.started.kill()

    async def _receive_reports(self, worker: DrivenWorker) -> None:
        while (message := await worker.started.link.receive()) is not None:
            try:
                report = decode_report(message)
                if worker.record(report, clock.now()):
                    self._listener.take_report(worker, report)
            except Exception as error:  # the worker goes on: it finishes the calls in flight and journals them
                self._listener.take_error(error)
            if worker.has_ended:
                break

    def kill_silent(self, now: float) -> None:
        """Kill the workers that have lost their rows and are still there some time after all others have ended."""
        if self.active:
            self._alone_since = now
        elif now - self._alone_since >= END_SECONDS:
            self._kill_all()

    def _kill_all(self) -> None:
        for worker in self._workers.values():
            worker.started.kill()

    async def close(self) -> None:
        """Kill the workers that have not begun. Wait for the others, and kill them if that takes too long."""
        for worker in self._workers.values():
            if worker.report is None:
                worker.started.kill()
        for _ in range(2):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=KILL_SECONDS)
            self._kill_all()
        await self._starter.close()

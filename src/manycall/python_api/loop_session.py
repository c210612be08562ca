"""A `Client` in one event loop: its connections, single calls and running jobs.

Connections belong to an event loop. A client that is used in several (the one of a notebook and the one of a
synchronous job, for example) has a session in each.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from manycall.client.call_client import CallClient
from manycall.client.job_client import JobClient
from manycall.client.requests import ModelReply
from manycall.errors import OutputLocked, RunStopped
from manycall.records import Request
from manycall.run.row_stream import StreamState

CLOSED = "the client was closed"


class LoopSession:
    """The connections of a client in one event loop.

    Args:
        shared: the client of all calls and jobs, not open yet.

    Attributes:
        shared: the client of all calls and jobs.
        is_open: the connections are open.
    """

    def __init__(self, shared: CallClient) -> None:
        self.shared = shared
        self._opening = asyncio.Lock()
        self.is_open = False
        self._calls: JobClient | None = None
        self._pending_calls = 0
        self._idle = asyncio.Event()
        self._jobs: dict[Path, StreamState] = {}

    def __repr__(self) -> str:
        return f"<LoopSession {self._pending_calls} calls, {len(self._jobs)} jobs>"

    async def open(self) -> None:
        """Open the connections, if they are not."""
        if self.is_open:
            return
        async with self._opening:
            if not self.is_open:
                await self.shared.__aenter__()
                self.is_open = True

    async def call(self, request: Request) -> ModelReply:
        """Make a single call."""
        self._pending_calls += 1
        try:
            return await self._single_calls().send(request)
        finally:
            self._pending_calls -= 1
            self._idle.set()

    def _single_calls(self) -> JobClient:
        """Return the client of single calls. A failure that stopped earlier calls does not stop later ones."""
        calls = self._calls
        if calls is None or (calls.stopped is not None and not calls.permits.in_flight):
            if calls is not None:
                calls.leave()
            self._calls = calls = JobClient(
                self.shared.pool, self.shared.model, self.shared.params, named=self.shared.named_pools
            )
        return calls

    @asynccontextmanager
    async def writing(self, out: Path, job: StreamState) -> AsyncIterator[None]:
        """Run a job that writes to this absolute path, after an earlier one that is stopping.

        Raises:
            OutputLocked: another job of this client writes to it and is not stopping.
        """
        while (other := self._jobs.get(out)) is not None:
            if not other.is_stopping:
                raise OutputLocked(
                    f"{out.name} is being written by another job of this client. Wait for that job, or stop it: "
                    "await stream.aclose(). To stop all jobs of the client: await client.aclose()."
                )
            assert other.task is not None
            await asyncio.wait([other.task])
        self._jobs[out] = job
        try:
            yield
        finally:
            del self._jobs[out]

    async def close(self) -> None:
        """Stop jobs and single calls, wait for the calls in flight, and close the connections."""
        for job in [*self._jobs.values()]:
            await job.stop_and_wait(CLOSED)
        if self._calls is not None:
            self._calls.stop(RunStopped(CLOSED))
        while self._pending_calls:
            self._idle.clear()
            await self._idle.wait()
        self.is_open = False
        await self.shared.__aexit__(None, None, None)

    def abandon(self) -> None:
        """Stop the simulated endpoints of a session whose event loop is closed."""
        if self.is_open:
            for pool in self.shared.all_pools:
                for sim in pool.sims:
                    sim.stop()


def close_dropped(sessions: dict[asyncio.AbstractEventLoop, LoopSession]) -> None:
    """Close the sessions of a client that was garbage-collected without being closed."""
    for loop, session in sessions.items():
        if loop.is_closed():
            session.abandon()
        else:
            with suppress(RuntimeError):  # the loop is closed at this moment
                loop.call_soon_threadsafe(_close_soon, session)


_closing: set[asyncio.Task[None]] = set()


def _close_soon(session: LoopSession) -> None:
    task = asyncio.create_task(session.close())  # noqa: TID251 (the client that should own it is gone)
    _closing.add(task)
    task.add_done_callback(_closing.discard)

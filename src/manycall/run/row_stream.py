"""The results of a job as an async iterator."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from manycall.errors import Interrupted
from manycall.records import Failure, Success
from manycall.run.job import SessionHandle
from manycall.run.run_result import RunResult


class RowStream:
    """Rows of a job as they finish: `async for result in stream` yields `Success | Failure`.

    `await stream` runs to the end and returns the `RunResult`, also after the loop. The job starts with the first of
    the two. New rows start only while fewer results wait to be read than calls may be in flight.

    Cancelling the task that reads works like one Ctrl-C: calls in flight finish and are saved, then `CancelledError`
    is raised; cancelling again aborts them. With `out=`, the same call resumes. `await stream.aclose()` stops the job
    in the same way after a `break`. Rows of earlier sessions are in the output and are not yielded again.

    Args:
        begin: starts the job; gets the stream.
    """

    def __init__(self, begin: Callable[["RowStream"], Awaitable[RunResult]]) -> None:
        self._begin = begin
        self._unread: deque[Success | Failure] = deque()
        self._is_read = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[RunResult] | None = None
        self._is_closed = False
        self.session = SessionHandle()
        self.max_unread: Callable[[], int] = lambda: 1
        self.on_read: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        state = "not started" if self._task is None else "finished" if self._task.done() else "running"
        return f"<RowStream {state}, {len(self._unread)} unread results>"

    def add(self, result: Success | Failure) -> None:
        """Take a result from the scheduler."""
        if self._is_read:
            self._unread.append(result)
            self._changed.set()

    def wants_rows(self) -> bool:
        """Whether another row may start."""
        return not self._is_read or len(self._unread) < self.max_unread()

    def __aiter__(self) -> "RowStream":
        self._is_read = True
        return self

    async def __anext__(self) -> Success | Failure:
        if self._is_closed:
            raise StopAsyncIteration
        task = self._start()
        while not self._unread:
            if task.done():
                task.result()
                raise StopAsyncIteration
            self._changed.clear()
            await self._interruptible(self._changed.wait())
        result = self._unread.popleft()
        self.on_read()
        return result

    def __await__(self) -> Generator[Any, Any, RunResult]:
        return self._run_to_end().__await__()

    async def _run_to_end(self) -> RunResult:
        self._is_read = False
        self._unread.clear()
        task = self._start()
        self.on_read()
        await self._interruptible(asyncio.wait([task]))
        return task.result()

    async def aclose(self) -> None:
        """Stop: start no new call, wait for the calls in flight."""
        self._is_closed = True
        self._is_read = False
        self._unread.clear()
        await self._drain()

    def _start(self) -> asyncio.Task[RunResult]:
        if self._task is None:
            self._task = asyncio.ensure_future(self._begin(self))
            self._task.add_done_callback(self._ended)
        return self._task

    def _ended(self, task: asyncio.Task[RunResult]) -> None:
        self._changed.set()
        if not task.cancelled():
            task.exception()  # if nobody reads the stream any more, nobody asks

    async def _interruptible(self, waiting: Awaitable[object]) -> None:
        try:
            await waiting
        except asyncio.CancelledError:
            await self._drain()
            raise

    async def _drain(self) -> None:
        if self._task is None:
            return
        self.session.stop(Interrupted("cancelled"))
        self.on_read()
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError:
            self.session.cancel(Interrupted("cancelled"))
            await asyncio.wait([self._task])
            raise

"""The results of a job as an async iterator.

The user holds a `RowStream`, the job a `StreamState`. The job does not refer to the stream, so that a stream without
other references is garbage-collected and stops its job.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

from manycall.errors import Interrupted, ManycallError
from manycall.records import Failure, Success
from manycall.run.run_result import RunResult
from manycall.run.session_handle import SessionHandle

_running: set[asyncio.Task[RunResult]] = set()
"""The tasks of jobs, because an event loop refers to its tasks only weakly."""


class StreamState:
    """What the job and its stream share: the results that wait to be read, and the request to stop.

    Attributes:
        session: stops the job, and starts more rows when results were read.
        task: the job; None before it starts.
    """

    def __init__(self) -> None:
        self.session = SessionHandle()
        self.task: asyncio.Task[RunResult] | None = None
        self.is_stopping = False
        self.is_read = False
        self.unread: deque[Success | Failure] = deque()
        self.changed = asyncio.Event()

    def __repr__(self) -> str:
        state = "not started" if self.task is None else "finished" if self.task.done() else "running"
        return f"<StreamState {state}, {len(self.unread)} unread results>"

    def add(self, result: Success | Failure) -> None:
        """Take a result from the scheduler."""
        if self.is_read:
            self.unread.append(result)
            self.changed.set()

    def wants_rows(self) -> bool:
        """Whether another row may start."""
        return not self.is_read or len(self.unread) < self.session.total_window

    def keep_results(self) -> None:
        """Keep results for the reader of the stream from now on."""
        self.is_read = True

    def read_all(self) -> None:
        """Keep no results from now on."""
        self.is_read = False
        self.unread.clear()
        self.session.recheck()

    def start(self, work: Awaitable[RunResult]) -> asyncio.Task[RunResult]:
        """Start the job."""
        self.task = task = asyncio.ensure_future(work)
        _running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[RunResult]) -> None:
        _running.discard(task)
        self.changed.set()
        if not task.cancelled():
            task.exception()  # mark it as retrieved, because the stream may not be read any more

    def stop(self, why: str) -> None:
        """Start no new call. Calls in flight finish and are saved."""
        self.is_stopping = True
        self.session.stop(Interrupted(why))
        self.read_all()

    async def stop_and_wait(self, why: str) -> None:
        """Stop the job and wait until it has ended. If the wait is cancelled, abort the calls in flight too."""
        if self.task is None or self.task.done():
            return
        self.stop(why)
        try:
            await asyncio.wait([self.task])
        except asyncio.CancelledError:
            self.session.cancel(Interrupted(why))
            await asyncio.wait([self.task])
            raise


def _stop_abandoned(loop: asyncio.AbstractEventLoop, state: StreamState) -> None:
    """Stop the job of a stream that was garbage-collected, possibly in another thread."""
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(state.stop, "the stream was dropped before it finished")


class RowStream:
    """Rows of a job as they finish: `async for result in stream` yields `Success | Failure`.

    `await stream` runs to the end and returns the `RunResult`, also after the loop. The job starts with the first of
    the two. New rows start only while fewer results wait to be read than calls may be in flight.

    Cancelling the task that reads works like one Ctrl-C: calls in flight finish and are saved, then `CancelledError`
    is raised; cancelling again aborts them. With `out=`, the same call resumes. After a `break`, `await
    stream.aclose()` stops the job in the same way and waits for it; a stream that is no longer referred to stops
    by itself. Rows of earlier sessions are in the output and are not yielded again.

    Args:
        begin: starts the job.
    """

    def __init__(self, begin: Callable[[StreamState], Awaitable[RunResult]]) -> None:
        self._begin = begin
        self._state = StreamState()
        self._is_closed = False

    def __repr__(self) -> str:
        return repr(self._state).replace("StreamState", "RowStream")

    def __aiter__(self) -> "RowStream":
        return self

    async def __anext__(self) -> Success | Failure:
        if self._is_closed:
            raise StopAsyncIteration
        state = self._state
        state.keep_results()
        task = self._start()
        while not state.unread:
            if task.done():
                _result_of(task)
                raise StopAsyncIteration
            state.changed.clear()
            await self._interruptible(state.changed.wait())
        result = state.unread.popleft()
        state.session.recheck()
        return result

    def __await__(self) -> Generator[Any, Any, RunResult]:
        return self.result().__await__()

    async def result(self) -> RunResult:
        """Run to the end and return how the run went, like `await stream`: a coroutine, for `create_task`."""
        task = self._start()
        self._state.read_all()
        await self._interruptible(asyncio.wait([task]))
        return _result_of(task)

    async def aclose(self) -> None:
        """Stop: start no new call, wait for the calls in flight."""
        self._is_closed = True
        await self._state.stop_and_wait("the stream was closed")

    def _start(self) -> asyncio.Task[RunResult]:
        if self._state.task is not None:
            return self._state.task
        dropped = weakref.finalize(self, _stop_abandoned, asyncio.get_running_loop(), self._state)
        dropped.atexit = False
        task = self._state.start(self._begin(self._state))
        task.add_done_callback(lambda _: dropped.detach())
        return task

    async def _interruptible(self, waiting: Awaitable[object]) -> None:
        try:
            await waiting
        except asyncio.CancelledError:
            await self._state.stop_and_wait("cancelled")
            raise


def _result_of(task: asyncio.Task[RunResult]) -> RunResult:
    """Return the result of a finished job, or raise its error without the frames inside manycall."""
    try:
        return task.result()
    except ManycallError as error:
        raise error.with_traceback(None) from error.__cause__

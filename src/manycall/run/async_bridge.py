"""Run a coroutine from synchronous code, including notebooks.

The event loop is closed as soon as its coroutine has returned. Tasks that row functions leave behind are cancelled and
have one second to finish; their threads are not awaited.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, TypeVar

from manycall.errors import CallError, RunStopped, StorageError
from manycall.run.signals import Interrupts
from manycall.terminal import sanitize_line

T = TypeVar("T")

POLL_SECONDS = 0.2
"""Polling interval of the waiting thread, because on Windows a blocking wait delays signals."""
CLOSE_SECONDS = 1.0
"""How long to wait for cancelled tasks at the end."""
MAX_TASK_ERRORS_SHOWN = 10
"""Maximum number of lines on stderr about failed background tasks, because every row may have one."""
GC_THRESHOLD = 20_000
"""Number of new objects between two garbage collections."""


def run_blocking(work: Coroutine[Any, Any, T], interrupts: Interrupts | None = None) -> T:
    """Run a coroutine on a new loop, in a new thread if this thread already runs a loop (a notebook).

    Args:
        interrupts: the signals that the coroutine handles.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run = _on_new_loop
    else:
        run = _in_thread
    interrupts = interrupts or Interrupts()
    with interrupts.received():
        return run(work, interrupts)  # outside of the except block, so that errors get no unrelated __context__


def _in_thread(work: Coroutine[Any, Any, T], interrupts: Interrupts) -> T:
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
    result: Future[T] = Future()

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None
        running.set_result((asyncio.get_running_loop(), task))
        return await work

    def target() -> None:
        try:
            result.set_result(_on_new_loop(watched(), interrupts))
        except BaseException as error:
            result.set_exception(error)

    thread = Thread(target=target, name="manycall", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_SECONDS)
    except KeyboardInterrupt:  # the run does not handle signals yet, or this is the third
        loop, task = running.result(10)
        with suppress(RuntimeError):  # the loop has been closed in the meantime
            loop.call_soon_threadsafe(task.cancel)
        thread.join(CLOSE_SECONDS)
        raise
    return result.result()


def _on_new_loop(work: Coroutine[Any, Any, T], interrupts: Interrupts) -> T:
    with _batch_scheduling(), _rare_gc():
        return run_on(_new_loop(), work, interrupts)


def run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], interrupts: Interrupts) -> T:
    """Run a coroutine on this loop until it returns, and close the loop."""
    loop.set_exception_handler(_Unhandled())
    try:
        return _complete(loop, work, lambda error: interrupts.handled and not interrupts.forced)
    finally:
        _close(loop)


def _complete(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], goes_on: Callable[[BaseException], bool]
) -> T:
    """Run a coroutine until it returns. A SystemExit or KeyboardInterrupt of any task makes the loop stop earlier.

    Args:
        goes_on: whether the loop continues after this error, because a row function's subtask raised it; asyncio has
            passed the error to the task that awaits the subtask.
    """
    task = loop.create_task(work)
    stop: BaseException | None = None
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done() or stop is not None:
                raise
            if not goes_on(error):
                stop = error
                task.cancel()
        except asyncio.CancelledError:
            if stop is None:
                raise
            raise stop from None


def _close(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()

    async def end() -> None:
        if left:
            await asyncio.wait(left, timeout=CLOSE_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await loop.shutdown_asyncgens()

    try:
        _complete(loop, end(), lambda error: isinstance(error, SystemExit))
    finally:
        loop.close()


class _Unhandled:
    """Exception handler of the loop, for errors of tasks that no row function awaits. asyncio would log tracebacks.

    Each error is printed once. Errors that end the run or that it counts are not printed.
    """

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message, error = context["message"], context.get("exception")
        if "never retrieved" in message:
            if not isinstance(error, RunStopped | StorageError | CallError):
                self._print(f"a task that its row function did not await has failed: {type(error).__name__}: {error}")
        elif "was destroyed" not in message:  # a task that suppressed its cancellation
            loop.default_exception_handler(context)

    def _print(self, sentence: str) -> None:
        if sentence in self._printed or len(self._printed) >= MAX_TASK_ERRORS_SHOWN:
            return
        self._printed.add(sentence)
        with suppress(OSError, ValueError):
            print(sanitize_line(f"manycall: {sentence}"), file=sys.stderr)


@contextmanager
def _batch_scheduling() -> Iterator[None]:
    """Use the scheduling policy SCHED_BATCH (Linux only), so that a waking thread does not preempt a running one.

    Over TLS, the HTTP library's thread wakes the loop's thread for every answer. If it is not preempted until it has
    passed on all available answers, a row takes a quarter less CPU. Threads that are started meanwhile keep the policy.
    """
    if not hasattr(os, "SCHED_BATCH") or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # a sandbox
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def _rare_gc() -> Iterator[None]:
    """Run the garbage collector less often.

    With thousands of calls in flight, nearly all objects that it examines are in use. Its default threshold of 700 new
    objects would take a tenth of a row's CPU time.
    """
    default = gc.get_threshold()
    if 0 < default[0] < GC_THRESHOLD:
        gc.set_threshold(GC_THRESHOLD, *default[1:])
    try:
        yield
    finally:
        gc.set_threshold(*default)


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop event loop, which halves the CPU time of a request; on Windows, one of asyncio."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()

"""From ordinary code into a loop and back.

A loop closes as soon as its coroutine has returned. Tasks that row functions leave behind are cancelled and given a
second; their threads are not waited for.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, TypeVar

from manycall.engine.interrupts import Interrupts
from manycall.errors import CallFailed, RunStopped, StoreError
from manycall.plain import plain_line

T = TypeVar("T")

LOOK_SECONDS = 0.2
"""How often the thread that waits looks whether a signal has arrived: on Windows, waiting would hold signals up."""
CLOSE_SECONDS = 1.0
"""How long cancelled tasks are waited for at the end."""
MOST_SENTENCES = 10
"""Lines on stderr about failed background tasks: every row may have one."""
SELDOM = 20_000
"""New objects between two collections of garbage."""


def blocking(work: Coroutine[Any, Any, T], interrupts: Interrupts | None = None) -> T:
    """Run a coroutine on a new loop; in a new thread if this thread runs a loop already (a notebook).

    Args:
        interrupts: what the coroutine handles Ctrl-C and SIGTERM with.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run = _on_new_loop
    else:
        run = _in_thread
    interrupts = interrupts or Interrupts()
    with interrupts.received():
        return run(work, interrupts)  # not within the except, or every error would seem to come from one


async def in_own_thread(function: Callable[[], T]) -> T:
    """Run a function in a new thread: row functions may keep all threads of `asyncio.to_thread` busy."""
    executor = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, function)
    finally:
        executor.shutdown(wait=False)


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
            thread.join(LOOK_SECONDS)
    except KeyboardInterrupt:  # the run does not handle signals yet, or it was too many
        loop, task = running.result(10)
        with suppress(RuntimeError):  # it has ended after all
            loop.call_soon_threadsafe(task.cancel)
        thread.join(CLOSE_SECONDS)
        raise
    return result.result()


def _on_new_loop(work: Coroutine[Any, Any, T], interrupts: Interrupts) -> T:
    with _as_a_batch(), _collecting_seldom():
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
    """Run it until it returns. A SystemExit or KeyboardInterrupt that any task raises leaves the loop before that.

    Args:
        goes_on: whether a row function's subtask raised this, so that the loop continues; asyncio has handed the error
            to the task that awaits it.
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
    """Takes what asyncio would log with a traceback: errors of tasks that no row function waits for.

    Each is said once, and none that the run itself ends with or counts.
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message, error = context["message"], context.get("exception")
        if "never retrieved" in message:
            if not isinstance(error, RunStopped | StoreError | CallFailed):
                self._say(f"a task that its row function did not wait for has failed: {type(error).__name__}: {error}")
        elif "was destroyed" not in message:  # that is a task which has suppressed its cancellation
            loop.default_exception_handler(context)

    def _say(self, sentence: str) -> None:
        if sentence in self._said or len(self._said) >= MOST_SENTENCES:
            return
        self._said.add(sentence)
        with suppress(OSError, ValueError):
            print(plain_line(f"manycall: {sentence}"), file=sys.stderr)


@contextmanager
def _as_a_batch() -> Iterator[None]:
    """Where threads share a core (Linux only): a thread that wakes does not push another one aside.

    The HTTP library's thread wakes ours for every answer. If it is left alone until it has handed over all that there
    are, a row costs a quarter less. Threads that are started meanwhile stay so.
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
def _collecting_seldom() -> Iterator[None]:
    """With thousands of calls in flight nearly all that a collection of garbage walks through is in use.

    The usual 700 new objects between two collections cost a tenth of a row there.
    """
    usual = gc.get_threshold()
    if 0 < usual[0] < SELDOM:
        gc.set_threshold(SELDOM, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _new_loop() -> asyncio.AbstractEventLoop:
    """One of uvloop's, which halve the CPU of a request, where they exist."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()

"""From ordinary code into the loop and back."""

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.2
"""How often the thread that waits looks whether it was told to stop."""
SELDOM = 20_000
"""New objects between two collections of garbage."""


def blocking(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on a fresh loop; in a thread if this one is busy with a loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run = _on_new_loop
    else:
        run = _in_thread
    return run(work)  # not within the except, or every error would seem to come from one


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    caller = asyncio.current_task()
    running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()
    result: Future[T] = Future()

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None
        running.set_result((asyncio.get_running_loop(), task))
        return await work

    def target() -> None:
        try:
            result.set_result(_on_new_loop(watched()))
        except BaseException as error:
            result.set_exception(error)

    thread = Thread(target=target, name="manycall")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(LOOK_SECONDS)
            if caller is not None and caller.cancelling():  # asyncio.run takes Ctrl-C for a cancellation
                raise KeyboardInterrupt
    except KeyboardInterrupt:  # the notebook's stop button
        loop, task = running.result(10)
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    return result.result()


def _on_new_loop(work: Coroutine[Any, Any, T]) -> T:
    with _as_a_batch(), _collecting_seldom(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


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


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loops, which halve the CPU of a request, where they exist."""
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop

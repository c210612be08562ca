"""The only module that reads the time. With an event loop in virtual time, all of manycall runs in virtual time."""

import asyncio
import time
import types
from collections.abc import Callable, Generator


def now() -> float:
    """Return seconds on the running loop's monotonic clock. Only differences are meaningful."""
    return asyncio.get_running_loop().time()


def running_clock() -> Callable[[], float]:
    """Return `now` for the running loop only. Finding the loop takes longer than reading its clock."""
    return asyncio.get_running_loop().time


def thread_seconds() -> float:
    """Return seconds on the system's monotonic clock, for a thread that has no event loop."""
    return time.monotonic()


def thread_cpu_seconds() -> float:
    """Return the CPU seconds used by this thread, for a thread that has no event loop."""
    return time.thread_time()


async def sleep(seconds: float) -> None:
    """Wait for some seconds. Never call this while holding a permit."""
    await asyncio.sleep(seconds)


@types.coroutine
def next_turn() -> Generator[None]:
    """Wait until all tasks that are ready have run.

    Several responses usually arrive in one turn of the event loop. If each row waits between its steps, all rows take
    the same step in sequence, and find its code and data in the processor's caches: 5 to 12 % less CPU per row
    (docs/log.md). Unlike `sleep(0)`, it may be called while holding a permit, and needs no further coroutine.
    """
    yield


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for at most `seconds`. Return whether the event was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def wall_time() -> float:
    """Return seconds since 1970, for records that people read. Do not use it to measure durations."""
    try:
        return running_wall_clock()()
    except RuntimeError:  # there is no running loop
        return time.time()


def running_wall_clock() -> Callable[[], float]:
    """Return `wall_time` for the running loop only."""
    wall: Callable[[], float] = getattr(asyncio.get_running_loop(), "wall", time.time)  # a virtual loop has its own
    return wall


def cpu_time(*, of_all: bool = False) -> float:
    """Return the CPU seconds used by this thread; with `of_all`, by all threads of the process."""
    real = time.process_time if of_all else time.thread_time
    used: Callable[[], float] = getattr(asyncio.get_running_loop(), "cpu", real)
    return used()


def cpu_wait_time() -> float:
    """Return the seconds in which this thread was ready to run but had no core. 0 on systems other than Linux."""
    used: Callable[[], float] = getattr(asyncio.get_running_loop(), "waited_for_cpu", _run_delay)
    return used()


def _run_delay() -> float:
    """Return the run delay of Linux's schedstat: the second number, in ns (Documentation/scheduler/sched-stats.rst)."""
    try:
        with open("/proc/thread-self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0

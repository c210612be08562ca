"""The only reader of time. Under a loop with virtual time, all of manycall runs in virtual time."""

import asyncio
import time
from collections.abc import Callable


def now() -> float:
    """Seconds on the running loop's monotonic clock. Only differences mean anything."""
    return asyncio.get_running_loop().time()


async def sleep(seconds: float) -> None:
    """Wait. Never call this while holding a permit (law 5)."""
    await asyncio.sleep(seconds)


async def sleep_unless(event: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until the event; return whether it was the event."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def wall() -> float:
    """Seconds since 1970, for records that people read; never for measuring."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return time.time()
    wall: Callable[[], float] = getattr(loop, "wall", time.time)  # a virtual loop has its own
    return wall()


def cpu(*, of_all: bool = False) -> float:
    """Seconds of CPU that this thread has used, or all threads of the process."""
    real = time.process_time if of_all else time.thread_time
    used: Callable[[], float] = getattr(asyncio.get_running_loop(), "cpu", real)
    return used()


def waited_for_cpu() -> float:
    """Seconds that this thread could have run and had no core to run on: others used it. 0 where nobody counts them."""
    used: Callable[[], float] = getattr(asyncio.get_running_loop(), "waited_for_cpu", _run_delay)
    return used()


def _run_delay() -> float:
    """The second number of Linux's schedstat (Documentation/scheduler/sched-stats.rst), in nanoseconds."""
    try:
        with open("/proc/thread-self/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0

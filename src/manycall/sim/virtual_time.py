"""An event loop with virtual time: it jumps to the next scheduled callback instead of waiting.

It is deterministic, because it has no external events: sockets never become ready, functions for threads run
immediately in the loop, and the wall clock starts at a fixed time.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

VIRTUAL_EPOCH_SECONDS = 1_700_000_000.0
"""Wall-clock time at the start, in seconds since 1970."""


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("deadlock: all tasks are waiting and no callback is scheduled")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the virtual seconds since the loop was created."""
        return self._virtual.now

    def wall(self) -> float:
        """Return the virtual wall-clock time in seconds since 1970."""
        return VIRTUAL_EPOCH_SECONDS + self._virtual.now

    def cpu(self) -> float:
        """Return the CPU time in seconds, which is always 0."""
        return 0.0

    def waited_for_cpu(self) -> float:
        """Return the seconds of waiting for a CPU core, which is always 0."""
        return 0.0

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run the function immediately, in the loop."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, from second 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def now() -> float:
    """Return the virtual seconds since the loop was created."""
    return asyncio.get_running_loop().time()

"""A loop whose time is virtual: it jumps to the next thing that is due. An hour takes as long as its work does.

Deterministic: nothing from outside gets in. Sockets never get ready, threads are not started (what would run in one
runs at once), and the wall clock begins at a fixed moment.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

BEGINNING = 1_700_000_000.0
"""What the wall clock says at second 0."""


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("deadlock: everybody waits, and nothing is due")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """No outside world."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._virtual.now

    def wall(self) -> float:
        """Seconds since 1970."""
        return BEGINNING + self._virtual.now

    def cpu(self) -> float:
        """Seconds of CPU: none, in virtual time."""
        return 0.0

    def waited_for_cpu(self) -> float:
        """Seconds without a core: none, however busy the machine is."""
        return 0.0

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, function: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run it here and now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, from second 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def now() -> float:
    """Virtual seconds since the beginning."""
    return asyncio.get_running_loop().time()

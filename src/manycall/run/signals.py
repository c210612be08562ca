"""Ctrl-C, SIGTERM and SIGHUP: the handlers, which run in the main thread, pass signals to the event loop of a run."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import current_thread, main_thread
from typing import Any

HANGUP = getattr(signal, "SIGHUP", None)
"""Sent when the terminal is closed, by the kernel and often once more by the shell. Windows has no such signal."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([] if HANGUP is None else [HANGUP]))
FORCED = 3
"""The third signal raises KeyboardInterrupt in the main thread at once, because the event loop may be blocked."""


class Interrupts:
    """The signals received while a coroutine runs.

    A run handles them within `handled_by`. At other times Ctrl-C raises KeyboardInterrupt, and the others have their
    previous effect. A hangup only counts as the first signal, and not at all if the process ignores it (nohup).

    Attributes:
        forced: three signals have arrived, so the run ends without waiting.
    """

    def __init__(self) -> None:
        self.forced = False
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: Callable[[int], None] = lambda count: None
        self._force: Callable[[], None] = lambda: None
        self._previous: dict[int, Any] = {}

    def __repr__(self) -> str:
        return f"<Interrupts: {self._count} so far>"

    @property
    def handled(self) -> bool:
        """Whether a run handles the signals now."""
        return self._loop is not None

    @contextmanager
    def handled_by(self, handle: Callable[[int], None], force: Callable[[], None]) -> Iterator[None]:
        """Pass the signals to the running loop.

        Args:
            handle: called in the loop with 1 for the first signal, 2 for the second, ...
            force: called in the signal handler before it raises KeyboardInterrupt.
        """
        self._handle, self._force, self._loop = handle, force, asyncio.get_running_loop()
        try:
            yield
        finally:
            self._loop = None

    @contextmanager
    def received(self) -> Iterator[None]:
        """Install the signal handlers, if this is the main thread. Other threads cannot."""
        if current_thread() is not main_thread():
            yield
            return
        received = [each for each in SIGNALS if each != HANGUP or signal.getsignal(each) != signal.SIG_IGN]
        self._previous = {each: signal.signal(each, self._receive) for each in received}
        try:
            yield
        finally:
            for each in received:
                self._restore(each)

    def _receive(self, number: int, frame: object) -> None:
        if self._loop is None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            self._restore(number)
            signal.raise_signal(number)
            return
        if number == HANGUP and self._count:
            return
        self._count += 1
        with suppress(RuntimeError):  # the loop has just been closed
            self._loop.call_soon_threadsafe(self._handle, self._count)
        if self._count >= FORCED:
            self.forced = True
            self._force()
            raise KeyboardInterrupt

    def _restore(self, number: int) -> None:
        handler = self._previous[number]
        signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not installed by Python

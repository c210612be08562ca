"""Wait for the workers of a killed run, which still finish the calls that were in flight."""

import sys
from collections.abc import Callable
from typing import TypeVar

from manycall import clock
from manycall.errors import SegmentInUse
from manycall.terminal import sanitize_line

T = TypeVar("T")
MAX_WAIT_SECONDS, CHECK_SECONDS = 60.0, 0.5
"""A worker whose driver is gone makes no new call, so it ends when the calls in flight have ended."""


async def when_workers_ended(open_files: Callable[[], T], raise_if_stopped: Callable[[], None]) -> T:
    """Return what `open_files` returns. Try again for a minute while workers of a killed run write their segments.

    Args:
        raise_if_stopped: called before each try; an error that it raises ends the wait.

    Raises:
        SegmentInUse: a worker has not ended in this time.
    """
    started, announced = clock.now(), False
    while True:
        raise_if_stopped()
        try:
            return open_files()
        except SegmentInUse as in_use:
            if clock.now() - started >= MAX_WAIT_SECONDS:
                raise
            if not announced:
                print(sanitize_line(f"Waiting for at most {MAX_WAIT_SECONDS:.0f} s: {in_use}"), file=sys.stderr)
            announced = True
        await clock.sleep(CHECK_SECONDS)

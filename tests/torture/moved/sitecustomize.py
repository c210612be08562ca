"""Moves the clocks of a Python process when it gets SIGUSR1. To be put on its PYTHONPATH.

By as many seconds as MOVE_WALL and MOVE_MONOTONIC say: the first is NTP or somebody's hand, both together are a laptop
that slept, where the monotonic clock goes on meanwhile.
"""

import os
import signal
import sys
import time
from types import FrameType

if "MOVE_WALL" in os.environ:
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # it asks the kernel itself; asyncio's own loop asks `time`
    moved = {"time": 0.0, "monotonic": 0.0}
    wall, monotonic = time.time, time.monotonic

    def move(number: int, frame: FrameType | None) -> None:
        moved["time"] += float(os.environ["MOVE_WALL"])
        moved["monotonic"] += float(os.environ["MOVE_MONOTONIC"])

    time.time = lambda: wall() + moved["time"]
    time.monotonic = lambda: monotonic() + moved["monotonic"]
    signal.signal(signal.SIGUSR1, move)

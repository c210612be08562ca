"""Durations of the calls of a run, from its journal: a histogram for each minute, whose bins grow by a factor of √2."""

import math
import re
import threading
from array import array
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from manycall import clock
from manycall.view.tail import read_new_lines

ADVANCE_SECONDS = 0.3
"""How long one request continues to read a journal."""
MINUTE = 60.0
SHORTEST_SECONDS, BINS = 0.001, 64
"""The first bin ends at 1 ms, the last one begins at 52 days."""
HEAD_BYTES = 1000
_DURATION = re.compile(rb'"at":([\d.eE+-]+),"seconds":([\d.eE+-]+)')
"""Inside a text, the quotes would be escaped."""


class CallLatency:
    """The durations of one run's calls. It reads on only while `advance` is called.

    Args:
        journal: the path of the journal.
    """

    def __init__(self, journal: Path) -> None:
        self._journal, self._cursor = journal, "0"
        self._minutes: dict[int, array[int]] = {}
        self._lock = threading.Lock()

    def advance(self, seconds: float = ADVANCE_SECONDS) -> None:
        """Read new calls for about `seconds`."""
        deadline = clock.thread_seconds() + seconds
        with self._lock:
            while clock.thread_seconds() < deadline:
                new = read_new_lines(self._journal, self._cursor)
                self._cursor = new.cursor
                if new.was_replaced:
                    self._minutes.clear()
                elif not new.lines:
                    return
                for line in new.lines:
                    self._add(line)

    def _add(self, line: bytes) -> None:
        if (match := _DURATION.search(line, 0, HEAD_BYTES)) is None:
            return
        try:
            minute, seconds = int(float(match[1]) // MINUTE), float(match[2])
        except (ValueError, OverflowError):
            return
        place = math.ceil(2 * math.log2(seconds / SHORTEST_SECONDS)) if seconds > SHORTEST_SECONDS else 0
        counts = self._minutes.setdefault(minute, array("L", bytes(array("L").itemsize * BINS)))
        counts[min(place, BINS - 1)] += 1

    def quantiles(self, times: Sequence[float], share: float) -> list[float | None]:
        """Return a quantile of the durations in the minute of each time; None without calls."""
        with self._lock:
            known = {
                minute: _quantile(counts, share)
                for minute in {int(time // MINUTE) for time in times}
                if (counts := self._minutes.get(minute)) is not None
            }
        return [known.get(int(time // MINUTE)) for time in times]


def _quantile(counts: Sequence[int], share: float) -> float:
    """Return the middle of the bin that contains the quantile, on a logarithmic scale."""
    wanted = share * sum(counts)
    place = next(place for place, seen in enumerate(accumulate(counts)) if seen >= wanted)
    return float(round(SHORTEST_SECONDS * math.sqrt(2) ** (place - 0.5), 4))

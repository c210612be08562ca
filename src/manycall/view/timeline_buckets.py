"""The timeline of a run as columns of at most some hundred points, for charts. Pure.

A timeline has one line a second: 86,400 a day. A chart needs the mean, the least and the greatest value of each point.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from manycall.records import DECODE_ERRORS

MAX_EVENTS = 500
Column = Sequence[float | None]


class TimelineLine(msgspec.Struct):
    """The fields of a line that charts need. Counters restart with each session."""

    time: float = 0.0
    calls_per_s: float | None = None
    tokens_per_s: float | None = None
    rows_per_s: float | None = None
    in_flight: int | None = None
    window: int | None = None
    limited_by: str = ""
    http_429: int = 0
    retries: int = 0
    failed: int = 0
    total_ended: int | None = None
    total_cost: float | None = None
    endpoint: str = ""
    event: str | None = None
    health: bool = False


_decode_line = msgspec.json.Decoder(TimelineLine).decode
LEVELS = (
    "calls_per_s", "tokens_per_s", "rows_per_s", "in_flight", "window", "total_ended", "total_cost",
)  # fmt: skip
RATES = {"http_429_per_s": "http_429", "retries_per_s": "retries", "failed_per_s": "failed"}
"""Series that are the growth of a counter."""
REASONS = (
    ("machine", ("this machine", "ulimit")),
    ("concurrency", ("concurrency", "-j ")),
    ("server", ("server at capacity",)),
    ("quota", ("quota", "429")),
    ("budget", ("budget",)),
    ("window", ("window",)),
)
"""What limits the throughput -> words in `limited_by`, the most specific first."""


def decode_timeline(lines: Iterable[bytes]) -> Iterator[TimelineLine]:
    """Yield the lines that can be decoded."""
    for line in lines:
        try:
            yield _decode_line(line)
        except DECODE_ERRORS:
            continue


def limiting_reason(text: str) -> str:
    """Return what limits the throughput in one word of a fixed list."""
    return next((reason for reason, words in REASONS if any(word in text for word in words)), "other")


def bucket_timeline(
    lines: Iterable[TimelineLine], start: float | None, end: float | None, points: int
) -> dict[str, Any]:
    """Return the lines between two times as columns.

    Args:
        start, end: Unix times in seconds; None: that of the first and of the last line.
        points: number of buckets; those without a line are left out.
    """
    within = [line for line in lines if (start is None or line.time >= start) and (end is None or line.time <= end)]
    within.sort(key=lambda line: line.time)
    figures = [line for line in within if line.calls_per_s is not None]
    events = [line for line in within if line.event is not None][-MAX_EVENTS:]
    times = [line.time for line in figures]
    first = start if start is not None else (times[0] if times else 0.0)
    last = end if end is not None else (times[-1] if times else 0.0)
    width = max((last - first) / points, 1.0)
    slices = list(_slices(times, first, width, points))
    columns: dict[str, Column] = {name: [getattr(line, name) for line in figures] for name in LEVELS}
    columns |= {name: _growth(times, [getattr(line, counter) for line in figures]) for name, counter in RATES.items()}
    return {
        "from": first,
        "to": last,
        "bucket": width,
        "time": [sum(times[part]) / len(times[part]) for part in slices],
        "series": {name: _summary(column, slices) for name, column in columns.items()},
        "limited_by": list(_limits(figures, slices)),
        "events": [{"time": line.time, "endpoint": line.endpoint, "event": line.event} for line in events],
    }


def _slices(times: Sequence[float], first: float, width: float, points: int) -> Iterator[slice]:
    """Yield the part of the lines that each bucket contains. The last bucket includes its upper bound."""
    begin = 0
    while begin < len(times):
        number = int((times[begin] - first) / width)
        end = max(bisect_left(times, first + (number + 1) * width, begin), begin + 1)
        if number >= points - 1:
            end = len(times)
        yield slice(begin, end)
        begin = end


def _growth(times: Sequence[float], counter: Sequence[int]) -> Column:
    """Return the growth of a counter per second. A smaller value than before is that of a new session."""
    pairs = zip(pairwise(times), pairwise(counter), strict=True)
    return [None, *((new - old if new >= old else new) / max(b - a, 0.5) for (a, b), (old, new) in pairs)][: len(times)]


def _summary(column: Column, slices: Sequence[slice]) -> dict[str, Column]:
    parts = [[value for value in column[part] if value is not None] for part in slices]
    mean: Callable[[Sequence[float]], float] = lambda values: round(sum(values) / len(values), 4)  # noqa: E731
    return {
        name: [function(part) if part else None for part in parts]
        for name, function in (("mean", mean), ("min", min), ("max", max))
    }


def _limits(figures: Sequence[TimelineLine], slices: Sequence[slice]) -> Iterator[dict[str, Any]]:
    """Yield the spans in which the same reason limits the throughput. A bucket counts as its most frequent reason."""
    reasons = [
        Counter(limiting_reason(line.limited_by) for line in figures[part]).most_common(1)[0][0] for part in slices
    ]
    begin = 0
    for number in range(1, len(slices) + 1):
        reason = reasons[begin]
        if number == len(slices) or reasons[number] != reason:
            first, stop = slices[begin].start, slices[number - 1].stop
            texts = (line.limited_by for line in reversed(figures[first:stop]))
            yield {
                "from": figures[first].time, "to": figures[min(stop, len(figures) - 1)].time, "reason": reason,
                "text": next(text for text in texts if limiting_reason(text) == reason),
            }  # fmt: skip
            begin = number

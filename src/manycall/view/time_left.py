"""Estimate when a run is done, from the figures of its last minutes. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

RATE_SECONDS = 300.0
"""The rate is that of the last five minutes."""
PIECE_SECONDS = 30.0
"""The range is that of the rates of half-minutes."""
MIN_SECONDS = 20.0
"""There is no estimate before."""


class TimeLeft(NamedTuple):
    """Seconds until a run is done: at the mean rate, and at the 90th and the 10th percentile of its rates."""

    seconds: float
    low: float
    high: float


def time_left(history: Sequence[tuple[float, int]], total: int | None) -> TimeLeft | None:
    """Return the time that a run still needs; None if it cannot be estimated.

    Args:
        history: (time, rows ended) of one session, oldest first.
        total: rows of the input.
    """
    if total is None or not history:
        return None
    end, ended = history[-1]
    recent = [entry for entry in history if end - entry[0] <= RATE_SECONDS]
    span, remaining = end - recent[0][0], total - ended
    gained = ended - recent[0][1]
    if span < MIN_SECONDS or gained <= 0 or remaining <= 0:
        return None
    rates = sorted(_piece_rates(recent)) or [gained / span]
    slow, fast = _percentile(rates, 0.1), _percentile(rates, 0.9)
    seconds = remaining * span / gained
    slowest = remaining / slow if slow > 0 else 2 * seconds
    return TimeLeft(seconds, min(seconds, remaining / fast), max(seconds, slowest))


def _piece_rates(history: Sequence[tuple[float, int]]) -> list[float]:
    """Return the rate of each complete half-minute."""
    rates, (start, count) = [], history[0]
    for time, ended in history:
        if time - start >= PIECE_SECONDS:
            rates.append((ended - count) / (time - start))
            start, count = time, ended
    return rates


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[round(share * (len(ordered) - 1))]

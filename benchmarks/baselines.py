"""Other rules for the number of concurrent calls, reimplemented from their published descriptions."""

import math
import random
from typing import Any

from manycall.control import retry
from manycall.errors import HttpStatusError


class Fixed:
    """A semaphore: a constant number of calls in flight."""

    knee_found = False
    opening = None
    interval: Any = 0

    def __init__(self, size: int, most: int = 8192) -> None:
        self.size, self.max_size = size, most

    def earliest(self, in_flight: int, now: float) -> float:
        return math.inf if in_flight >= self.size else -math.inf

    def record_sent(self, in_flight: int, now: float) -> None: ...
    def record_answer(self, epoch: Any, seconds: float, tokens: int, now: float, in_flight: int = 0) -> None: ...
    def record_overload(self, now: float) -> None: ...
    def record_metrics_lost(self) -> None: ...
    def set_client_bound(self, is_bound: bool) -> None: ...
    def record_429(self, now: float, wait: float) -> None: ...
    def update_from_metrics(self, gauges: Any, in_flight: int, now: float, started: int = 0) -> None: ...
    def expect_rows(self, rows: int) -> None: ...


class Inspect(Fixed):
    """Inspect's adaptive connections (UKGovernmentBEIS/inspect_ai, util/_concurrency.py).

    Starts with 20 connections, between 10 and 100. Doubles in each round without a 429 until the first 429, then grows
    by 5 % per round. A 429 multiplies by 0.8, with a cooldown of 15 s.
    """

    def __init__(self) -> None:
        super().__init__(20, 100)
        self._clean = self._peak = 0
        self._slow_start = True
        self._cool = -math.inf

    def record_sent(self, in_flight: int, now: float) -> None:
        self._peak = max(self._peak, in_flight)

    def record_answer(self, epoch: Any, seconds: float, tokens: int, now: float, in_flight: int = 0) -> None:
        if now < self._cool:
            return
        self._clean += 1
        if self._clean >= max(self.size, 4):
            if self._peak >= 0.8 * self.size:
                growth = self.size * 2 if self._slow_start else max(self.size + 1, round(self.size * 1.05))
                self.size = min(self.max_size, growth)
            self._clean = self._peak = 0

    def record_429(self, now: float, wait: float) -> None:
        if now < self._cool:
            return
        self._slow_start = False
        self._clean = 0
        self._cool = now + max(15.0, wait)
        self.size = max(10, int(self.size * 0.8))


class Gradient2(Fixed):
    """Netflix's Gradient2 (concurrency-limits, Gradient2Limit.java) with its defaults: 20 to 200, tolerance 1.5."""

    def __init__(self) -> None:
        super().__init__(20, 200)
        self._limit = 20.0
        self._long, self._seen = 0.0, 0
        self._sum = 0.0
        self._count = self._peak = 0
        self._until = 1.0

    def record_sent(self, in_flight: int, now: float) -> None:
        self._peak = max(self._peak, in_flight)

    def record_answer(self, epoch: Any, seconds: float, tokens: int, now: float, in_flight: int = 0) -> None:
        self._sum += seconds
        self._count += 1
        if now < self._until or self._count < 10:
            return
        short, peak = self._sum / self._count, self._peak
        self._until, self._sum, self._count, self._peak = now + 1.0, 0, 0, 0
        self._seen += 1
        weight = 2 / 601 if self._seen > 10 else 1 / self._seen
        self._long += weight * (short - self._long)
        if self._long / short > 2:
            self._long *= 0.95
        if peak < self._limit / 2:
            return
        gradient = max(0.5, min(1.0, 1.5 * self._long / short))
        self._limit = min(200.0, max(20.0, 0.8 * self._limit + 0.2 * (gradient * self._limit + 4)))
        self.size = int(self._limit)


class Unthrottled:
    """Replacement for the throttle that never makes a call wait. Refusals are passed only to the window."""

    rate = None

    def __init__(self, window: Fixed) -> None:
        self._window = window

    def earliest(self, now: float) -> float:
        return -math.inf

    def record_sent(self, now: float) -> None: ...
    def cancel(self) -> None: ...
    def pause_until(self, until: float) -> None: ...

    def sent_since(self, at: float, now: float) -> int:
        return 0

    def record_429(self, sent: float, now: float, wait: float | None, *, has_limit: bool = False) -> bool:
        self._window.record_429(now, wait or 0.0)
        return False


def backoff(failure: retry.FailedAttempt, attempts: int, rng: random.Random) -> float:
    """Return the wait of a typical script after a refusal: Retry-After, or 0.5 s · 2^n with jitter, at most 60 s."""
    hint = failure.error.retry_after if isinstance(failure.error, HttpStatusError) else None
    own = rng.uniform(0.5, 1.0) * min(
        retry.BACKOFF_MAX_SECONDS, retry.BACKOFF_BASE_SECONDS * 2.0 ** min(attempts - 1, 20)
    )
    return max(hint or 0.0, own)

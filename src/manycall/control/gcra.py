"""One rate limit as a virtual schedule: GCRA, the generic cell rate algorithm (ITU-T I.371, appendix A).

It is equivalent to a token bucket, but its state is one number, and it gives the exact time at which the next call may
start.
"""

MAX_DEBT_SECONDS = 60.0
"""Longest delay that one call's wrong cost estimate can impose on all other calls."""
MAX_CREDIT_SECONDS = 0.5
"""Largest amount of refunded capacity, in seconds of the rate, that later calls may use as a burst."""


class GcraLimiter:
    """One limit as a virtual schedule (GCRA).

    In any window of W seconds it admits at most rate · W + burst units, plus at most one call that is larger than
    the burst.

    Args:
        rate: units per second.
        burst: units that may be used at once; at least one.
    """

    __slots__ = ("_credit", "_due", "burst", "rate")

    def __init__(self, rate: float, burst: float = 1.0) -> None:
        self.rate = rate
        self.burst = max(burst, 1.0)
        self._due = float("-inf")
        self._credit = 0.0

    def __repr__(self) -> str:
        return f"<GcraLimiter {self.rate:.4g}/s>"

    def set_rate(self, rate: float) -> None:
        """Change the number of units per second."""
        self.rate = rate

    def earliest(self, cost: float) -> float:
        """Return the earliest time at which `cost` units may be used; -inf if at any time."""
        return self._due - (self.burst - min(cost, self.burst)) / self.rate

    def consume(self, cost: float, now: float) -> None:
        """Use `cost` units now. Unused time is lost, except for refunded units."""
        start = max(self._due, now - self._credit)
        self._due = start + cost / self.rate
        self._credit -= max(0.0, min(self._credit, min(now, self._due) - start))

    def carry_over(self, other: "GcraLimiter", now: float) -> None:
        """Charge the units that another limiter still owes to this one; at another rate they take another time."""
        if (owed := (other._due - now) * other.rate) > 0:
            self._due = now + owed / self.rate

    def set_remaining(self, units: float, now: float) -> None:
        """Reduce the burst that is available now to `units`. A larger value changes nothing."""
        self._due = max(self._due, now + max(0.0, self.burst - units) / self.rate)

    def refund(self, cost: float) -> None:
        """Return `cost` units that were consumed but not needed. A negative value charges additional units."""
        seconds = max(cost / self.rate, -MAX_DEBT_SECONDS)
        self._due -= seconds
        self._credit = min(MAX_CREDIT_SECONDS, self._credit + max(0.0, seconds))

    def level(self, now: float) -> float:
        """Return how many units may be used now. Negative: they are already owed."""
        return min(self.burst, self.burst - (self._due - now) * self.rate)

    def set_burst(self, burst: float, now: float) -> None:
        """Change the burst; the units that may be used now stay the same, as far as it permits."""
        level = self.level(now)
        self.burst = max(burst, 1.0)
        self._set_level(min(level, self.burst), now)

    def limit_level(self, least: float, most: float, now: float) -> None:
        """Keep the units that may be used now between these bounds."""
        level = self.level(now)
        if not least <= level <= most:
            self._set_level(min(max(level, least), most), now)

    def _set_level(self, level: float, now: float) -> None:
        self._due = now + (self.burst - level) / self.rate

"""Running mean with standard error and confidence interval."""

import math
from collections import Counter

from manycall.evals.stats.intervals import BINARY_SCALE, Interval, Scale, bounded_interval, rescale, t_interval, wilson

MAX_SCORE_MAGNITUDE = 1e100
"""Numbers of this magnitude or more are not scores; their squares could exceed the range of a float."""


class Mean:
    """Running mean and standard error.

    Counts how often each number was added. Scores have few distinct values, so this needs little memory, is exact and
    does not depend on the order in which rows finish.
    """

    __slots__ = ("_seen", "count")

    def __init__(self) -> None:
        self.count = 0
        self._seen: Counter[float] = Counter()

    def add(self, x: float, times: int = 1) -> None:
        """Add the number `x`, `times` times."""
        self.count += times
        self._seen[x] += times

    def merge(self, other: "Mean") -> None:
        """Add all numbers of another mean."""
        for x, times in other._seen.items():
            self.add(x, times)

    def interval(self, scale: Scale | None = BINARY_SCALE) -> Interval | None:
        """Return the 95 % confidence interval; None if it cannot be computed.

        The method is Wilson's interval if every number is the worst or the best of the scale, `bounded_interval` for
        other numbers on a scale, and Student's t without a scale.
        """
        if scale is None:
            return t_interval(self.value, self.stderr, self.count)
        worst, best = scale
        if self.count and self._seen.keys() <= {worst, best} and best > worst:
            return rescale(wilson(self._seen[best], self.count), scale)
        return bounded_interval(self.value, self.stderr, self.count, scale)

    @property
    def value(self) -> float:
        """Return the mean; 0 if no numbers were added."""
        return math.fsum(x * times for x, times in self._seen.items()) / self.count if self.count else 0.0

    @property
    def stderr(self) -> float | None:
        """Return sqrt(Σ(x-mean)² / (n-1)) / sqrt(n), as lm-eval's `mean_stderr`; None for fewer than two numbers."""
        if self.count < 2:
            return None
        if len(self._seen) == 1:
            return 0.0  # exact, without rounding errors
        mean = self.value
        squares = math.fsum((x - mean) ** 2 * times for x, times in self._seen.items())
        return math.sqrt(squares / (self.count - 1)) / math.sqrt(self.count)

    def __repr__(self) -> str:
        return f"<Mean {self}, n={self.count}>"

    def __str__(self) -> str:
        if not self.count:
            return "none"
        return f"{self.value:.3f}" + (f"±{self.stderr:.3f}" if self.stderr is not None else "")

"""How good, and how sure."""

import math
from collections import Counter

from manycall.evals.stats.intervals import RIGHT_OR_WRONG, Interval, Scale, on_scale, stretched, student, wilson

NO_SCORE = 1e100
"""A number as large as this is no score, and its square is more than a float holds."""


class Mean:
    """A mean and its standard error, over numbers that arrive one by one.

    It counts how often each number came: scores have few different values, and so the result is exact and does
    not depend on the order in which rows finished.
    """

    __slots__ = ("_seen", "count")

    def __init__(self) -> None:
        self.count = 0
        self._seen: Counter[float] = Counter()

    def add(self, x: float, times: int = 1) -> None:
        """Take one number in, so many times."""
        self.count += times
        self._seen[x] += times

    def take(self, other: "Mean") -> None:
        """Take in all that another has."""
        for x, times in other._seen.items():
            self.add(x, times)

    def interval(self, scale: Scale | None = RIGHT_OR_WRONG) -> Interval | None:
        """95 %. Wilson's, if every number is the worst or the best of its scale; by the standard error, if not; by
        Student's t, if there is no scale. None where that says nothing."""
        if scale is None:
            return student(self.value, self.stderr, self.count)
        worst, best = scale
        if self.count and self._seen.keys() <= {worst, best} and best > worst:
            return stretched(wilson(self._seen[best], self.count), scale)
        return on_scale(self.value, self.stderr, self.count, scale)

    @property
    def value(self) -> float:
        """The mean; 0 where there is nothing."""
        return math.fsum(x * times for x, times in self._seen.items()) / self.count if self.count else 0.0

    @property
    def stderr(self) -> float | None:
        """sqrt(Σ(x-mean)² / (n-1)) / sqrt(n), as lm-eval's `mean_stderr`; None for fewer than two numbers."""
        if self.count < 2:
            return None
        if len(self._seen) == 1:
            return 0.0  # whatever rounding says
        mean = self.value
        squares = math.fsum((x - mean) ** 2 * times for x, times in self._seen.items())
        return math.sqrt(squares / (self.count - 1)) / math.sqrt(self.count)

    def __repr__(self) -> str:
        return f"<Mean {self}, n={self.count}>"

    def __str__(self) -> str:
        if not self.count:
            return "none"
        return f"{self.value:.3f}" + (f"±{self.stderr:.3f}" if self.stderr is not None else "")

"""How good, and how sure."""

import math


class Mean:
    """A mean and its standard error, over numbers that arrive one by one.

    Welford's algorithm (Technometrics 4(3), 1962): one pass, no list, no cancellation.
    """

    __slots__ = ("_squares", "count", "value")

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0
        self._squares = 0.0

    def add(self, x: float) -> None:
        """Take one number in."""
        self.count += 1
        step = x - self.value
        self.value += step / self.count
        self._squares += step * (x - self.value)

    @property
    def stderr(self) -> float | None:
        """sqrt(Σ(x-mean)² / (n-1)) / sqrt(n), as lm-eval's `mean_stderr`; None for fewer than two numbers."""
        if self.count < 2:
            return None
        return math.sqrt(self._squares / (self.count - 1)) / math.sqrt(self.count)

    def __repr__(self) -> str:
        return f"<Mean {self}, n={self.count}>"

    def __str__(self) -> str:
        if not self.count:
            return "none"
        return f"{self.value:.3f}" + (f"±{self.stderr:.3f}" if self.stderr is not None else "")

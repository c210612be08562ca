"""What the answers of one epoch tell: a line through their latencies, against their lengths."""

import math
from typing import NamedTuple


class Line(NamedTuple):
    """Latency of an answer, as `wait + step · tokens`, and how much is known of it.

    Attributes:
        variance: of the latencies about the line; mean, spread: of the tokens.
    """

    wait: float
    step: float
    variance: float
    answers: int
    mean: float
    spread: float

    def at(self, tokens: float) -> float:
        """Seconds for an answer of so many tokens."""
        return self.wait + self.step * tokens

    def error(self, tokens: float) -> float:
        """Standard error of `at`."""
        return math.sqrt(self.variance / self.answers * (1 + (self.mean - tokens) ** 2 / self.spread))


class Epoch:
    """What came of the calls begun since the window last changed.

    Attributes:
        size: the window; began: when it was open; peak: the most calls that were in flight.
    """

    __slots__ = ("_x", "_xx", "_xy", "_y", "_yy", "began", "count", "peak", "size")

    def __init__(self, size: int, began: float) -> None:
        self.size, self.began = size, began
        self.count = self.peak = 0
        self._x = self._y = self._xx = self._xy = self._yy = 0.0

    def add(self, seconds: float, tokens: float) -> None:
        """One answer."""
        self.count += 1
        self._x += tokens
        self._y += seconds
        self._xx += tokens * tokens
        self._xy += tokens * seconds
        self._yy += seconds * seconds

    def line(self) -> Line:
        """The least squares line; a level one if the answers are all about as long."""
        n = max(1, self.count)
        x, y = self._x / n, self._y / n
        spread = self._xx / n - x * x
        if n < 16 or spread <= (0.15 * x) ** 2:
            return Line(y, 0.0, max(0.0, self._yy / n - y * y), n, x, math.inf)
        step = (self._xy / n - x * y) / spread
        variance = max(0.0, self._yy / n - y * y - step * step * spread)
        return Line(y - step * x, step, variance, n, x, spread)

"""What the answers of one epoch tell: a line through their latencies, against their lengths."""

import math
from typing import NamedTuple

from manycall.control.moments import Moments


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


class Epoch(Moments):
    """What came of the calls begun since the window last changed: pairs of tokens and seconds.

    Attributes:
        began: when it was open; peak: the most calls that were in flight.
    """

    __slots__ = ("began", "peak")

    def __init__(self, began: float) -> None:
        super().__init__()
        self.began = began
        self.peak = 0

    def line(self) -> Line:
        """The least squares line; a level one if the answers are all about as long."""
        n = max(1, self.count)
        x, y, spread, variance, covariance = self.read()
        if n < 16 or spread <= (0.15 * x) ** 2:
            return Line(y, 0.0, max(0.0, variance), n, x, math.inf)
        step = covariance / spread
        return Line(y - step * x, step, max(0.0, variance - step * covariance), n, x, spread)

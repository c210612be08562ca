"""How sure a number is: intervals and standard errors, each with its source. Pure, and of the standard library only.

Compared with scipy 1.17 and statsmodels 0.15 (`proportion_confint`, `binomtest`, `mcnemar`, OLS with clustered
covariance): equal to 1e-11, relatively.
"""

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import NamedTuple

from manycall.evals.stats.student import quantile

LEVEL = 0.95
"""How often an interval should hold the truth."""
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
Scale = tuple[float, float]
"""The worst score and the best."""
RIGHT_OR_WRONG: Scale = (0.0, 1.0)


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4f} … {self.high:.4f}"


def wilson(right: float, count: float) -> Interval:
    """The score interval for a share: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    Wilson (1927), JASA 22:209. Unlike p ± z·SE it has a width where all or none were right, and stays within 0 and 1
    (Brown, Cai & DasGupta 2001, Statistical Science 16:101).

    Raises:
        ValueError: nothing was counted.
    """
    if count <= 0:
        raise ValueError("there is nothing to reckon with")
    p, square = right / count, Z * Z
    middle = p + square / (2 * count)
    half = Z * math.sqrt(p * (1 - p) / count + square / (4 * count * count))
    whole = 1 + square / count
    low, high = (middle - half) / whole, (middle + half) / whole
    return Interval(0.0 if p == 0 else low, 1.0 if p == 1 else high)  # exact there, whatever rounding says


def student(value: float, stderr: float | None, count: int) -> Interval | None:
    """value ± t·SE, where t is Student's for count - 1 degrees of freedom; None if the numbers do not vary."""
    if stderr is None or negligible(stderr, value):
        return None
    half = quantile(count - 1, LEVEL) * stderr
    return Interval(value - half, value + half)


def on_scale(value: float, stderr: float | None, units: int, scale: Scale) -> Interval | None:
    """The interval for a mean of scores that have a worst and a best: Wilson's, for the number of right and wrong
    answers that would tell as much.

    With p for the place of the mean between worst (0) and best (1), that number is p(1-p)/SE² · (z/t)², t being
    Student's for units - 1 degrees of freedom, because SE is an estimate: the effective sample size of Korn &
    Graubard (1998), Survey Methodology 24:193. At the ends of the scale, where nothing varied, it is `units`:
    of all scores with one mean, those that are only worst and best vary most, so this is wide enough for any others.

    Args:
        units: what is independent: questions, of which each may have several rows.

    Returns:
        None where nothing varied between the ends, or the mean lies beyond them: neither says how sure it is.
    """
    worst, best = scale
    p = (value - worst) / (best - worst) if best > worst else -1
    if p in (0, 1) and units:
        count = float(units)
    elif 0 < p < 1 and stderr is not None and not negligible(stderr, best - worst):
        count = p * (1 - p) * ((best - worst) * Z / (stderr * quantile(units - 1, LEVEL))) ** 2
    else:
        return None
    return stretched(wilson(p * count, count), scale)


def stretched(share: Interval, scale: Scale) -> Interval:
    """The interval for a share, on a scale."""
    worst, best = scale
    return Interval(*(worst * (1 - end) + best * end for end in share))  # exact at both ends


def negligible(stderr: float, value: float) -> bool:
    """Whether a standard error is nothing but what rounding has left."""
    return stderr <= 1e-12 * abs(value)


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

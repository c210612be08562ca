"""Confidence intervals and standard errors, with references. Pure functions that only use the standard library.

Compared with scipy 1.17 and statsmodels 0.15 (`proportion_confint`, `binomtest`, `mcnemar`, OLS with clustered
covariance): equal within a relative error of 1e-11.
"""

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import NamedTuple

from manycall.evals.stats.student_t import t_quantile

CONFIDENCE = 0.95
"""Confidence level of the intervals."""
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
Scale = tuple[float, float]
"""(worst possible score, best possible score)."""
BINARY_SCALE: Scale = (0.0, 1.0)


class Interval(NamedTuple):
    """Interval from `low` to `high`."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4f} … {self.high:.4f}"


def wilson(right: float, count: float) -> Interval:
    """Return the Wilson score interval of a proportion: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    Wilson (1927), JASA 22:209. Unlike p ± z·SE it has a width when all or none are right, and stays within 0 and 1
    (Brown, Cai & DasGupta 2001, Statistical Science 16:101).

    Raises:
        ValueError: `count` is not positive.
    """
    if count <= 0:
        raise ValueError("count must be positive: there is nothing to compute an interval from")
    p, square = right / count, Z * Z
    middle = p + square / (2 * count)
    half = Z * math.sqrt(p * (1 - p) / count + square / (4 * count * count))
    whole = 1 + square / count
    low, high = (middle - half) / whole, (middle + half) / whole
    return Interval(0.0 if p == 0 else low, 1.0 if p == 1 else high)  # exact, without rounding errors


def t_interval(value: float, stderr: float | None, count: int) -> Interval | None:
    """Return value ± t·SE, with Student's t for count - 1 degrees of freedom; None if the numbers do not vary."""
    if stderr is None or is_rounding_error(stderr, value):
        return None
    half = t_quantile(count - 1, CONFIDENCE) * stderr
    return Interval(value - half, value + half)


def bounded_interval(value: float, stderr: float | None, units: int, scale: Scale) -> Interval | None:
    """Return the interval of a mean of scores on a bounded scale: Wilson's interval for the effective sample size.

    Let p be the position of the mean between worst (0) and best (1). The effective sample size is
    p(1-p)/SE² · (z/t)², with Student's t for units - 1 degrees of freedom, because SE is an estimate (Korn &
    Graubard 1998, Survey Methodology 24:193). At the ends of the scale, where the scores do not vary, it is `units`.
    Among all scores with a given mean, the scores that are only worst or best vary most, so the interval is wide
    enough for any other scores.

    Args:
        value: the mean.
        stderr: its standard error; None if unknown.
        units: number of independent units: questions, each of which can have several rows.
        scale: the worst and the best possible score.

    Returns:
        The interval; None if the mean is inside the scale and the scores do not vary, or if it is outside the scale.
    """
    worst, best = scale
    p = (value - worst) / (best - worst) if best > worst else -1
    if p in (0, 1) and units:
        count = float(units)
    elif 0 < p < 1 and stderr is not None and not is_rounding_error(stderr, best - worst):
        count = p * (1 - p) * ((best - worst) * Z / (stderr * t_quantile(units - 1, CONFIDENCE))) ** 2
    else:
        return None
    return rescale(wilson(p * count, count), scale)


def rescale(interval: Interval, scale: Scale) -> Interval:
    """Map an interval from 0 to 1 to a scale."""
    worst, best = scale
    return Interval(*(worst * (1 - end) + best * end for end in interval))  # exact at both ends


def is_rounding_error(stderr: float, value: float) -> bool:
    """Return whether a standard error is small enough to be only a rounding error."""
    return stderr <= 1e-12 * abs(value)


def clustered_stderr(clusters: Iterable[tuple[int, float]]) -> float | None:
    """Return the standard error of a mean over clustered rows: the samples of one question are one cluster.

    sqrt(Σ_c (Σ_j (s_cj - mean))² · C/(C-1)) / n, for C clusters with n rows in total: Miller (2024), "Adding error bars
    to evals", arXiv:2411.00640, appendix A, with the usual factor for few clusters. If each cluster has one row, it
    equals the ordinary standard error.

    Args:
        clusters: (number of rows, sum of their scores) of each cluster.

    Returns:
        The standard error; None for fewer than two clusters.
    """
    sizes_and_sums = list(clusters)
    cluster_count = len(sizes_and_sums)
    if cluster_count < 2:
        return None
    rows = sum(size for size, _ in sizes_and_sums)
    mean = math.fsum(total for _, total in sizes_and_sums) / rows
    squares = math.fsum((total - size * mean) ** 2 for size, total in sizes_and_sums)
    return math.sqrt(squares * cluster_count / (cluster_count - 1)) / rows


def worst_case_bounds(total: float, count: int, failed: int, least: float = 0.0, most: float = 1.0) -> Interval:
    """Return the mean if all failed rows had scored `least`, and if all had scored `most`.

    These are the worst-case bounds of Manski (1990), AER 80:319. They make no assumption about why rows failed.
    """
    rows = count + failed
    if not rows:
        return Interval(least, most)
    return Interval((total + failed * least) / rows, (total + failed * most) / rows)

"""Student's t: how far a mean strays whose standard error is itself an estimate. Student (1908), Biometrika 6:1.

Compared with scipy 1.17 (`scipy.stats.t`): equal to 1e-8, relatively.
"""

import math
from functools import cache

_LEAST = 1e-300
"""What stands for 0 where it would be divided by."""


def two_sided(t: float, freedom: int) -> float:
    """The chance of a t at least so far from 0, one way or the other: I_x(ν/2, 1/2) with x = ν/(ν + t²).

    Abramowitz & Stegun (1964), 26.7.1 and 26.5.27. `freedom`: ν, 1 or more.
    """
    ratio = t * t / freedom
    x = 1 / (1 + ratio)
    a, b = freedom / 2, 0.5
    if not ratio:
        return 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - (a + b) * math.log1p(ratio) + b * math.log(ratio)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, ratio * x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (NIST DLMF 8.17.22), by the method of Lentz (1976)."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or _LEAST)
    found = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or _LEAST)
            c = 1 + term / c or _LEAST
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found


@cache
def quantile(freedom: int, level: float) -> float:
    """The t that is exceeded, one way or the other, with a chance of 1 - level; found by halving."""
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > 1 - level:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if two_sided(middle, freedom) > 1 - level else (low, middle)
    return high

"""Two runs over the same rows: how much better is one, and may that be chance?

Most of the doubt in a score comes from which questions were asked, and is the same for both runs; in the differences
row by row it cancels. Miller (2024), arXiv:2411.00640, section 4.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from manycall.evals.metrics import Mean
from manycall.evals.stats.intervals import Interval, Z, student
from manycall.evals.stats.student import two_sided


class Difference(msgspec.Struct, frozen=True):
    """How much better the second run is than the first.

    Attributes:
        first, second: their mean scores over the rows that both have; value: mean of (second - first).
        stderr: sd of the differences / sqrt(n); None for fewer than two rows.
        unpaired: the standard error that two runs over different rows would have: sqrt(SE₁² + SE₂²).
        interval: 95 %; None for fewer than two rows, or where the standard error is 0 and says nothing.
        p: how often chance alone would bring so large a difference, one way or the other; None where no test says.
        test: how that was reckoned.
        wins, losses, ties: rows on which the second is better, worse, equal.
    """

    first: float
    second: float
    value: float
    stderr: float | None
    unpaired: float | None
    interval: Interval | None
    p: float | None
    test: str
    wins: int
    losses: int
    ties: int

    @property
    def count(self) -> int:
        """The rows that both runs have."""
        return self.wins + self.losses + self.ties


def difference(pairs: Iterable[tuple[float, float]], *, shares: bool = True) -> Difference:
    """Compare (first, second) scores of the same rows.

    Where each score is 0 or 1, p is McNemar's exact test, and the interval is Bonett and Price's; else both are by
    Student's t (1908, Biometrika 6:1) of the differences.

    Args:
        shares: a score can be but 0 or 1, as far as the scale goes; else it does not count that none was anything else.
    """
    seen = Counter(pairs)
    first, second, changes = Mean(), Mean(), Mean()
    for (a, b), times in seen.items():
        first.add(a, times)
        second.add(b, times)
        changes.add(change(a, b), times)
    wins = sum(times for (a, b), times in seen.items() if change(a, b) > 0)
    losses = sum(times for (a, b), times in seen.items() if change(a, b) < 0)
    ties = changes.count - wins - losses
    value, stderr = changes.value, changes.stderr
    unpaired = None if stderr is None else math.hypot(first.stderr or 0.0, second.stderr or 0.0)
    interval, p, test = None, None, "N/A for fewer than two rows"
    if stderr is not None and shares and all(score in (0.0, 1.0) for pair in seen for score in pair):
        interval, p, test = bonett_price(wins, losses, changes.count), mcnemar(wins, losses), "McNemar's, exact"
    elif stderr is not None and (interval := student(value, stderr, changes.count)):
        p, test = two_sided(value / stderr, changes.count - 1), "Student's t of the differences"
    elif stderr is not None:
        test = "N/A where every row changed by as much, since that does not say how sure it is"
    return Difference(first.value, second.value, value, stderr, unpaired, interval, p, test, wins, losses, ties)


def change(first: float, second: float) -> float:
    """second - first, to twelve decimals: what is below that is rounding, and no change."""
    return round(second - first, 12)


def mcnemar(wins: int, losses: int) -> float:
    """The exact two-sided test: rows that changed are coin tosses if neither run is better.

    min(1, 2 · Σ_{i ≤ min(w, l)} C(n, i) / 2ⁿ), n = w + l. McNemar (1947), Psychometrika 12:153, with the binomial
    instead of χ²; the same as statsmodels' `mcnemar(exact=True)`.
    """
    n, least = wins + losses, min(wins, losses)
    if wins == losses:
        return 1.0
    log = math.lgamma(n + 1) - math.lgamma(least + 1) - math.lgamma(n - least + 1) - n * math.log(2)
    term = total = 1.0
    for i in range(least, 0, -1):  # each term from the one above it, until they no longer count
        term *= i / (n - i + 1)
        total += term
        if term < total * 1e-18:
            break
    return min(1.0, 2 * total * math.exp(log))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p of each of several tests, corrected for there being several: if nothing differs, the chance that any of them
    comes below 0.05 is at most 0.05, however they depend on each other.

    Of m tests, the k-th smallest p times m - k + 1, and never less than those before it: Holm (1979), Scandinavian
    Journal of Statistics 6:65. A test without a p is none.
    """
    rising = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    least = 0.0
    for before, (p, place) in enumerate(rising):
        adjusted[place] = least = max(least, min(1.0, p * (len(rising) - before)))
    return adjusted


def bonett_price(wins: int, losses: int, count: int) -> Interval:
    """The interval for a difference of paired shares: as many wins and losses, and one more of each.

    p₁ = (w+1)/(n+2), p₂ = (l+1)/(n+2): p₁ - p₂ ± z·sqrt((p₁ + p₂ - (p₁ - p₂)²) / (n+2)). Bonett & Price (2012),
    J. Educational and Behavioral Statistics 37:479. Unlike d ± z·SE it has a width where no row changed.
    """
    win, loss = (wins + 1) / (count + 2), (losses + 1) / (count + 2)
    half = Z * math.sqrt((win + loss - (win - loss) ** 2) / (count + 2))
    return Interval(max(-1.0, win - loss - half), min(1.0, win - loss + half))

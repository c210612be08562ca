"""Paired comparison of two runs over the same rows: difference, interval and significance test.

Most of the uncertainty of a score comes from the choice of questions. It is the same for both runs, so it cancels in
the differences of paired rows. Miller (2024), arXiv:2411.00640, section 4.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from manycall.evals.stats.intervals import Interval, Z, t_interval
from manycall.evals.stats.mean import Mean
from manycall.evals.stats.student_t import t_two_sided_p


class PairedDifference(msgspec.Struct, frozen=True):
    """Difference between the scores of two runs.

    Attributes:
        first, second: mean scores of the two runs over the rows that both have.
        value: mean of (second - first).
        stderr: standard deviation of the differences / sqrt(n); None for fewer than two rows.
        unpaired_stderr: standard error that two runs over different rows would have: sqrt(SE₁² + SE₂²).
        interval: 95 % confidence interval; None for fewer than two rows, or if the differences do not vary.
        p_value: two-sided p-value of the difference; None if no test applies.
        test: name of the test.
        wins, losses, ties: number of rows on which the second run is better, worse or equal.
    """

    first: float
    second: float
    value: float
    stderr: float | None
    unpaired_stderr: float | None
    interval: Interval | None
    p_value: float | None
    test: str
    wins: int
    losses: int
    ties: int

    @property
    def count(self) -> int:
        """Return the number of rows that both runs have."""
        return self.wins + self.losses + self.ties


def paired_difference(pairs: Iterable[tuple[float, float]], *, binary: bool = True) -> PairedDifference:
    """Compare (first, second) scores of the same rows.

    If all scores are 0 or 1, p is McNemar's exact test and the interval is that of Bonett and Price. Otherwise both
    use Student's t (1908, Biometrika 6:1) of the differences.

    Args:
        binary: whether the scale of the scores runs from 0 to 1. If false, Student's t is used even if all scores
            happen to be 0 or 1.
    """
    seen = Counter(pairs)
    first, second, changes = Mean(), Mean(), Mean()
    for (a, b), times in seen.items():
        first.add(a, times)
        second.add(b, times)
        changes.add(score_change(a, b), times)
    wins = sum(times for (a, b), times in seen.items() if score_change(a, b) > 0)
    losses = sum(times for (a, b), times in seen.items() if score_change(a, b) < 0)
    ties = changes.count - wins - losses
    value, stderr = changes.value, changes.stderr
    unpaired = None if stderr is None else math.hypot(first.stderr or 0.0, second.stderr or 0.0)
    interval, p, test = None, None, "N/A for fewer than two rows"
    if stderr is not None and binary and all(score in (0.0, 1.0) for pair in seen for score in pair):
        interval, p, test = bonett_price(wins, losses, changes.count), mcnemar(wins, losses), "McNemar's, exact"
    elif stderr is not None and (interval := t_interval(value, stderr, changes.count)):
        p, test = t_two_sided_p(value / stderr, changes.count - 1), "Student's t of the differences"
    elif stderr is not None:
        test = "N/A where every row changed by as much, since that does not say how sure it is"
    return PairedDifference(first.value, second.value, value, stderr, unpaired, interval, p, test, wins, losses, ties)


def weighted_difference(pairs: Sequence[tuple[float, float]], weights: Sequence[float]) -> PairedDifference:
    """Compare (first, second) scores of the same rows by the difference of their weighted means, Σw(y - x) / Σw.

    The difference d is a ratio, because the weights depend on the rows. Its standard error is that of the mean of
    w(y - x - d) / mean(w): Cochran (1977), Sampling Techniques, chapter 6. p and the interval use Student's t.
    If all weights are 0, both means and the difference are 0.
    """
    total = math.fsum(weights)
    shares = [weight * len(weights) / total if total else 0.0 for weight in weights]
    scaled = [(share * a, share * b) for share, (a, b) in zip(shares, pairs, strict=True)]
    value = math.fsum(b - a for a, b in scaled) / len(scaled)
    residuals = ((0.0, b - a + (1 - share) * value) for share, (a, b) in zip(shares, scaled, strict=True))
    linear, plain, counted = (paired_difference(each, binary=False) for each in (residuals, scaled, pairs))
    return msgspec.structs.replace(
        linear, first=plain.first, second=plain.second, value=value, unpaired_stderr=None,
        wins=counted.wins, losses=counted.losses, ties=counted.ties,
    )  # fmt: skip


def score_change(first: float, second: float) -> float:
    """Return second - first, rounded to twelve decimals, so that rounding errors do not count as a change."""
    return round(second - first, 12)


def mcnemar(wins: int, losses: int) -> float:
    """Return the p-value of McNemar's exact two-sided test: changed rows are coin tosses if neither run is better.

    min(1, 2 · Σ_{i ≤ min(w, l)} C(n, i) / 2ⁿ), n = w + l. McNemar (1947), Psychometrika 12:153, with the binomial
    distribution instead of χ²; equal to statsmodels' `mcnemar(exact=True)`.
    """
    n, least = wins + losses, min(wins, losses)
    if wins == losses:
        return 1.0
    log = math.lgamma(n + 1) - math.lgamma(least + 1) - math.lgamma(n - least + 1) - n * math.log(2)
    term = total = 1.0
    for i in range(least, 0, -1):  # each term from the previous one, until they are negligible
        term *= i / (n - i + 1)
        total += term
        if term < total * 1e-18:
            break
    return min(1.0, 2 * total * math.exp(log))


def holm_adjust(ps: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for multiple tests by Holm's method.

    If no difference is real, the probability that any adjusted p-value is below 0.05 is at most 0.05, regardless of
    how the tests depend on each other. Of m tests, the k-th smallest p is multiplied by m - k + 1 and raised to at
    least the adjusted value before it: Holm (1979), Scandinavian Journal of Statistics 6:65. Tests without a p-value
    (None) are not counted.
    """
    ascending = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    least = 0.0
    for before, (p, place) in enumerate(ascending):
        adjusted[place] = least = max(least, min(1.0, p * (len(ascending) - before)))
    return adjusted


def bonett_price(wins: int, losses: int, count: int) -> Interval:
    """Return the interval of a difference of paired proportions, after adding one win and one loss.

    p₁ = (w+1)/(n+2), p₂ = (l+1)/(n+2): p₁ - p₂ ± z·sqrt((p₁ + p₂ - (p₁ - p₂)²) / (n+2)). Bonett & Price (2012),
    J. Educational and Behavioral Statistics 37:479. Unlike d ± z·SE it has a width if no row changed.
    """
    win, loss = (wins + 1) / (count + 2), (losses + 1) / (count + 2)
    half = Z * math.sqrt((win + loss - (win - loss) ** 2) / (count + 2))
    return Interval(max(-1.0, win - loss - half), min(1.0, win - loss + half))

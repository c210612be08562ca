"""Reliability of a judge: self-agreement, position bias, and wins per question of a pairwise comparison."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from manycall.evals.stats.intervals import BINARY_SCALE, Interval, bounded_interval, clustered_stderr, wilson
from manycall.evals.stats.mean import Mean
from manycall.evals.stats.paired_tests import mcnemar


class VerdictShare(msgspec.Struct, frozen=True):
    """Number and share of the rows with one verdict.

    The 95 % interval is Wilson's, or clustered by question if a question can have several rows.
    """

    verdict: str
    count: int
    share: float
    interval: Interval | None


class SelfAgreement(msgspec.Struct, frozen=True):
    """Self-agreement of the judge over the rows that it judged several times.

    Attributes:
        questions: Number of rows with more than one verdict.
        value: Share of equal pairs among the verdicts on one row, averaged over rows.
        stderr: Standard error of `value`.
        kappa: Chance-corrected agreement (value - e) / (1 - e), where e = Σ p_v² is the agreement of verdicts drawn
            at random. 0 is chance level, 1 is perfect. Fleiss (1971), Psychological Bulletin 76:378. None if all
            verdicts are equal.
    """

    questions: int
    value: float
    stderr: float | None
    kappa: float | None


class PositionBias(msgspec.Struct, frozen=True):
    """Position bias: how the order of the two answers influences the judge.

    Attributes:
        both: Number of rows judged in both orders.
        consistent: Number of these rows with the same winner, or a tie, in both orders.
        first: Number of questions won by the first position: the answer shown first won in both orders, or in the
            only order that was judged. With several verdicts on a question, the position that won more of them.
        second: Number of questions won by the second position.
        p_value: p-value of an exact two-sided sign test. The null hypothesis is that the position has no influence.
    """

    both: int
    consistent: int
    first: int
    second: int
    p_value: float


class PairwiseResult(msgspec.Struct, frozen=True):
    """Result of a pairwise comparison of two runs.

    Attributes:
        wins: Number of questions won by the judged answers. With several verdicts on a question, the majority decides.
        losses: Number of questions lost.
        ties: Number of questions neither won nor lost.
        p_value: p-value of an exact two-sided sign test. The null hypothesis is that neither run is better.
    """

    wins: int
    losses: int
    ties: int
    p_value: float


def self_agreement(questions: Iterable[Sequence[str]]) -> SelfAgreement | None:
    """Return the agreement of repeated verdicts, or None if nothing was judged more than once."""
    mean, all_verdicts = Mean(), Counter[str]()
    for verdicts in questions:
        if len(verdicts) > 1:
            counts = Counter(verdicts)
            all_verdicts.update(counts)
            pairs = len(verdicts) * (len(verdicts) - 1)
            mean.add(sum(count * (count - 1) for count in counts.values()) / pairs)
    if not mean.count:
        return None
    chance = sum((count / all_verdicts.total()) ** 2 for count in all_verdicts.values())
    kappa = (mean.value - chance) / (1 - chance) if len(all_verdicts) > 1 else None
    return SelfAgreement(mean.count, mean.value, mean.stderr, kappa)


def verdict_share(verdict: str, count: int, rows: int, questions: Sequence[Counter[str]]) -> VerdictShare:
    """Return the share of a verdict with its interval.

    Args:
        questions: Verdict counts per question, if a question can have several verdicts. The interval is then
            clustered by question.
    """
    interval: Interval | None = wilson(count, rows)
    if questions:
        stderr = clustered_stderr((counts.total(), counts[verdict]) for counts in questions)
        interval = bounded_interval(count / rows, stderr, len(questions), BINARY_SCALE)
    return VerdictShare(verdict, count, count / rows, interval)


class WinCounter:
    """Count the questions that A and B have won.

    Args:
        repeated: A question can have several verdicts; the side with more of them wins the question.
    """

    def __init__(self, repeated: bool) -> None:
        self._repeated = repeated
        self._leads: Counter[str] = Counter()
        self._won: Counter[int] = Counter()

    def add(self, question: str, winner: str) -> None:
        """Count one verdict on a question: "A", "B", or anything else for a tie."""
        lead = (winner == "A") - (winner == "B")
        if self._repeated:
            self._leads[question] += lead
        else:
            self._won[lead] += 1

    def result(self) -> PairwiseResult:
        """Return wins, losses and ties with the p-value of the sign test."""
        won = self._won + Counter((lead > 0) - (lead < 0) for lead in self._leads.values())
        return PairwiseResult(won[1], won[-1], won[0], mcnemar(won[1], won[-1]))


class PositionCounter:
    """Count how often the first and the second position won."""

    def __init__(self, repeated: bool) -> None:
        self._both = self._consistent = 0
        self._wins = WinCounter(repeated)

    def add(self, question: str, verdicts: Sequence[str]) -> None:
        """Count the verdicts on one row, one for each order in which it was judged."""
        if len(verdicts) == 2:
            self._both += 1
            self._consistent += set(verdicts) in ({"A", "B"}, {"tie"})
        # Equal labels in both orders mean that the same position won twice.
        self._wins.add(question, verdicts[0] if len(set(verdicts)) == 1 else "")

    def result(self) -> PositionBias:
        """Return the position bias."""
        positions = self._wins.result()
        return PositionBias(self._both, self._consistent, positions.wins, positions.losses, positions.p_value)

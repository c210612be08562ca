"""How far a judge can be trusted: with itself, with the place of an answer; and who won, question by question."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from manycall.evals.metrics import Mean
from manycall.evals.stats.intervals import RIGHT_OR_WRONG, Interval, clustered_stderr, on_scale, wilson
from manycall.evals.stats.paired import mcnemar


class Share(msgspec.Struct, frozen=True):
    """How many rows got a verdict; the interval (Wilson, 95 %) takes the rows of one question for one cluster."""

    verdict: str
    count: int
    share: float
    interval: Interval | None


class Agreement(msgspec.Struct, frozen=True):
    """How far the judge agrees with itself, over the questions that it judged several times.

    Attributes:
        value: the share of pairs of verdicts on one question that are equal, meaned over questions; stderr: of that.
        kappa: the same, less what verdicts drawn at random would agree: (value - e) / (1 - e), e = Σ p_v²; 0 is
            chance, 1 perfect. Fleiss (1971), Psychological Bulletin 76:378. None if there was but one verdict.
    """

    questions: int
    value: float
    stderr: float | None
    kappa: float | None


class Position(msgspec.Struct, frozen=True):
    """Whether the place of an answer matters to the judge.

    Attributes:
        both: rows judged in both orders; consistent: of these, the same winner (or a tie) in both.
        first, second: questions that the place won: the answer in that place won in both orders, or in the only one
            in which it was shown; of several verdicts on a question, more often than the other place did.
        p: how often a judge that does not look at the place would be so lopsided (exact sign test, two-sided).
    """

    both: int
    consistent: int
    first: int
    second: int
    p: float


class Duel(msgspec.Struct, frozen=True):
    """Two runs' answers against each other.

    Attributes:
        wins, losses, ties: questions that the answers that were given won, lost, neither; of several verdicts on a
            question, by their majority.
        p: how often two runs of which none is better would be so lopsided (exact sign test, two-sided).
    """

    wins: int
    losses: int
    ties: int
    p: float


def agreement(questions: Iterable[Sequence[str]]) -> Agreement | None:
    """How far verdicts on the same question agree; None if none was judged twice."""
    mean, verdicts = Mean(), Counter[str]()
    for given in questions:
        if len(given) > 1:
            counts = Counter(given)
            verdicts.update(counts)
            pairs = len(given) * (len(given) - 1)
            mean.add(sum(count * (count - 1) for count in counts.values()) / pairs)
    if not mean.count:
        return None
    chance = sum((count / verdicts.total()) ** 2 for count in verdicts.values())
    kappa = (mean.value - chance) / (1 - chance) if len(verdicts) > 1 else None
    return Agreement(mean.count, mean.value, mean.stderr, kappa)


def share(verdict: str, count: int, rows: int, questions: Sequence[Counter[str]]) -> Share:
    """`questions`: the verdicts on each, where there can be several."""
    interval: Interval | None = wilson(count, rows)
    if questions:
        stderr = clustered_stderr((given.total(), given[verdict]) for given in questions)
        interval = on_scale(count / rows, stderr, len(questions), RIGHT_OR_WRONG)
    return Share(verdict, count, count / rows, interval)


class Contest:
    """Two sides, and how many questions each has won.

    Args:
        repeated: a question can come several times; whoever won more of these has won it.
    """

    def __init__(self, repeated: bool) -> None:
        self._repeated = repeated
        self._leads: Counter[str] = Counter()
        self._won: Counter[int] = Counter()

    def add(self, question: str, winner: str) -> None:
        """Take in that A won, or B, or neither."""
        lead = (winner == "A") - (winner == "B")
        if self._repeated:
            self._leads[question] += lead
        else:
            self._won[lead] += 1

    def found(self) -> Duel:
        """Who has won how many."""
        won = self._won + Counter((lead > 0) - (lead < 0) for lead in self._leads.values())
        return Duel(won[1], won[-1], won[0], mcnemar(won[1], won[-1]))


class Places:
    """How often the first place won, and the second."""

    def __init__(self, repeated: bool) -> None:
        self._both = self._consistent = 0
        self._contest = Contest(repeated)

    def look(self, question: str, said: Sequence[str]) -> None:
        """Take in what was said of one row, in each order."""
        if len(said) == 2:
            self._both += 1
            self._consistent += set(said) in ({"A", "B"}, {"tie"})
        self._contest.add(question, said[0] if len(set(said)) == 1 else "")  # the same place in both orders

    def found(self) -> Position:
        """What that says of the judge."""
        places = self._contest.found()
        return Position(self._both, self._consistent, places.wins, places.losses, places.p)

"""What a judge has found, and how far it can be trusted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from manycall.engine.report import Report, table
from manycall.errors import UsageError
from manycall.evals.metrics import NO_SCORE, Mean
from manycall.evals.report import Score, Table, score_table
from manycall.evals.stats.intervals import Interval, wilson
from manycall.evals.stats.paired import mcnemar
from manycall.evals.tally import Tally
from manycall.store.output import Output


class Share(msgspec.Struct, frozen=True):
    """How many rows got a verdict; the interval (Wilson, 95 %) takes them for independent."""

    verdict: str
    count: int
    share: float
    interval: Interval


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
        first, second: how often the place won: rows where the answer in that place won in both orders, or verdicts for
            it where each row was judged in one order.
        p: how often a judge that does not look at the place would be so lopsided (exact binomial test, two-sided).
    """

    both: int
    consistent: int
    first: int
    second: int
    p: float


class Judgement(msgspec.Struct, kw_only=True):
    """What a judge has found in an output. `print` it for tables.

    Attributes:
        score: mean worth of the verdicts; of a pair: how often the answers that were given win, a tie being half a
            win; None where verdicts are worth no number.
        rows: judged; asked_again: of these, those where a reply could not be read at first; truncated: those with
            a reply cut at max_tokens.
        failed: rows without a verdict, in no score; unfinished: why, and how many.
        missing: a sentence if the run was interrupted; else "".
    """

    out: Path
    judge: str
    field: str
    shares: list[Share]
    score: Score | None
    agreement: Agreement | None
    position: Position | None
    rows: int
    asked_again: int
    truncated: int
    failed: int
    unfinished: dict[str, int]
    missing: str
    run: Report | None = None

    def __str__(self) -> str:
        parts = [table(*cells) for cells in self.tables()]
        if self.run is not None:
            parts.append(str(self.run))
        return "\n\n".join([*parts, *self.remarks()])

    def tables(self) -> list[Table]:
        """(head, rows): the verdicts; what they are worth."""
        rows = [[s.verdict, str(s.count), f"{s.share:.4f}", str(s.interval)] for s in self.shares]
        found: list[Table] = [(["verdict", "rows", "share", "95 % interval"], rows)]
        if self.score is not None:
            found.append(score_table([self.score], "score", self.rows, self.truncated, self.unfinished))
        return found

    def warnings(self) -> list[str]:
        """What a reader of the numbers must know first."""
        warnings = [self.missing] if self.missing else []
        if self.failed:
            warnings.append(f"{self.failed} rows have no verdict, and are in no score; the same command asks again.")
        if self.truncated:
            warnings.append(f"{self.truncated} rows have a reply of the judge that was cut at max_tokens.")
        return warnings

    def remarks(self) -> list[str]:
        """These, and how far the judge can be trusted."""
        remarks = self.warnings()
        if self.asked_again:
            remarks.append(f"{self.asked_again} verdicts could be read only when they were asked for again.")
        if a := self.agreement:
            kappa = "" if a.kappa is None else f", κ {a.kappa:.2f}"
            remarks.append(
                f"Self-agreement: {a.value:.1%} of pairs of verdicts on one row are equal{kappa} ({a.questions} rows)."
            )
        if p := self.position:
            if p.both:
                remarks.append(f"Both orders gave the same verdict for {p.consistent} of {p.both} rows.")
            why = " by its place" if p.both else ""
            remarks.append(
                f"Position: the answer shown first won {p.first} times{why}, the second {p.second} (p = {p.p:.2g})."
            )
        return remarks


def _worth(output: Output) -> dict[str, float | None]:
    """The labels, and what they are worth; nothing for a file that does not say."""
    try:
        return dict(msgspec.convert(output.identity.get("labels", []), list[tuple[str, float | None]]))
    except msgspec.ValidationError:
        return {}


class _Reply(msgspec.Struct):
    verdict: str
    again: bool = False


class _Found(msgspec.Struct):
    """What `judge` writes."""

    verdict: str
    score: Annotated[float, msgspec.Meta(gt=-NO_SCORE, lt=NO_SCORE)] | None = None
    replies: list[_Reply] = []


def summary(out: Path, field: str, run: Report | None = None) -> Judgement:
    """What stands in a judge's output; no call is made.

    Raises:
        UsageError: a row without a verdict.
    """
    output = Output(out)
    worth = _worth(output)
    numbers = [value for value in worth.values() if value is not None]
    least, most = min(numbers, default=0.0), max(numbers, default=1.0)
    tally = Tally("judge", [field], output, (least, most))
    counts: Counter[str] = Counter()
    questions: dict[str, list[str]] = defaultdict(list)
    places = _Places()
    rows = again = truncated = scored = 0
    for offset, row in output.rows():
        try:
            found = msgspec.convert(row.get(field), _Found)
        except msgspec.ValidationError:
            raise UsageError(f"{out}, the row at byte {offset:,} has no verdict in {field!r}") from None
        name = str(row.get("id", ""))
        rows += 1
        counts[found.verdict] += 1
        again += any(reply.again for reply in found.replies)
        truncated += row.get(f"{field}_finish_reason") == "length"
        places.look(found.replies)
        if output.sampled:
            questions[output.split(name)[0]].append(found.verdict)
        if found.score is not None:
            scored += 1
            tally.add(name, {field: (found.verdict, found.score)})
    shares = [Share(v, counts[v], counts[v] / rows, wilson(counts[v], rows)) for v in worth or counts if rows]
    (mean,) = tally.scores()
    return Judgement(
        out=out, judge=str(output.identity.get("model", "?")), field=field, shares=shares,
        score=msgspec.structs.replace(mean, repeated=[]) if scored else None,
        agreement=agreement(questions.values()),
        position=places.found() if output.identity.get("orders") else None,
        rows=rows, asked_again=again, truncated=truncated, failed=output.failed, unfinished=output.unfinished,
        missing=output.missing(rows), run=run,
    )  # fmt: skip


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


class _Places:
    """How often the first place won, and the second."""

    def __init__(self) -> None:
        self._both = self._consistent = 0
        self._won: Counter[str] = Counter()

    def look(self, replies: Sequence[_Reply]) -> None:
        """Take in one row."""
        said = [reply.verdict for reply in replies]
        if len(said) == 2:
            self._both += 1
            self._consistent += set(said) in ({"A", "B"}, {"tie"})
        if len(set(said)) == 1:
            self._won[said[0]] += 1  # for the same place in both orders, or in the only one

    def found(self) -> Position:
        """What that says of the judge."""
        first, second = self._won["A"], self._won["B"]
        return Position(self._both, self._consistent, first, second, mcnemar(first, second))

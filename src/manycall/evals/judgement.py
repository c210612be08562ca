"""What a judge has found, and how far it can be trusted."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Any

import msgspec

from manycall.engine.report import Report
from manycall.errors import UsageError
from manycall.evals.metrics import NO_SCORE
from manycall.evals.report import Finding, Score, Table, score_table
from manycall.evals.tally import Tally
from manycall.evals.trust import Agreement, Contest, Duel, Places, Position, Share, agreement, share
from manycall.plain import plain_line
from manycall.store.output import Output


class Judgement(Finding, kw_only=True):
    """What a judge has found in an output.

    Attributes:
        answers: what was judged: its file, and the model that made it; against: likewise what it was compared with.
        score: mean worth of the verdicts; of a pair: how often the answers that were given win, a tie being half a
            win; None where verdicts are worth no number.
        asked_again: rows where a reply could not be read at first.
    """

    judge: str
    answers: str
    against: str
    field: str
    shares: list[Share]
    score: Score | None
    agreement: Agreement | None
    position: Position | None
    duel: Duel | None
    asked_again: int

    def tables(self) -> list[Table]:
        """(head, rows): the verdicts; what they are worth."""
        rows = [[s.verdict, str(s.count), f"{s.share:.4f}", str(s.interval or "N/A")] for s in self.shares]
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
        if d := self.duel:
            remarks.append(
                f"A is {self.answers}: {d.wins} wins. B is {self.against}: {d.losses}. Ties: {d.ties}. "
                f"p = {d.p:.2g} (exact sign test over questions)."
            )
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
                f"Position: the answer shown first won {p.first} questions{why}, the second {p.second} (p = {p.p:.2g})."
            )
        return remarks


def worths(output: Output) -> dict[str, float | None]:
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


def summary(out: Path, field: str, run: Report | None = None, against: Path | None = None) -> Judgement:
    """What stands in a judge's output; no call is made.

    Args:
        against: the file of the other answers, of which the output knows but what made it.

    Raises:
        UsageError: a row without a verdict.
    """
    output = Output(out)
    worth = worths(output)
    numbers = [value for value in worth.values() if value is not None]
    least, most = min(numbers, default=0.0), max(numbers, default=1.0)
    tally = Tally("judge", [field], output, (least, most))
    counts: Counter[str] = Counter()
    repeats: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # question -> row -> verdicts
    places, duel = Places(output.sampled), Contest(output.sampled)
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
        question, _ = output.split(name)
        places.look(question, [reply.verdict for reply in found.replies])
        duel.add(question, found.verdict)
        if output.sampled:
            judged = name.rpartition("#")[0] if output.identity.get("samples") else name
            repeats[question][judged].append(found.verdict)
        if found.score is not None:
            scored += 1
            tally.add(name, {field: (found.verdict, found.score)})
    questions = [Counter(verdict for given in judged.values() for verdict in given) for judged in repeats.values()]
    shares = [share(v, counts[v], rows, questions) for v in worth or counts if rows]
    (mean,) = tally.scores()
    identity, source = output.identity, output.manifest.source if output.manifest else {}
    orders = identity.get("orders")
    return Judgement(
        out=out, judge=str(identity.get("model", "?")), field=field, shares=shares,
        answers=_named(source.get("rows"), identity.get("answers")), against=_named(against, identity.get("against")),
        score=msgspec.structs.replace(mean, repeated=[]) if scored else None,
        agreement=agreement(given for judged in repeats.values() for given in judged.values()),
        position=places.found() if orders else None, duel=duel.found() if orders else None,
        rows=rows, asked_again=again, truncated=truncated, failed=output.failed, unfinished=output.unfinished,
        missing=output.missing(rows), run=run,
    )  # fmt: skip


def _named(path: Any, made_by: Any) -> str:
    """A run, as far as it is known: g1.jsonl (small)."""
    if not isinstance(made_by, dict):
        return plain_line(str(path or made_by or ""))
    model = made_by.get("model", "?")
    return plain_line(f"{path} ({model})" if path else f"the answers of {model}")

"""What a comparison says."""

from pathlib import Path

import msgspec

from manycall.engine.report import table
from manycall.evals.report import Score, Table, stderr_text
from manycall.evals.stats.paired import Difference
from manycall.plain import plain_line

DIFFERENCE = ("difference", "score", "value", "SE", "95 % interval", "p", "wins", "losses", "ties", "SE unpaired")


class Side(msgspec.Struct, frozen=True):
    """One of the runs, by itself.

    Attributes:
        scores: over all its questions (samples of one are meaned first).
        rows: finished; truncated: of these, cut at max_tokens; failed: rows without an answer, in no score.
        missing: a sentence if it was interrupted; else "".
    """

    out: Path
    model: str
    scores: list[Score]
    rows: int
    truncated: int
    failed: int
    missing: str


class Versus(msgspec.Struct, frozen=True):
    """One run against the first.

    Attributes:
        run: its number, from 2; by: which score.
        only_first, only_other: questions that only one of them has a score for; they are not in the difference.
    """

    run: int
    by: str
    difference: Difference
    only_first: int
    only_other: int


class Change(msgspec.Struct, frozen=True):
    """A row on which two runs differ. Of several samples it shows the first that was written.

    Attributes:
        scores, extracted, responses, runs: of the first run, and of the other.
    """

    id: str
    by: str
    scores: list[float]
    question: str
    answer: str
    extracted: list[str]
    responses: list[str]
    runs: list[str]


class Comparison(msgspec.Struct, frozen=True):
    """Runs compared. `print` it for tables.

    Attributes:
        sides: the runs; versus: each of the others against the first, under each score.
        differs: what tells them apart: model, parameters, versions.
        changes: the first rows that changed; changed: how many there are; changes_out: the file with all of them.
    """

    sides: list[Side]
    versus: list[Versus]
    differs: list[str]
    changes: list[Change]
    changed: int
    changes_out: Path | None = None

    def __str__(self) -> str:
        return "\n\n".join([*(table(*cells) for cells in self.tables()), *self.remarks()])

    def tables(self) -> list[Table]:
        """(head, rows): the runs; the differences; the first rows that changed."""
        names = [score.filter for score in self.sides[0].scores]
        runs = [
            [
                str(number), str(s.out), s.model, *(f"{score.value:.4f}" for score in s.scores), str(s.rows),
                str(s.truncated), str(s.failed),
            ]
            for number, s in enumerate(self.sides, 1)
        ]  # fmt: skip
        rows = [self._cells(v) for v in self.versus]
        changes = [
            [c.id, c.by, *(f"{_number(s)} {e[:40]}".strip() for s, e in zip(c.scores, c.extracted, strict=True))]
            for c in self.changes
        ]
        found = [
            (["run", "output", "model", *names, "rows scored", "truncated", "failed"], runs),
            (
                ["difference", "score", "value", "SE", "95 % interval", "p", "wins", "losses", "ties", "SE unpaired"],
                rows,
            ),
        ]
        return [*found, *([(["changed", "score", "first", "other"], changes)] if changes else [])]

    def _cells(self, v: Versus) -> list[str]:
        d = v.difference
        return [
            f"{v.run} - 1", v.by, f"{d.value:+.4f}", stderr_text(d.stderr), str(d.interval or "N/A"),
            "N/A" if d.p is None else f"{d.p:.3g}", *map(str, (d.wins, d.losses, d.ties)), stderr_text(d.unpaired),
        ]  # fmt: skip

    def warnings(self) -> list[str]:
        """What a reader of the numbers must know first."""
        warnings = [f"{side.out}: {side.missing}" for side in self.sides if side.missing]
        for v in self.versus:
            if v.only_first or v.only_other:
                one = f"{v.only_first:,} have a score only in run 1, {v.only_other:,} only in run {v.run}"
                warnings.append(f"{v.by}: {v.difference.count:,} questions are compared; {one}.")
        return warnings

    def remarks(self) -> list[str]:
        """These, and the rest."""
        remarks = self.warnings()
        remarks += ["They differ in " + plain_line(each) for each in self.differs]
        tests = " or ".join(sorted({v.difference.test for v in self.versus}))
        remarks.append(f"p: {tests}; the interval and SE are of the differences row by row.")
        if len(self.sides) > 2:
            remarks.append(f"No p is corrected for there being {len(self.sides) - 1} of them: multiply by that number.")
        if self.changed:
            where = f"in {self.changes_out}" if self.changes_out else "-o FILE writes all of them"
            remarks.append(f"{self.changed:,} rows changed; {where}.")
        return remarks


def _number(value: float) -> str:
    return f"{value:g}" if value == int(value) else f"{value:.2f}"

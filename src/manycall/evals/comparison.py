"""What a comparison says."""

from pathlib import Path

import msgspec

from manycall.engine.report import Printable, table
from manycall.evals.report import Score, Table, stderr_text
from manycall.evals.stats.paired import Difference
from manycall.plain import plain_line

HOLM = "p (Holm)"


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
        p_holm: p, corrected for all the tests of this comparison (Holm 1979).
        only_first, only_other: questions that only one of them has a score for; they are not in the difference.
    """

    run: int
    by: str
    difference: Difference
    only_first: int
    only_other: int
    p_holm: float | None = None


class Change(msgspec.Struct, frozen=True):
    """A question on which two runs differ. Of several samples it shows the first that was written.

    Attributes:
        run: the number of the other run, from 2; by: which score.
        scores, extracted, responses, runs: of the first run, and of the other.
    """

    id: str
    run: int
    by: str
    scores: list[float]
    question: str
    answer: str
    extracted: list[str]
    responses: list[str]
    runs: list[str]


class Comparison(Printable, msgspec.Struct, frozen=True):
    """Runs compared. `print` it for tables.

    Attributes:
        sides: the runs; versus: each of the others against the first, under each score.
        differs: what tells them apart: model, parameters, versions.
        changes: the first changes, of all runs and scores by turns; changed: how many questions have any;
            changes_out: the file with all changes.
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
        """(head, rows): the runs; the differences; the first changes."""
        names = [score.filter for score in self.sides[0].scores]
        runs = [
            [
                str(number), str(s.out), s.model, *(f"{score.value:.4f}" for score in s.scores), str(s.rows),
                str(s.truncated), str(s.failed),
            ]
            for number, s in enumerate(self.sides, 1)
        ]  # fmt: skip
        columns = [name for name in self._cells(self.versus[0]) if name != HOLM or len(self.versus) > 1]
        rows = [[self._cells(v)[name] for name in columns] for v in self.versus]
        changes = [
            [
                c.id, f"{c.run} - 1", c.by,
                *(f"{_number(s)} {e[:40]}".strip() for s, e in zip(c.scores, c.extracted, strict=True)),
            ]
            for c in self.changes
        ]  # fmt: skip
        found: list[Table] = [
            (["run", "output", "model", *names, "rows scored", "truncated", "failed"], runs),
            (columns, rows),
        ]
        return [*found, *([(["changed", "difference", "score", "first", "other"], changes)] if changes else [])]

    def _cells(self, v: Versus) -> dict[str, str]:
        d = v.difference
        return {
            "difference": f"{v.run} - 1", "score": v.by, "first": f"{d.first:.4f}", "other": f"{d.second:.4f}",
            "value": f"{d.value:+.4f}", "SE": stderr_text(d.stderr), "95 % interval": str(d.interval or "N/A"),
            "p": _p(d.p), HOLM: _p(v.p_holm), "wins": str(d.wins), "losses": str(d.losses), "ties": str(d.ties),
            "SE unpaired": stderr_text(d.unpaired),
        }  # fmt: skip

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
        if len(self.versus) > 1:
            remarks.append(f"{HOLM}: corrected for there being {len(self.versus)} tests.")
        if self.changed:
            where = f"all changes are in {self.changes_out}" if self.changes_out else "-o FILE writes all changes"
            remarks.append(f"{self.changed:,} questions changed; {where}.")
        return remarks


def _number(value: float) -> str:
    return f"{value:g}" if value == int(value) else f"{value:.2f}"


def _p(p: float | None) -> str:
    return "N/A" if p is None else f"{p:.3g}"

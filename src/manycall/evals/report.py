"""What an evaluation says, and how sure it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from manycall.engine.report import Printable, Report, table
from manycall.errors import UsageError
from manycall.evals.stats.intervals import Interval
from manycall.evals.stats.repeats import Repeated
from manycall.evals.tasks import TASKS
from manycall.records import as_text

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""(head, rows)."""
MOST_WRONG = 5
"""Wrong answers that are kept to be shown."""
CRASHED = "function failed"
"""How a row ends whose answer the task's own functions could not read or score (records.Unfinished)."""
IF_FAILED = "if all failed had the worst … best"
OVER_SAMPLES = ("filter", "over samples", "value", "stderr", "questions")
APART = ("of these", "filter", "score", "stderr", "95 % interval", "rows scored")


class Counted(msgspec.Struct, frozen=True):
    """A mean over so many rows, with its standard error; None for fewer than two."""

    value: float
    stderr: float | None
    count: int


class Score(msgspec.Struct, frozen=True):
    """One number.

    Attributes:
        filter: how the answers were read out of the responses.
        value: mean over `count` rows, 0 to 1; stderr: its standard error, None for fewer than two rows.
        interval: 95 %, by Wilson: see `intervals.on_scale`; None where nothing says how sure it is.
        clustered: the standard error with the samples of a question as one cluster; None if each was asked once.
            The interval is by this one.
        bounds: the mean if all failed rows were wrong, and if all were right.
        repeated: mean@k, pass@k, pass^k, maj@k, where questions were asked several times.
        unread: answers in which this filter found nothing, and which are scored as wrong.
        as_lm_eval: the same with each failed row as a wrong one, which is what lm-evaluation-harness reports of such
            a run; None if no row failed, if questions were asked several times, or if a task's function failed.
    """

    task: str
    filter: str
    value: float
    stderr: float | None
    count: int
    interval: Interval | None = None
    clustered: float | None = None
    bounds: Interval | None = None
    repeated: list[Repeated] = []
    as_lm_eval: Counted | None = None
    unread: int = 0


def score_table(scores: Sequence[Score], what: str, rows: int, truncated: int, unfinished: Mapping[str, int]) -> Table:
    """(head, rows): each score, its doubt, and beside it the rows that were cut or have none."""
    clustered = any(score.clustered is not None for score in scores)
    unread = any(score.unread for score in scores)
    failed = sum(unfinished.values())
    head = [
        "task", "filter", what, "stderr", *(["clustered"] if clustered else []), "95 % interval",
        *([IF_FAILED] if failed else []), *(["unread"] if unread else []),
        "rows scored", "truncated", "failed", *unfinished,
    ]  # fmt: skip
    counts = [*map(str, (rows, truncated, failed, *unfinished.values()))]
    cells = [
        [
            s.task, s.filter, f"{s.value:.4f}" if s.count else "N/A", stderr_text(s.stderr),
            *([stderr_text(s.clustered)] if clustered else []), str(s.interval or "N/A"),
            *([str(s.bounds)] if failed else []), *([str(s.unread)] if unread else []), *counts,
        ]
        for s in scores
    ]  # fmt: skip
    return head, cells


class Wrong(msgspec.Struct, frozen=True):
    """An answer that a filter scored 0.

    Attributes:
        read: filter -> what it read.
    """

    id: str
    read: dict[str, str]
    question: str
    response: str
    answer: str

    @classmethod
    def of(cls, row: Mapping[str, Any], read: dict[str, str], target: str) -> "Wrong":
        """The answer in a row, whose right answer stands in the field `target`."""
        question, response, answer = (str(row.get(name, "")) for name in ("question", "response", target))
        return cls(str(row.get("id", "")), read, question, response, answer)


class Finding(Printable, msgspec.Struct, kw_only=True):
    """What was found in an output. `print` it for tables.

    Attributes:
        rows: that it is of; truncated: of these, those with a reply that was cut at max_tokens.
        failed: rows that are in no number; unfinished: why, and how many.
        missing: a sentence if the run was interrupted, and these are not all rows; else "".
        run: how the run went that made the calls; None if there was none.
    """

    out: Path
    rows: int
    truncated: int
    failed: int
    unfinished: dict[str, int] = {}
    missing: str = ""
    run: Report | None = None

    def __str__(self) -> str:
        parts = [table(*cells) for cells in self.tables()]
        if self.run is not None:
            parts.append(str(self.run))
        return "\n\n".join([*parts, *self.remarks()])

    def tables(self) -> list[Table]:
        """(head, rows) of each."""
        raise NotImplementedError

    def remarks(self) -> list[str]:
        """What is to be said besides."""
        raise NotImplementedError


class Evaluation(Finding, kw_only=True):
    """The scores of an output; answers that were cut are scored as they stand.

    Attributes:
        wrong: the first whole answers that were scored 0.
        odd: what should make a reader wonder.
        groups: of rows that were scored apart, the scores, by what stands in the field that sets them apart.
    """

    task: str
    scores: list[Score]
    wrong: list[Wrong] = []
    odd: list[str] = []
    groups: dict[str, list[Score]] = {}

    def score(self, name: str) -> Score:
        """The score of one filter.

        Raises:
            UsageError: there is none of this name.
        """
        for score in self.scores:
            if score.filter == name:
                return score
        raise UsageError(f"there is no score {name!r}; there are {', '.join(score.filter for score in self.scores)}")

    def tables(self) -> list[Table]:
        """(head, rows) of the scores; then, if any, of those over the samples of a question, and of rows apart."""
        what = "exact match" if self.task in TASKS else "score"
        if not self.scores:
            return []
        scores = score_table(self.scores, what, self.rows, self.truncated, self.unfinished)
        over = [
            [s.filter, r.name, f"{r.value:.4f}" if r.count else "N/A", stderr_text(r.stderr), str(r.count)]
            for s in self.scores
            for r in s.repeated
        ]
        apart = [
            [name, s.filter, f"{s.value:.4f}", stderr_text(s.stderr), str(s.interval or "N/A"), str(s.count)]
            for name, found in self.groups.items()
            for s in found
        ]
        return [scores, *([(OVER_SAMPLES, over)] if over else []), *([(APART, apart)] if apart else [])]

    def warnings(self) -> list[str]:
        """What a reader of the number must know first."""
        warnings = [self.missing] if self.missing else []
        crashed = self.unfinished.get(CRASHED, 0)
        if crashed:
            warnings.append(
                f"{crashed} rows have an answer that could not be scored ({CRASHED}), and are in no score: mend the "
                "task, and `manycall eval` scores them without a call."
            )
        if unanswered := self.failed - crashed:
            again = "; the same command tries them again" if self.run else ""
            warnings.append(f"{unanswered} rows have no answer, and are in no score{again}.")
            warnings += [f"lm-evaluation-harness would score them 0, and say {said}." for said in self._as_lm_eval()]
        if self.truncated:
            warnings.append(
                f"{self.truncated} answers were cut at max_tokens and scored as they stand: raise it with --max-tokens."
            )
        return warnings

    def _as_lm_eval(self) -> list[str]:
        """What it would say, in one text; or none."""
        said = [(score.filter, score.as_lm_eval) for score in self.scores if score.as_lm_eval is not None]
        return [", ".join(f"{name} {s.value:.4f} {stderr_text(s.stderr)}" for name, s in said)] if said else []

    def remarks(self) -> list[str]:
        """These, and the rest."""
        remarks = [*self.warnings(), *self.odd]
        planted = (self.run.sim or {}).get("planted") if self.run else None
        if self.run and planted and planted["asked"] and self.run.calls >= self.rows:  # it heard all the questions
            right, asked = planted["right"], planted["asked"]
            remarks.append(f"The simulated endpoint meant to get {right} of {asked} right: {right / asked:.4f}.")
        return remarks


def stderr_text(value: float | None) -> str:
    """±0.0119, or N/A."""
    return "N/A" if value is None else f"±{value:.4f}"


def short(value: Any, most: int = 60) -> str:
    """A text, or a value as JSON, in at most so many characters."""
    text = as_text(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."

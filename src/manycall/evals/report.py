"""What an evaluation says, and how sure it is."""

from pathlib import Path

import msgspec

from manycall.engine.report import Report, table


class Score(msgspec.Struct, frozen=True):
    """One number.

    Attributes:
        filter: how the answers were read out of the responses.
        value: mean over `count` rows, 0 to 1; stderr: its standard error, None for fewer than two rows.
    """

    task: str
    filter: str
    value: float
    stderr: float | None
    count: int


class Evaluation(msgspec.Struct, kw_only=True):
    """The scores of an output. `print` it for a table.

    Attributes:
        rows: scored. truncated: of these, answers that were cut at max_tokens, and scored as they stand.
        failed: rows without an answer; they are in no score. unfinished: why, and how many.
        run: how the run went that answered the questions; None if they were only scored again.
    """

    task: str
    out: Path
    scores: list[Score]
    rows: int
    truncated: int
    failed: int
    unfinished: dict[str, int] = {}
    run: Report | None = None

    def score(self, name: str) -> Score:
        """The score of one filter."""
        return next(score for score in self.scores if score.filter == name)

    def __str__(self) -> str:
        head = ("task", "filter", "exact match", "stderr", "rows scored", "truncated", "failed", *self.unfinished)
        counts = (*map(str, (self.rows, self.truncated, self.failed, *self.unfinished.values())),)
        rows = [
            (s.task, s.filter, f"{s.value:.4f}" if s.count else "N/A", _stderr(s.stderr), *counts) for s in self.scores
        ]
        parts = [table(head, rows)]
        if self.run is not None:
            parts.append(str(self.run))
        return "\n\n".join([*parts, *self.remarks()])

    def remarks(self) -> list[str]:
        """What a reader of the number must know."""
        remarks = []
        if self.failed:
            remarks.append(f"{self.failed} rows have no answer and are in no score; the same command tries them again.")
        if self.truncated:
            remarks.append(
                f"{self.truncated} answers were cut at max_tokens and scored as they stand: raise it with --max-tokens."
            )
        planted = (self.run.sim or {}).get("planted") if self.run else None
        if planted and planted["asked"]:
            right, asked = planted["right"], planted["asked"]
            remarks.append(f"The simulated endpoint meant to get {right} of {asked} right: {right / asked:.4f}.")
        return remarks


def _stderr(value: float | None) -> str:
    return "N/A" if value is None else f"±{value:.4f}"

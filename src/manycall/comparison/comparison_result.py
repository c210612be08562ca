"""The result of a paired comparison of runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from manycall.evals.eval_result import Score, Table
from manycall.evals.stats.paired_tests import PairedDifference
from manycall.option_flags import option
from manycall.render import format_p_value, format_score, format_stderr, markdown_table
from manycall.run.result_views import RecordViews
from manycall.terminal import sanitize_line

HOLM = "p (Holm)"


class ComparedRun(msgspec.Struct, frozen=True):
    """One of the compared runs.

    Attributes:
        scores: Scores over all questions of the run. Samples of one question are averaged first.
        rows: Number of scored rows.
        no_answer: Number of scored rows without an answer, which are scored 0.
        truncated: Number of finished rows with an answer truncated at max_tokens.
        failed: Number of failed rows that are excluded from all scores.
        incomplete: A sentence if the run was interrupted, otherwise "".
        uneven_samples: Whether questions have different numbers of scored samples, because rows failed.
    """

    out: Path
    model: str
    scores: list[Score]
    rows: int
    no_answer: int
    truncated: int
    failed: int
    incomplete: str
    uneven_samples: bool = False


class RunDifference(msgspec.Struct, frozen=True):
    """Difference between one run and the first.

    Attributes:
        run: Number of the run, from 2.
        metric: Name of the compared score.
        difference: The paired difference, this run minus the first.
        only_first: Number of questions with a score only in the first run; they are not part of the difference.
        only_other: Number of questions with a score only in this run; they are not part of the difference.
        p_value_holm: p-value adjusted for all tests of this comparison (Holm 1979).
    """

    run: int
    metric: str
    difference: PairedDifference
    only_first: int
    only_other: int
    p_value_holm: float | None = None


class ChangedQuestion(msgspec.Struct, frozen=True):
    """A question on which two runs differ. If it has several samples, the first one written is shown.

    Attributes:
        id: Id of the question.
        run: Number of the other run, from 2.
        metric: Name of the compared score.
        scores: Score in the first run and in the other.
        question: Text of the question.
        answer: The reference answer.
        extracted: Answer extracted from the response of the first run and of the other.
        responses: Response of the first run and of the other.
        runs: Output file of the first run and of the other.
    """

    id: str
    run: int
    metric: str
    scores: list[float]
    question: str
    answer: str
    extracted: list[str]
    responses: list[str]
    runs: list[str]


class Comparison(RecordViews, msgspec.Struct, frozen=True):
    """Paired comparison of runs. Print it to show the tables.

    Attributes:
        runs: The compared runs.
        differences: Difference of each later run to the first, for each score.
        setting_differences: Settings that differ between the runs: model, parameters, versions.
        changed_examples: The first changed questions, taken in turn from all runs and scores.
        changed_count: Number of questions with any change.
        changes_out: File with all changes, if one was written.
    """

    runs: list[ComparedRun]
    differences: list[RunDifference]
    setting_differences: list[str]
    changed_examples: list[ChangedQuestion]
    changed_count: int
    changes_out: Path | None = None

    def __str__(self) -> str:
        return "\n\n".join([*(markdown_table(*cells) for cells in self.tables()), *self.messages()])

    def _records(self) -> Iterator[dict[str, Any]]:
        for each in self.differences:
            numbers = msgspec.structs.asdict(each.difference)
            yield {**msgspec.structs.asdict(each), **numbers, "difference": each.difference.value}

    def tables(self) -> list[Table]:
        """Return tables as (header, rows): the runs, the differences, the first changed questions."""
        names = [score.filter for score in self.runs[0].scores]
        has_no_answer = any(run.no_answer for run in self.runs)
        runs = [
            [
                str(number), str(s.out), s.model, *(format_score(score.value) for score in s.scores), str(s.rows),
                *([str(s.no_answer)] if has_no_answer else []), str(s.truncated), str(s.failed),
            ]
            for number, s in enumerate(self.runs, 1)
        ]  # fmt: skip
        columns = [name for name in self._cells(self.differences[0]) if name != HOLM or len(self.differences) > 1]
        rows = [[self._cells(v)[name] for name in columns] for v in self.differences]
        changes = [
            [
                c.id, f"{c.run} - 1", c.metric,
                *(f"{_number(s)} {e[:40]}".strip() for s, e in zip(c.scores, c.extracted, strict=True)),
            ]
            for c in self.changed_examples
        ]  # fmt: skip
        no_answer = ["no answer"] if has_no_answer else []
        tables: list[Table] = [
            (["run", "output", "model", *names, "rows scored", *no_answer, "truncated", "failed"], runs),
            (columns, rows),
        ]
        return [
            *tables,
            *([(["changed row", "difference", "score", "first", "other"], changes)] if changes else []),
        ]

    def _cells(self, v: RunDifference) -> dict[str, str]:
        d = v.difference
        return {
            "difference": f"{v.run} - 1", "score": v.metric, "first": f"{d.first:.4f}", "other": f"{d.second:.4f}",
            "value": f"{d.value:+.4f}", "SE": format_stderr(d.stderr), "95 % interval": str(d.interval or "N/A"),
            "p": format_p_value(d.p_value), HOLM: format_p_value(v.p_value_holm),
            "wins": str(d.wins), "losses": str(d.losses), "ties": str(d.ties),
            "SE unpaired": format_stderr(d.unpaired_stderr),
        }  # fmt: skip

    def warnings(self) -> list[str]:
        """Return sentences about interrupted runs and about questions that only one run has."""
        warnings = [f"{run.out}: {run.incomplete}" for run in self.runs if run.incomplete]
        for d in self.differences:
            if d.only_first or d.only_other:
                warnings.append(
                    f"{d.metric}: {d.difference.count:,} questions compared. "
                    f"{d.only_first:,} have a score only in run 1, {d.only_other:,} only in run {d.run}."
                )
        if any(run.uneven_samples for run in self.runs):
            warnings.append(
                "Some questions have fewer scored samples than others. Here each question counts once; the scores of a "
                "single run count each sample once, so they can differ a little."
            )
        return warnings

    def messages(self) -> list[str]:
        """Return the warnings, the settings that differ, and notes on the tests."""
        messages = self.warnings()
        messages += ["Different settings: " + sanitize_line(setting) for setting in self.setting_differences]
        tests = " or ".join(sorted({d.difference.test for d in self.differences}))
        messages.append(f"p: {tests}. The interval and SE are those of the paired differences.")
        if len(self.differences) > 1:
            messages.append(f"{HOLM}: adjusted for {len(self.differences)} tests.")
        if self.changed_count:
            file_note = (
                f"All changes are in {self.changes_out}."
                if self.changes_out
                else f"To write all changes to a file: {option('out', 'FILE')}."
            )
            messages.append(f"{self.changed_count:,} questions changed. {file_note}")
        return messages


def _number(value: float) -> str:
    return f"{value:g}" if value == int(value) else f"{value:.2f}"

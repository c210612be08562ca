"""Scores of one run in a comparison."""

import math
from array import array
from collections.abc import Iterable, Sequence

from manycall.comparison.comparison_result import ComparedRun
from manycall.errors import UsageError
from manycall.evals.eval_result import Score
from manycall.evals.rescore import task_of
from manycall.evals.row_grades import PROMPT_FIELDS, RowGrader, stored_grader, task_grader
from manycall.evals.stats.intervals import BINARY_SCALE
from manycall.evals.stats.mean import Mean
from manycall.evals.tasks.custom import find_scorer
from manycall.evals.tasks.task import Task
from manycall.judging.judge_result import label_values
from manycall.option_flags import option
from manycall.store.output_reader import OutputReader


def row_scorer(
    output: OutputReader, scorer: str | Task | None, metric: str | None, force: bool
) -> tuple[RowGrader, set[float]]:
    """Return the function that scores a row, and the possible scores: worst, best, any between; empty if unknown.

    Raises:
        UsageError: The output was scored by functions that are not available.
    """
    kind, _, _ = str(output.settings.get("job", "")).partition(" ")
    task, only_filter = find_scorer(scorer) if isinstance(scorer, str) else (scorer, "")
    if task is None and kind == "eval":
        try:
            task = task_of(output)
        except UsageError:
            if metric is None and not force:
                raise UsageError(
                    f"{output.path} was scored by a task file that is not stored with it. "
                    f"Pass {option('scorer', 'FILE.py:task')} to score the answers again, "
                    f"or {option('metric', 'NAME')} to use a score stored in the rows."
                ) from None
    if task is None or (scorer is None and metric is not None and metric not in task.filters):
        field = str(output.settings.get("output_field", "judge"))
        values = {value for value in label_values(output).values() if value is not None}
        fields = [field] if kind == "judge" else ["score", field]
        return stored_grader(fields, metric), values if metric in (None, field, f"{field}.score") else set()
    grade, selected = task_grader(output.path, task), metric or only_filter
    return lambda offset, row: {k: v for k, v in grade(offset, row).items() if selected in ("", k)}, set(BINARY_SCALE)


class RunScores:
    """Scores and row offsets of one run: about a hundred bytes per question, without its texts."""

    def __init__(self, output: OutputReader, grade: RowGrader, possible_scores: set[float]) -> None:
        self.output, self.grade, self.possible_scores = output, grade, possible_scores
        self.scores: dict[str, dict[str, array[float]]] = {}  # name -> question -> the score of each sample
        self.row_offsets: dict[str, int] = {}
        self.prompt_hashes: dict[str, tuple[int | None, ...]] = {}
        self.rows = self.truncated = 0
        for offset, row in output.rows():
            if "id" not in row:
                raise UsageError(
                    f"{output.path}, row at byte {offset:,}: the field 'id', by which rows are paired, is missing."
                )
            question, _ = output.split_sample_id(str(row["id"]))
            self.rows += 1
            self.truncated += row.get("finish_reason") == "length"
            self.row_offsets.setdefault(question, offset)
            self.prompt_hashes[question] = tuple(
                hash(repr(row[name])) if name in row else None for name in PROMPT_FIELDS
            )
            for name, (_, value) in grade(offset, row).items():
                self.scores.setdefault(name, {}).setdefault(question, array("d")).append(value)

    def summary(self, names: Iterable[str]) -> ComparedRun:
        """Return the scores and row counts of this run."""
        output = self.output
        task = str(output.settings.get("job", "?"))
        scale = (min(self.possible_scores), max(self.possible_scores)) if self.possible_scores else None
        scores = []
        for name in names:
            mean = Mean()
            for question in self.scores[name].values():
                mean.add(sample_mean(question))
            scores.append(Score(task, name, mean.value, mean.stderr, mean.count, mean.interval(scale)))
        model = str(output.settings.get("model", "?"))
        return ComparedRun(
            output.path, model, scores, self.rows, self.truncated, output.failed, output.incomplete_message(self.rows)
        )


def sample_mean(samples: Sequence[float]) -> float:
    """Return the mean of the samples of a question, which does not depend on their order."""
    return math.fsum(samples) / len(samples)

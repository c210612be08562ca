"""The ranking of the models of a folder of evaluations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from manycall.comparison.comparison_result import RunDifference
from manycall.evals.eval_result import Score, Table
from manycall.render import format_p_value, format_score, format_stderr, markdown_table
from manycall.run.result_views import RecordViews


class RankedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one task.

    Attributes:
        rank: 1 for the best score.
        score: the compared score of the model.
        difference: the paired difference to the best model; None for the best one.
        incomplete: a sentence if the run was interrupted, otherwise "".
    """

    task: str
    rank: int
    model: str
    out: Path
    score: Score
    difference: RunDifference | None
    incomplete: str


class Ranking(RecordViews, msgspec.Struct, frozen=True, kw_only=True):
    """The models of each task, the best first. `print` shows it as tables.

    Attributes:
        folder: the folder with the outputs.
        models: the models of the first task, then those of the next one.
        single: outputs of tasks that only one model has answered.
        without_rows: outputs without a scored row, which are left out.
        stored: tasks that are ranked by the scores stored in their rows, because their answers cannot be scored again.
        without_metric: tasks that are ranked by another score than `metric`, because not all their models have it.
    """

    folder: Path
    models: list[RankedModel]
    single: list[Path] = []
    without_rows: list[Path] = []
    stored: list[str] = []
    without_metric: list[str] = []

    def __str__(self) -> str:
        return "\n\n".join([*(markdown_table(*cells) for cells in self.tables()), *self.messages()])

    def _records(self) -> Iterator[dict[str, Any]]:
        for each in self.models:
            d = None if each.difference is None else each.difference
            yield {
                "task": each.task, "rank": each.rank, "model": each.model, "filter": each.score.filter,
                "score": each.score.value, "stderr": each.score.stderr,
                "difference": None if d is None else d.difference.value,
                "p_value_holm": None if d is None else d.p_value_holm, "out": str(each.out),
            }  # fmt: skip

    def tables(self) -> list[Table]:
        """Return the table of means over the tasks, if all models have one output of each, and that of the tasks."""
        return [*self._means(), self._ranks()]

    def _means(self) -> list[Table]:
        scores: dict[str, list[RankedModel]] = {}
        for each in self.models:
            scores.setdefault(each.model, []).append(each)
        tasks = {each.task for each in self.models}
        if len(tasks) < 2 or any(
            sorted(each.task for each in of_model) != sorted(tasks) for of_model in scores.values()
        ):
            return []
        means = {
            model: sum(scored_value(each.score) for each in of_model) / len(tasks) for model, of_model in scores.items()
        }
        rows = [
            [model, f"{means[model]:.4f}", f"{sum(each.rank for each in scores[model]) / len(tasks):.2f}"]
            for model in sorted(means, key=lambda model: -means[model])
        ]
        return [(["model", f"mean score of {len(tasks)} tasks", "mean rank"], rows)]

    def _ranks(self) -> Table:
        head = ["task", "score", "rank", "model", "value", "stderr", "to the best", "95 % interval", "p", "p (Holm)"]
        return [*head, "wins", "losses"], [_cells(each) for each in self.models]

    def warnings(self) -> list[str]:
        """Return a sentence for each run that was interrupted, and the runs that are left out."""
        warnings = [f"{each.out}: {each.incomplete}" for each in self.models if each.incomplete]
        if self.without_rows:
            warnings.append(f"Left out, because no row is scored: {', '.join(map(str, self.without_rows))}.")
        return warnings

    def messages(self) -> list[str]:
        """Return the warnings, and what the comparisons are based on."""
        messages = self.warnings()
        for each in self.models:
            d = each.difference
            if d is not None and (d.only_first or d.only_other):
                messages.append(
                    f"{each.task}, {each.model}: {d.difference.count:,} questions compared. {d.only_first:,} have a "
                    f"score only with the best model, {d.only_other:,} only with this one."
                )
        if self.single:
            messages.append(f"Not compared, because only one model has answered: {', '.join(map(str, self.single))}.")
        if self.stored:
            messages.append(
                f"Ranked by the scores stored in the rows, which are not computed again: {', '.join(self.stored)}."
            )
        if self.without_metric:
            tasks = ", ".join(self.without_metric)
            messages.append(f"Ranked by another score than the chosen one, which not all models have: {tasks}.")
        tests = sorted({each.difference.difference.test for each in self.models if each.difference is not None})
        messages.append(
            f"Each model is compared with the best one of its task on the questions that both have. p: "
            f"{' or '.join(tests)}. p (Holm) is adjusted for all comparisons of these tables."
        )
        return messages


def scored_value(score: Score) -> float:
    """Return the value of a score of a ranked model. It has one, because models without a scored row are left out."""
    assert score.value is not None
    return score.value


def _cells(ranked: RankedModel) -> list[str]:
    score, d = ranked.score, ranked.difference
    cells = [ranked.task, score.filter, str(ranked.rank), ranked.model, format_score(score.value)]
    cells.append(format_stderr(score.stderr))
    if d is None:
        return [*cells, "", "", "", "", "", ""]
    paired = d.difference
    return [
        *cells, f"{paired.value:+.4f}", str(paired.interval or "N/A"), format_p_value(paired.p_value),
        format_p_value(d.p_value_holm), str(paired.wins), str(paired.losses),
    ]  # fmt: skip

"""The scores of several tasks with several models, in one table."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from manycall.evals.eval_result import EvalResult, Score, Table
from manycall.option_flags import rerun
from manycall.render import format_money, format_score, format_share, format_stderr, markdown_table
from manycall.run.dry_run import DryRunResult
from manycall.run.result_views import RecordViews

NOT_SCORED = "-"


class SuiteRun(msgspec.Struct, frozen=True, kw_only=True):
    """One task with one model.

    Attributes:
        out: the output of the pair.
        samples: number of samples of each question.
        settings: parameters of the calls that matter for the score, as text by name.
        result: the scores; None if the run stopped.
        stopped: why the run stopped; "" if it did not.
    """

    task: str
    model: str
    out: Path
    samples: int
    settings: dict[str, str]
    result: EvalResult | None = None
    stopped: str = ""


class SuiteResult(RecordViews, msgspec.Struct, frozen=True, kw_only=True):
    """The scores of several tasks with several models. `print` shows them as tables.

    Attributes:
        folder: the folder with the outputs.
        runs: one for each pair, in the order of the models and then of the tasks.
    """

    folder: Path
    runs: list[SuiteRun]

    @property
    def failed(self) -> int:
        """Number of failed rows of all runs."""
        return sum(each.result.failed for each in self.runs if each.result is not None)

    @property
    def best_score(self) -> float:
        """The highest score of the run with the lowest one."""
        return min(0.0 if each.result is None else each.result.best_score for each in self.runs)

    @property
    def stopped(self) -> list[SuiteRun]:
        """The runs that stopped before all rows were done."""
        return [each for each in self.runs if each.stopped]

    def __str__(self) -> str:
        return "\n\n".join([*(markdown_table(*cells) for cells in self.tables()), *self.messages()])

    def _records(self) -> Iterator[dict[str, Any]]:
        for each in self.runs:
            for mean in _means(each.result) if each.result is not None else ():
                yield {
                    "task": each.task, "model": each.model, "filter": mean.filter, "score": mean.value,
                    "stderr": mean.stderr, "rows": mean.count, "out": str(each.out),
                }  # fmt: skip

    def tables(self) -> list[Table]:
        """Return the table of scores, one column for each model, and the table of the runs."""
        if any(each.result is not None and isinstance(each.result.run, DryRunResult) for each in self.runs):
            return [self._estimates()]
        return [self._score_table(), self._run_table()]

    def _estimates(self) -> Table:
        """Return the table of a dry run: what the calls of each run would take."""
        rows = []
        for each in self.runs:
            estimate = None if each.result is None else each.result.run
            if estimate is not None:
                tokens = estimate.prompt_tokens + estimate.completion_tokens
                cost = "unknown" if estimate.cost is None else format_money(estimate.cost, estimate.currency)
                rows.append([each.task, each.model, f"{estimate.calls:,}", f"{tokens:,}", cost, str(each.out)])
        return ["task", "model", "calls (estimate)", "tokens", "cost", "output"], rows

    def _score_table(self) -> Table:
        models = [*dict.fromkeys(each.model for each in self.runs)]
        cells: dict[tuple[str, str], dict[str, str]] = {}
        for each in self.runs:
            task = each.task if each.result is None else each.result.label
            for name, text in _score_cells(each):
                cells.setdefault((task, name), {})[each.model] = text
        rows = [
            [task, name, *(by_model.get(m, NOT_SCORED) for m in models)] for (task, name), by_model in cells.items()
        ]
        return ["task", "score", *models], rows

    def _run_table(self) -> Table:
        settings = [*dict.fromkeys(name for each in self.runs for name in each.settings)]
        rows = [
            [
                each.task, each.model, *_counts(each), str(each.samples),
                *(each.settings.get(name, "") for name in settings), *_usage(each), str(each.out),
            ]
            for each in self.runs
        ]  # fmt: skip
        counts = ("rows", "failed", "no answer", "truncated", "while thinking")
        return ["task", "model", *counts, "samples", *settings, "tokens per answer", "cost", "output"], rows

    def warnings(self) -> list[str]:
        """Return why runs stopped, and what limits the meaning of the scores of the others."""
        sentences = [f"{each.task} with {each.model}: {each.stopped}" for each in self.stopped]
        if sentences:
            sentences.append(f"{rerun().capitalize()} to finish the runs that stopped. Finished rows are kept.")
        return [*sentences, *self._by_sentence(lambda result: result.warnings())]

    def messages(self) -> list[str]:
        """Return the warnings and the notes of all runs."""
        return [*self.warnings(), *self._by_sentence(lambda result: result.messages()[len(result.warnings()) :])]

    def _by_sentence(self, sentences: Callable[[EvalResult], list[str]]) -> list[str]:
        """Return each sentence once, with the runs that it is about."""
        runs: dict[str, list[SuiteRun]] = {}
        for each in self.runs:
            for sentence in sentences(each.result) if each.result is not None else ():
                runs.setdefault(sentence, []).append(each)
        return [f"{_names(about)}: {sentence}" for sentence, about in runs.items()]


def _names(runs: Sequence[SuiteRun]) -> str:
    """Return the names of runs: the tasks with each model, and models with equal tasks together."""
    tasks: dict[str, list[str]] = {}
    for each in runs:
        tasks.setdefault(each.model, []).append(each.task)
    models: dict[str, list[str]] = {}
    for model, names in tasks.items():
        models.setdefault(", ".join(names), []).append(model)
    return "; ".join(f"{names} with {' and '.join(of_tasks)}" for names, of_tasks in models.items())


def _score_cells(run: SuiteRun) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each score, then those of the means of groups."""
    if run.result is None:
        yield "", "stopped"
        return
    for mean in _means(run.result):
        yield mean.filter, _score_cell(mean)
    for name, means in run.result.aggregates.items():
        for mean in means:
            yield f"{name}: {mean.filter}", _score_cell(mean)


def _score_cell(score: Score) -> str:
    return NOT_SCORED if score.value is None else f"{format_score(score.value)} {format_stderr(score.stderr)}"


def _means(result: EvalResult) -> Iterator[Score]:
    """Yield each score, with the standard error of its table cell; then pass@k and maj@k over all k samples."""
    for score in result.scores:
        stderr = score.stderr if score.clustered_stderr is None else score.clustered_stderr
        yield Score(score.task, score.filter, score.value, stderr, score.count)
        largest = max((int(each.name.partition("@")[2] or 0) for each in score.sample_metrics), default=0)
        for each in score.sample_metrics:
            if each.name in {f"pass@{largest}", f"maj@{largest}"}:
                yield Score(score.task, f"{score.filter} {each.name}", each.value, each.stderr, each.count)


def _counts(run: SuiteRun) -> list[str]:
    """Return the numbers of rows: scored, failed, without an answer, truncated, and ended while thinking."""
    if (result := run.result) is None:
        return [NOT_SCORED] * 5
    thinking = result.no_answer_counts.get("reasoning_only", 0)
    counts = (result.scored_rows, result.failed, result.no_answer, result.truncated)
    return [*map(str, counts), format_share(thinking, result.scored_rows) if thinking else "0"]


def _usage(run: SuiteRun) -> list[str]:
    """Return the mean length of an answer in tokens, and the cost of all sessions."""
    if run.result is None or (spent := run.result.run) is None:
        return [NOT_SCORED, NOT_SCORED]
    answers = run.result.scored_rows
    tokens = f"{spent.total_completion_tokens / answers:,.0f}" if answers and spent.total_completion_tokens else "-"
    return [tokens, NOT_SCORED if spent.total_cost is None else format_money(spent.total_cost, spent.currency)]

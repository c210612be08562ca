"""Rank the models of a folder of evaluations: each task's models by score, each compared with the best one."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from manycall.comparison.compare_runs import RunPair, require_same_questions
from manycall.comparison.protocol import require_same_protocol
from manycall.comparison.ranking_result import RankedModel, Ranking, scored_value
from manycall.comparison.run_scores import RunScores, row_scorer
from manycall.errors import UsageError
from manycall.evals.no_answer import NoAnswer
from manycall.evals.stats.paired_tests import holm_adjust
from manycall.option_flags import option
from manycall.records import NO_ANSWER_KINDS
from manycall.store.output_reader import OutputReader
from manycall.store.paths import run_folder_path

EVALUATION = "eval "
"""How the name of an evaluation's job begins."""


def rank_models(
    folder: str | Path,
    *,
    metric: str | None = None,
    allow_different: str | Collection[str] = (),
    no_answer: NoAnswer = "wrong",
    force: bool = False,
) -> Ranking:
    """Rank the models whose evaluations are in a folder, for example one of `evaluate_all`.

    Built-in tasks score the answers again. For the user's own tasks, the scores stored in the rows are used.

    Args:
        folder: is searched for outputs of `evaluate`, at any depth.
        metric: the score to compare in the tasks whose models all have it. Default, and in other tasks: the last score
            that all models of the task have.
        allow_different, no_answer, force: see `compare`.

    Raises:
        UsageError: no task was answered by two models, their settings or questions differ, or no task has the `metric`.
    """
    by_task: dict[str, list[OutputReader]] = {}
    without_rows: list[Path] = []
    for path in find_evaluations(Path(folder)):
        reader = OutputReader(path)
        if not _has_scores(reader, no_answer):
            without_rows.append(path)
            continue
        by_task.setdefault(str(reader.settings["job"]).removeprefix(EVALUATION), []).append(reader)
    compared = {task: readers for task, readers in by_task.items() if len(readers) > 1}
    if not compared:
        raise UsageError(f"{folder} has no task with the outputs of two models.")
    ranked: list[RankedModel] = []
    stored: list[str] = []
    without_metric: list[str] = []
    for task, readers in compared.items():
        if not force:
            allowed = [allow_different] if isinstance(allow_different, str) else allow_different
            for reader in readers[1:]:
                require_same_protocol(readers[0], reader, allowed)
        runs = _load(readers, metric, no_answer)
        if metric is not None and metric not in _common_scores(runs):
            without_metric.append(task)
            runs = _load(readers, None, no_answer)
        ranked += _rank_task(task, runs, metric, force)
        if any(run.is_stored for run in runs):
            stored.append(task)
    if len(without_metric) == len(compared):
        raise UsageError(f"No task has the score {metric!r} ({option('metric')}) for all its models.")
    return Ranking(
        folder=Path(folder),
        models=_with_holm(ranked),
        single=[readers[0].path for readers in by_task.values() if len(readers) == 1],
        without_rows=without_rows,
        stored=stored,
        without_metric=without_metric,
    )


def _load(readers: Sequence[OutputReader], metric: str | None, no_answer: NoAnswer) -> list[RunScores]:
    """Return the scores of the runs of one task, as stored in the rows if the task is not available."""
    return [RunScores(reader, row_scorer(reader, None, metric, force=True), no_answer) for reader in readers]


def _common_scores(runs: Sequence[RunScores]) -> list[str]:
    """Return the names of the scores that all runs have."""
    return [name for name in runs[0].scores if all(name in other.scores for other in runs)]


def _has_scores(output: OutputReader, no_answer: NoAnswer) -> bool:
    """Return whether any row of an output is scored. None is if the run stopped before its first answer."""
    has_rows = next(output.row_offsets(), None) is not None
    return has_rows or (no_answer == "wrong" and any(kind in NO_ANSWER_KINDS for kind in output.failure_counts))


def find_evaluations(folder: Path) -> list[Path]:
    """Return the outputs of evaluations in a folder, at any depth, by name.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.")
    outputs = (path for path in sorted(folder.rglob("*.jsonl")) if run_folder_path(path).is_dir())
    return [path for path in outputs if str(OutputReader(path).settings.get("job", "")).startswith(EVALUATION)]


def _rank_task(task: str, runs: Sequence[RunScores], metric: str | None, force: bool) -> Iterator[RankedModel]:
    """Yield the models of a task, the best first, each compared with the best one."""
    common = _common_scores(runs)
    if not common:
        raise UsageError(f"{task}: the models have no score in common. Choose one with {option('metric')}.")
    name = metric if metric in common else common[-1]
    summaries = [(run.summary([name]), run) for run in runs]
    summaries.sort(key=lambda each: -scored_value(each[0].scores[0]))
    best = summaries[0][1]
    values = [scored_value(each.scores[0]) for each, _ in summaries]
    for summary, run in summaries:
        rank, difference = 1 + values.index(scored_value(summary.scores[0])), None
        if run is not best:
            require_same_questions(best, run, force)
            difference = RunPair(rank, best, run, name).difference()
        yield RankedModel(
            task=task, rank=rank, model=summary.model, out=summary.out, score=summary.scores[0],
            difference=difference, incomplete=summary.incomplete,
        )  # fmt: skip


def _with_holm(models: Sequence[RankedModel]) -> list[RankedModel]:
    """Return the models with p-values that are adjusted for all comparisons."""
    adjusted = iter(holm_adjust([each.difference.difference.p_value for each in models if each.difference is not None]))
    return [
        each
        if each.difference is None
        else replace(each, difference=replace(each.difference, p_value_holm=next(adjusted)))
        for each in models
    ]

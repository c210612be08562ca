"""Scores of one run in a comparison."""

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from manycall.comparison.comparison_result import ComparedRun
from manycall.errors import UsageError
from manycall.evals.eval_result import Score
from manycall.evals.no_answer import NoAnswer, UnansweredRows, no_answer_grades
from manycall.evals.rescore import task_of, task_remedy
from manycall.evals.row_grades import PROMPT_FIELDS, RowGrader, RowGrades, stored_grader, task_grader
from manycall.evals.stats.group_means import WeightedMean
from manycall.evals.stats.intervals import BINARY_SCALE, Scale
from manycall.evals.stats.mean import Mean
from manycall.evals.stats.repeated_samples import ScoredSample, vote_score
from manycall.evals.tasks.custom import find_scorer
from manycall.evals.tasks.task import Task
from manycall.judging.judge_result import label_values
from manycall.option_flags import option
from manycall.records import Fields
from manycall.store.output_reader import OutputReader

RESPONSE_FIELDS = ("response", "text")
"""Fields of an output with the response, the first of them that a row has."""


class RowScorer(NamedTuple):
    """How the rows of a run are scored.

    Attributes:
        grade: scores a row.
        possible_scores: worst, best, any between; empty if unknown.
        answer_scores: names of the scores in which a row without an answer can count as wrong.
        votes: numbers of samples k by name. Each score is that of the majority answer among the first k samples of a
            question; with k = 1, that of the first sample. Empty: the score is the mean of all samples.
        weigh: returns the weights of a row, by the names of the scores that have weights.
        is_stored: the scores are those stored in the rows.
    """

    grade: RowGrader
    possible_scores: set[float]
    answer_scores: tuple[str, ...]
    weigh: Callable[[Fields], Mapping[str, float]] = lambda row: {}
    votes: Mapping[str, int] = {}
    is_stored: bool = False


def row_scorer(output: OutputReader, scorer: str | Task | None, metric: str | None, force: bool) -> RowScorer:
    """Return how the rows of a run are scored.

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
                    f"{output.path} was scored by a task that is not stored with it. {task_remedy()} It scores the "
                    f"answers again. To use a score stored in the rows: {option('metric', 'NAME')}."
                ) from None
    if task is None or (scorer is None and metric is not None and metric not in {*task.filters, *task.votes}):
        field = str(output.settings.get("output_field", "judge"))
        values = {value for value in label_values(output).values() if value is not None}
        fields = [field] if kind == "judge" else ["score", field]
        possible = values if metric in (None, field, f"{field}.score") else set()
        return RowScorer(stored_grader(fields, metric), possible, _stored_names(output, metric), is_stored=True)
    grade, selected = task_grader(output, task), metric or only_filter
    votes = {**dict.fromkeys(task.filters, 1), **task.votes} if task.votes and output.has_samples else {}
    votes = {name: k for name, k in votes.items() if selected in ("", name)}
    names = tuple(name for name in task.filters if selected in ("", name) or {*votes} & {*task.votes})
    return RowScorer(
        lambda offset, row: {k: v for k, v in grade(offset, row).items() if k in names}, set(BINARY_SCALE), names,
        task.weights, votes,
    )  # fmt: skip


def _stored_names(output: OutputReader, metric: str | None) -> tuple[str, ...]:
    """Return the names of the scores of an evaluation, from its first row; nothing for the verdicts of a judge."""
    _, row = next(output.rows(), (0, {}))
    stored = row.get("score") if str(output.settings.get("job", "")).startswith("eval ") else None
    return tuple(name for name in stored if metric in (None, name)) if isinstance(stored, dict) else ()


class RunScores:
    """Scores and row offsets of one run: about a hundred bytes per question, without its texts."""

    def __init__(self, output: OutputReader, scorer: RowScorer, no_answer: NoAnswer) -> None:
        self.output, self.grade, self.possible_scores = output, scorer.grade, scorer.possible_scores
        self.is_stored = scorer.is_stored
        self.unanswered = UnansweredRows(output, no_answer if scorer.answer_scores else "exclude")
        self.scores: dict[str, dict[str, array[float]]] = {}  # name -> question -> the score of each sample
        self.weights: dict[str, dict[str, float]] = {}  # name -> question -> weight, of the scores that have weights
        self._weigh, self._votes = scorer.weigh, scorer.votes
        self._samples: dict[str, dict[str, list[ScoredSample]]] = {}  # the same with hashes of the answers, for votes
        self._row_offsets: dict[str, int] = {}
        self._unanswered_fields: dict[str, Fields] = {}
        self.prompt_hashes: dict[str, tuple[int, tuple[int | None, ...]]] = {}  # question -> its first sample's number
        self.rows = self.truncated = 0
        for offset, row in output.rows():
            if "id" not in row:
                raise UsageError(
                    f"{output.path}, row at byte {offset:,}: the field 'id', by which rows are paired, is missing."
                )
            self.unanswered.discard(str(row["id"]))
            question, number = output.split_sample_id(str(row["id"]))
            self.rows += 1
            self.truncated += row.get("finish_reason") == "length"
            self._row_offsets.setdefault(question, offset)
            self._add(question, number, row, self.grade(offset, row))
        for row_id, failed in self.unanswered.items():
            question, number = output.split_sample_id(row_id)
            self._unanswered_fields.setdefault(question, failed.fields)
            self._add(question, number, failed.fields, no_answer_grades(scorer.answer_scores))
        if scorer.votes:
            self.scores = _vote_scores(self._samples, scorer.votes)

    def _add(self, question: str, number: int, row: Mapping[str, Any], grades: RowGrades) -> None:
        if question not in self.prompt_hashes or number < self.prompt_hashes[question][0]:
            hashes = tuple(hash(repr(row[name])) if name in row else None for name in PROMPT_FIELDS)
            self.prompt_hashes[question] = number, hashes
        for name, (answer, value) in grades.items():
            if self._votes:
                sample = ScoredSample(number, hash(str(answer)), value)
                self._samples.setdefault(name, {}).setdefault(question, []).append(sample)
                continue
            self.scores.setdefault(name, {}).setdefault(question, array("d")).append(value)
        for name, weight in self._weigh(dict(row)).items():
            if name in grades:
                self.weights.setdefault(name, {})[question] = weight

    def first_row(self, question: str) -> tuple[Mapping[str, Any], RowGrades]:
        """Return the first row of a question that was written, and its grades; the row's own fields if none was.

        These have no response: a field of the input with such a name is left out.
        """
        if (offset := self._row_offsets.get(question)) is None:
            fields = self._unanswered_fields[question]
            return {name: value for name, value in fields.items() if name not in RESPONSE_FIELDS}, {}
        row = next(self.output.read_at([offset]))
        return row, self.grade(offset, row)

    def summary(self, names: Iterable[str]) -> ComparedRun:
        """Return the scores and row counts of this run."""
        output = self.output
        task = str(output.settings.get("job", "?"))
        scale = (min(self.possible_scores), max(self.possible_scores)) if self.possible_scores else None
        scores = [self._score(task, name, scale) for name in names]
        model = str(output.settings.get("model", "?"))
        return ComparedRun(
            out=output.path,
            model=model,
            scores=scores,
            rows=self.rows + len(self.unanswered),
            no_answer=len(self.unanswered),
            truncated=self.truncated,
            failed=self.unanswered.failed,
            incomplete=output.incomplete_message(self.rows),
            uneven_samples=any(len(set(map(len, by_question.values()))) > 1 for by_question in self.scores.values()),
        )

    def _score(self, task: str, name: str, scale: Scale | None) -> Score:
        mean, weighted = Mean(), WeightedMean()
        for question, samples in self.scores[name].items():
            mean.add(sample_mean(samples))
            weighted.add(sample_mean(samples), self.weights.get(name, {}).get(question, 1.0))
        if name in self.weights:
            return Score(task, name, weighted.value, None, mean.count)
        return Score(task, name, mean.value, mean.stderr, mean.count, mean.interval(scale))


def _vote_scores(
    samples: Mapping[str, Mapping[str, Sequence[ScoredSample]]], votes: Mapping[str, int]
) -> "dict[str, dict[str, array[float]]]":
    """Return the scores of the votes that `score` reports: name -> question -> one score."""
    scores: dict[str, dict[str, array[float]]] = {}
    for name, by_question in samples.items():
        for title, k in votes.items():
            if title in samples and title != name:
                continue  # the first sample, scored by another filter
            for question, of_question in by_question.items():
                if (value := vote_score(of_question, k)) is not None:
                    scores.setdefault(title, {})[question] = array("d", [value])
    return scores


def sample_mean(samples: Sequence[float]) -> float:
    """Return the mean of the samples of a question, which does not depend on their order."""
    return math.fsum(samples) / len(samples)

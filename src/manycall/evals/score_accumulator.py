"""Accumulate the scores of rows, overall and by group.

Memory grows with the number of distinct scores and, if questions have several samples, with the number of answers.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.eval_result import MeanEstimate, Score
from manycall.evals.stats.intervals import BINARY_SCALE, Scale, bounded_interval, clustered_stderr, worst_case_bounds
from manycall.evals.stats.mean import Mean
from manycall.evals.stats.repeated_samples import SampleMetric, ScoredSample, majority_score, sample_metrics
from manycall.render import as_text
from manycall.store.output_reader import OutputReader


class ScoreAccumulator:
    """Scores of one output for one task.

    Args:
        filters: names of the filters to score.
        output: the output, which knows which rows are samples of one question and how many rows failed.
        scale: the worst and the best possible score.
    """

    def __init__(self, task: str, filters: Iterable[str], output: OutputReader, scale: Scale = BINARY_SCALE) -> None:
        self._task, self._output, self._scale = task, output, scale
        self._means = {name: Mean() for name in filters}
        self._samples: dict[str, dict[str, list[ScoredSample]]] = {name: defaultdict(list) for name in self._means}

    def add(self, row_id: str, grades: Mapping[str, tuple[Any, float]]) -> None:
        """Add a row. `grades` holds (extracted answer, score) by filter name."""
        question, number = self._output.split_sample_id(row_id)
        for name, mean in self._means.items():
            answer, score = grades[name]
            mean.add(score)
            if self._output.has_samples:
                self._samples[name][question].append(ScoredSample(number, str(answer), score))

    def scores(self, votes: Mapping[str, int] | None = None) -> list[Score]:
        """Return one score per filter, or the scores of majority votes.

        Args:
            votes: number of samples k by name of the vote. The score of the filter is then that of the first sample
                of each question. One score per vote follows: the majority answer of the first k samples, over the
                questions with at least k samples.
        """
        if not votes or not self._output.has_samples:
            return [self._score(name, mean) for name, mean in self._means.items()]
        return [
            self._vote(title, name, k)
            for name in self._means
            for title, k in {name: 1, **votes}.items()
            if k <= max(map(len, self._samples[name].values()), default=0)
        ]

    def _vote(self, title: str, name: str, k: int) -> Score:
        mean = Mean()
        for samples in self._samples[name].values():
            first = sorted(sample for sample in samples if sample.number < k)
            if len(first) == k:
                mean.add(majority_score(first))
        return Score(self._task, title, mean.value, mean.stderr, mean.count, mean.interval(self._scale))

    def _score(self, name: str, mean: Mean) -> Score:
        clustered, interval, metrics = None, mean.interval(self._scale), list[SampleMetric]()
        if questions := self._samples[name].values():
            clustered = clustered_stderr((len(samples), math.fsum(s.score for s in samples)) for samples in questions)
            interval = bounded_interval(mean.value, clustered, len(questions), self._scale)
            metrics = sample_metrics(questions)
        return Score(
            self._task, name, mean.value, mean.stderr, mean.count, interval, clustered,
            worst_case_bounds(mean.value * mean.count, mean.count, self._output.failed, *self._scale), metrics,
            self._failed_as_wrong(mean),
        )  # fmt: skip

    def _failed_as_wrong(self, answered: Mean) -> MeanEstimate | None:
        """Return the mean with failed rows counted as wrong, as lm-eval does: it scores an empty text for each.

        None if no row failed, or if questions have several samples: lm-eval scores only the first sample.
        """
        if not self._output.failed or self._output.has_samples:
            return None
        mean = Mean()
        mean.add(0.0, self._output.failed)
        mean.merge(answered)
        return MeanEstimate(mean.value, mean.stderr, mean.count)


class GroupedScores:
    """Scores grouped by the value of a field.

    Args:
        group_by: name of the field; None: no groups.
        new_accumulator: creates an empty `ScoreAccumulator`.
    """

    def __init__(self, group_by: str | None, new_accumulator: Callable[[], ScoreAccumulator]) -> None:
        self._group_by = group_by
        self._accumulators: defaultdict[str, ScoreAccumulator] = defaultdict(new_accumulator)

    def add(self, row: Mapping[str, Any], grades: Mapping[str, tuple[Any, float]]) -> None:
        """Add a row. `grades` holds (extracted answer, score) by filter name.

        Raises:
            UsageError: the row does not have the field.
        """
        if self._group_by is None:
            return
        if self._group_by not in row:
            raise UsageError(
                f"Row {row.get('id')!r:.100} has no field {self._group_by!r}. Its fields: {', '.join(row)}."
            )
        self._accumulators[as_text(row[self._group_by])].add(str(row.get("id", "")), grades)

    def scores(self, votes: Mapping[str, int]) -> Iterator[tuple[str, list[Score]]]:
        """Yield (value of the field, its scores), sorted by value.

        The scores have no bounds, because the group of a failed row is not known.
        """
        for name, accumulator in sorted(self._accumulators.items()):
            yield name, [replace(score, worst_case=None, failed_as_wrong=None) for score in accumulator.scores(votes)]

"""Accumulate the scores of rows over an output.

Memory: one counter per distinct score; for a filter with weights, a number for each row. If questions have several
samples, also every sample's score and the hash of its answer: majority votes and pass@k need all samples of a question
together.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from manycall.evals.eval_result import MeanEstimate, Score
from manycall.evals.stats.group_means import WeightedMean
from manycall.evals.stats.intervals import BINARY_SCALE, Scale, bounded_interval, clustered_stderr, worst_case_bounds
from manycall.evals.stats.mean import Mean
from manycall.evals.stats.repeated_samples import SampleMetric, ScoredSample, sample_metrics, vote_score
from manycall.store.output_reader import OutputReader


class ScoreAccumulator:
    """The scores of one output, one per filter.

    A filter is a way to extract the answer from a response. A task may have several, and each has its own score.

    Args:
        task: name of the task, for the result.
        filters: names of the filters.
        output: the reader of the output. It knows which rows are samples of one question.
        failed: number of failed rows that are not scored.
        scale: the worst and the best possible score of a row.
    """

    def __init__(
        self, task: str, filters: Iterable[str], output: OutputReader, failed: int, scale: Scale = BINARY_SCALE
    ) -> None:
        self._task, self._output, self._failed, self._scale = task, output, failed, scale
        self._means = {name: Mean() for name in filters}
        self._weighted: dict[str, WeightedMean] = {}
        self._samples: dict[str, dict[str, list[ScoredSample]]] = {name: defaultdict(list) for name in self._means}

    def add(
        self, row_id: str, grades: Mapping[str, tuple[Any, float]], weights: Mapping[str, float] | None = None
    ) -> None:
        """Add a row.

        Args:
            grades: (extracted answer, score) by filter name.
            weights: weight of the row by name, for the filters that have weights.
        """
        question, number = self._output.split_sample_id(row_id)
        for name, weight in (weights or {}).items():
            self._weighted.setdefault(name, WeightedMean()).add(grades[name][1], weight)
        for name, mean in self._means.items():
            answer, score = grades[name]
            mean.add(score)
            if self._output.has_samples:
                self._samples[name][question].append(ScoredSample(number, hash(str(answer)), score))

    def scores(self, votes: Mapping[str, int] | None = None) -> list[Score]:
        """Return the scores: one per filter, or with `votes` several per filter.

        Args:
            votes: majority votes, as a number of samples k by name, for example {"maj@8": 8}. They are ignored if
                questions have only one sample. Otherwise the first score of a filter is that of each question's first
                sample. Then one score per vote follows, for the most frequent answer among the first k samples, over
                the questions with at least k samples.
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
        """Return the score of the majority answers of one filter among the first k samples."""
        mean = Mean()
        for samples in self._samples[name].values():
            if (score := vote_score(samples, k)) is not None:
                mean.add(score)
        value = mean.value if mean.count else None
        return Score(self._task, title, value, mean.stderr, mean.count, mean.interval(self._scale))

    def _score(self, name: str, mean: Mean) -> Score:
        """Return the score of one filter over all rows."""
        if (weighted := self._weighted.get(name)) is not None:
            return Score(self._task, name, weighted.value if mean.count else None, None, mean.count)
        clustered, interval, metrics = None, mean.interval(self._scale), list[SampleMetric]()
        questions = self._samples[name].values()
        if any(len(samples) > 1 for samples in questions):
            clustered = clustered_stderr((len(samples), math.fsum(s.score for s in samples)) for samples in questions)
            interval = bounded_interval(mean.value, clustered, len(questions), self._scale)
            metrics = sample_metrics(questions)
        return Score(
            self._task, name, mean.value if mean.count else None, mean.stderr, mean.count, interval, clustered,
            worst_case_bounds(mean.value * mean.count, mean.count, self._failed, *self._scale), metrics,
            self._failed_as_wrong(mean),
        )  # fmt: skip

    def _failed_as_wrong(self, answered: Mean) -> MeanEstimate | None:
        """Return the mean with failed rows counted as wrong. This is lm-eval's score: it scores an empty text for them.

        None if no row failed, or if questions have several samples, of which lm-eval scores only the first.
        """
        if not self._failed or self._output.has_samples:
            return None
        mean = Mean()
        mean.add(0.0, self._failed)
        mean.merge(answered)
        return MeanEstimate(mean.value, mean.stderr, mean.count)

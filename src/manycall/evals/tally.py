"""Rows in, scores out: everything that is said of a filter, gathered while the rows go by.

Held are the few different numbers that a score can be; and, where questions were asked several times, their answers.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from manycall.evals.metrics import Mean
from manycall.evals.report import Counted, Score
from manycall.evals.stats.intervals import RIGHT_OR_WRONG, Scale, bounds, clustered_stderr, on_scale
from manycall.evals.stats.repeats import Repeated, Sample, majority, repeated
from manycall.store.output import Output


class Tally:
    """The scores of one output, under one task.

    Args:
        filters: those to be scored.
        output: tells which rows are samples of one question.
        scale: the worst score and the best.
    """

    def __init__(self, task: str, filters: Iterable[str], output: Output, scale: Scale = RIGHT_OR_WRONG) -> None:
        self._task, self._output, self._scale = task, output, scale
        self._means = {name: Mean() for name in filters}
        self._samples: dict[str, dict[str, list[Sample]]] = {name: defaultdict(list) for name in self._means}

    def add(self, row_id: str, found: Mapping[str, tuple[Any, float]]) -> None:
        """Take in what the filters found in one row: name -> (answer, score)."""
        question, number = self._output.split(row_id)
        for name, mean in self._means.items():
            answer, score = found[name]
            mean.add(score)
            if self._output.sampled:
                self._samples[name][question].append(Sample(number, str(answer), score))

    def scores(self, votes: Mapping[str, int] | None = None) -> list[Score]:
        """One for each filter; if there are votes (name -> k), the filter's is that of the first sample of each
        question, and one for each vote follows: of the first k samples, of the questions that have so many."""
        if not votes or not self._output.sampled:
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
                mean.add(majority(first))
        return Score(self._task, title, mean.value, mean.stderr, mean.count, mean.interval(self._scale))

    def _score(self, name: str, mean: Mean) -> Score:
        clustered, interval, over = None, mean.interval(self._scale), list[Repeated]()
        if questions := self._samples[name].values():
            clustered = clustered_stderr((len(samples), math.fsum(s.score for s in samples)) for samples in questions)
            interval = on_scale(mean.value, clustered, len(questions), self._scale)
            over = repeated(questions)
        return Score(
            self._task, name, mean.value, mean.stderr, mean.count, interval, clustered,
            bounds(mean.value * mean.count, mean.count, self._output.failed, *self._scale), over,
            self._as_lm_eval(mean),
        )  # fmt: skip

    def _as_lm_eval(self, answered: Mean) -> Counted | None:
        """With the rows that failed as wrong ones, which lm-eval makes of them: it reads an empty text from each.
        Of several samples it scores the first alone, which is another number."""
        if not self._output.failed or self._output.sampled:
            return None
        mean = Mean()
        mean.add(0.0, self._output.failed)
        mean.take(answered)
        return Counted(mean.value, mean.stderr, mean.count)

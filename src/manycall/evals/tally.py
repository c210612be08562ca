"""Rows in, scores out: everything that is said of a filter, gathered while the rows go by.

Held are the few different numbers that a score can be; and, where questions were asked several times, their answers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from manycall.evals.metrics import Mean
from manycall.evals.outputs import Output
from manycall.evals.report import Score
from manycall.evals.stats.intervals import bounds, clustered_stderr, normal
from manycall.evals.stats.repeats import Repeated, Sample, repeated


class Tally:
    """The scores of one output, under one task.

    Args:
        filters: those to be scored.
        output: tells which rows are samples of one question.
        scale: the worst score and the best.
    """

    def __init__(
        self, task: str, filters: Iterable[str], output: Output, scale: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        self._task, self._output, self._scale = task, output, scale
        self._means = {name: Mean() for name in filters}
        self._samples: dict[str, dict[str, list[Sample]]] = {name: defaultdict(list) for name in self._means}

    def add(self, row_id: str, found: Mapping[str, tuple[str, float]]) -> None:
        """Take in what the filters found in one row: name -> (answer, score)."""
        question, number = self._output.split(row_id)
        for name, mean in self._means.items():
            answer, score = found[name]
            mean.add(score)
            if self._output.sampled:
                self._samples[name][question].append(Sample(number, answer, score))

    def scores(self) -> list[Score]:
        """One for each filter."""
        return [self._score(name, mean) for name, mean in self._means.items()]

    def _score(self, name: str, mean: Mean) -> Score:
        clustered, interval, over = None, mean.interval, list[Repeated]()
        if questions := self._samples[name].values():
            clustered = clustered_stderr((len(samples), sum(s.score for s in samples)) for samples in questions)
            interval = None if clustered is None else normal(mean.value, clustered)
            over = repeated(questions)
        return Score(
            self._task, name, mean.value, mean.stderr, mean.count, interval, clustered,
            bounds(mean.value * mean.count, mean.count, self._output.failed, *self._scale), over,
        )  # fmt: skip

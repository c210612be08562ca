"""Choose the next row: in a short run, the one that probably has the longest answer.

In a short run, one long answer that started last delays the end of the run. Therefore long answers should start first.
List scheduling takes at most twice the optimal time, and with the longest job first at most 4/3 of it (R. L. Graham,
SIAM J. Appl. Math., 1969). The difference matters only while there are few rows per call in flight.

The length of an answer is predicted. The best prediction is the mean length of the answers to other samples of the same
input row. Therefore the first samples of all input rows go first. Without an answer to another sample, the size of the
row is the prediction, if the first answers show that it is correlated with the length of the answer.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from manycall.control.regression import RunningMoments
from manycall.records import Row

MIN_ANSWERS, MAX_ANSWERS = 30, 1000
"""Number of answers needed to compute the correlation, and the number after which it is no longer updated."""
CORRELATION = 0.3
"""Minimum absolute correlation between the size of a row and the length of its answer."""
MAX_ROWS_PER_CALL = 50
"""If more rows per call in flight remain, the order hardly affects the duration of the run, so it is not changed."""
MIN_ROWS_PER_SORT, SORTS_PER_READ_AHEAD = 16, 16
"""The rows are sorted again after 16 rows, or after a sixteenth of the rows that were read ahead, if that is more."""
MAX_ROWS, MAX_CHARACTERS = 4000, 16_000_000
"""Number of rows that are read ahead, from which the next one is chosen, and the number of characters in them. The last
few rows per call decide when the run ends. With 256 calls in flight, 1,000 rows are too few by 10 %."""
MAX_CACHED_CHARACTERS = 400_000
"""Characters of the input rows whose samples may alternate. A self-hosted server keeps about 100,000 tokens in its
prefix cache. If the rows are longer, the samples of a row go consecutively, so that its prompt is cached."""


class WaitingSamples:
    """The samples of one input row that have not started yet, except the first one.

    Attributes:
        count: number of samples.
        characters: size of the input row.
        answers: number of answers to other samples of the row.
        tokens: number of tokens in these answers.
    """

    __slots__ = ("answers", "characters", "count", "tokens")

    def __init__(self, characters: int) -> None:
        self.characters = characters
        self.count = self.answers = 0
        self.tokens = 0.0

    def change_count(self, change: int) -> int:
        """Add a number to the number of samples, and return the new number."""
        self.count += change
        return self.count

    def learn(self, tokens: float) -> None:
        """Record the number of tokens in the answer to another sample."""
        self.answers += 1
        self.tokens += tokens

    @property
    def expected_tokens(self) -> float:
        """The expected length of an answer; inf before the first answer, so that an answer arrives soon."""
        return self.tokens / self.answers if self.answers else math.inf


class RowOrder:
    """The rows that were read ahead."""

    def __init__(self) -> None:
        self._rows: deque[tuple[int, Row]] = deque()  # the number of characters in a row, and the row
        self._characters = 0
        self._samples: dict[int, WaitingSamples] = {}
        self._sampled_characters = 0
        self._until_sort = 0
        self._learned = RunningMoments()

    def __repr__(self) -> str:
        return f"<RowOrder: {len(self)} rows, {len(self._samples)} with samples, correlation {self._correlation:.2f}>"

    def __len__(self) -> int:
        return len(self._rows)

    def is_filled(self, share: float) -> bool:
        """Return whether this share of the rows that should be read ahead was read. With 1, no more should be read."""
        return len(self._rows) >= share * MAX_ROWS or self._characters >= share * MAX_CHARACTERS

    def add(self, row: Row) -> None:
        """Add a row that was read."""
        characters = row_size(row)
        self._rows.append((characters, row))
        self._characters += characters
        if row.sample:
            if row.index not in self._samples:
                self._samples[row.index] = WaitingSamples(characters)
                self._sampled_characters += characters
            self._samples[row.index].change_count(1)

    def pop(self, rows_per_call: Callable[[], float]) -> Row | None:
        """Remove and return the next row: in input order, or the longest first if few remain; None if none is left.

        Args:
            rows_per_call: returns the number of remaining rows per call in flight; it is called occasionally.
        """
        if not self._rows:
            return None
        if self._until_sort <= 0:
            is_sorted = rows_per_call() < MAX_ROWS_PER_CALL and self._sort()
            self._until_sort = max(MIN_ROWS_PER_SORT, is_sorted * len(self._rows) // SORTS_PER_READ_AHEAD)
        self._until_sort -= 1
        characters, row = self._rows.popleft()
        self._characters -= characters
        if row.sample and not self._samples[row.index].change_count(-1):
            self._sampled_characters -= self._samples.pop(row.index).characters
        return row

    def learn(self, row: Row, tokens: float) -> None:
        """Record the number of tokens in the answer to a row."""
        if self._learned.count < MAX_ANSWERS:
            self._learned.add(row_size(row), tokens)
        if row.index in self._samples:
            self._samples[row.index].learn(tokens)

    def _sort(self) -> bool:
        """Sort the rows by expected length, if anything is known of it. Return whether it is."""
        correlation = self._correlation
        sign = 0 if abs(correlation) < CORRELATION else math.copysign(1, correlation)
        samples = self._samples if self._sampled_characters <= MAX_CACHED_CHARACTERS else {}

        def rank(sized_row: tuple[int, Row]) -> tuple[float, int, float]:
            characters, row = sized_row
            waiting = samples.get(row.index)
            expected = math.inf if waiting is None else waiting.expected_tokens
            return -expected, row.sample if samples else 0, -sign * characters if sign else 0.0

        if not samples and not sign:
            return False
        self._rows = deque(sorted(self._rows, key=rank))
        return True

    @property
    def _correlation(self) -> float:
        """The correlation between the size of a row and the length of its answer; 0 if it is unknown."""
        _, _, sizes, answers, covariance = self._learned.summary()
        if self._learned.count < MIN_ANSWERS or sizes * answers <= 0:
            return 0.0
        return covariance / math.sqrt(sizes * answers)


def row_size(row: Row) -> int:
    """Return the number of text characters in a row."""
    size = 0
    for value in row.fields.values():
        size += len(value) if isinstance(value, str) else _characters(value)
    return size


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list | tuple) else 0

"""Choose the next row: the longest first, if long rows have long answers.

In a short run, one long answer that started last delays the end of the run. Therefore long answers should start first.
List scheduling takes at most twice the optimal time, and with the longest job first at most 4/3 of it (R. L. Graham,
SIAM J. Appl. Math., 1969). The difference matters only while there are few rows per call in flight. The length of an
answer is not known in advance, but long rows often have long answers. The first answers show whether this is the case.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from manycall.control.regression import RunningMoments

T = TypeVar("T")

MIN_SAMPLES, MAX_SAMPLES = 30, 1000
"""Number of answers needed to compute the correlation, and the number after which it is no longer updated."""
CHECK_EVERY_ROWS = 16
"""Number of rows between two checks whether the longest row should go first."""
CORRELATION = 0.3
"""Minimum correlation between the size of a row and the length of its answer."""
MAX_ROWS_PER_CALL = 50
"""If more rows per call in flight remain, the order hardly affects the duration of the run, so it is not changed."""
READ_AHEAD_ROWS = 1000
"""Number of rows that are read ahead, from which the next one is chosen."""


class RowOrder(Generic[T]):
    """The rows that were read ahead.

    Args:
        size: returns the size of a row, in any unit.
    """

    def __init__(self, size: Callable[[T], float]) -> None:
        self._size = size
        self._rows: deque[T] = deque()
        self._by_size: list[tuple[float, int, T]] = []
        self._added = self._popped = 0
        self._learned = RunningMoments()

    def __repr__(self) -> str:
        return f"<RowOrder: {len(self)} rows, {'longest first' if self.size_predicts_length else 'input order'}>"

    def __len__(self) -> int:
        return len(self._rows) + len(self._by_size)

    def add(self, row: T) -> None:
        """Add a row that was read."""
        self._rows.append(row)

    def pop(self, rows_per_call: Callable[[], float]) -> T:
        """Remove and return the next row: the longest if size predicts length and few rows remain, else the first.

        Args:
            rows_per_call: returns the number of remaining rows per call in flight; it is called occasionally.
        """
        check = not self._popped % CHECK_EVERY_ROWS
        self._popped += 1
        if self._by_size or (check and self.size_predicts_length and rows_per_call() < MAX_ROWS_PER_CALL):
            while self._rows:
                self._added += 1
                row = self._rows.popleft()
                heapq.heappush(self._by_size, (-self._size(row), self._added, row))
            return heapq.heappop(self._by_size)[2]
        return self._rows.popleft()

    def learn(self, row: T, tokens: float) -> None:
        """Record the number of tokens in the answer to a row."""
        if self._learned.count < MAX_SAMPLES:
            self._learned.add(self._size(row), tokens)

    @property
    def size_predicts_length(self) -> bool:
        """Whether long rows have long answers."""
        if self._learned.count < MIN_SAMPLES:
            return False
        _, _, sizes, answers, covariance = self._learned.summary()
        return sizes * answers > 0 and covariance > CORRELATION * math.sqrt(sizes * answers)

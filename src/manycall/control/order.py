"""Which row next? Where a run is short, its end is one long answer that was begun last; so the long ones go first.

List scheduling ends at most at twice the best time, with the longest first at 4/3 of it (R. L. Graham, SIAM J. Appl.
Math., 1969); the difference matters while there are few rows for each call in flight. How long an answer will be is
not known, but often a long row has a long answer. Whether that is so here is learned from the first answers.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from manycall.control.moments import Moments

T = TypeVar("T")

ANSWERS, ENOUGH = 30, 1000
"""Before anything is concluded; and after which there is no more to learn."""
LOOK = 16
"""Rows, between two looks whether the longest should go first."""
CORRELATION = 0.3
"""Of the sizes of the rows and of their answers, from which the first tells something of the second."""
ROWS_PER_CALL = 50
"""For each call in flight; where there are more to come, the end hardly matters."""
AHEAD = 1000
"""Rows that are read ahead, to choose from."""


class Order(Generic[T]):
    """The rows that were read ahead.

    Args:
        size: how large a row is, in any unit.
    """

    def __init__(self, size: Callable[[T], float]) -> None:
        self._size = size
        self._rows: deque[T] = deque()
        self._by_size: list[tuple[float, int, T]] = []
        self._put = self._taken = 0
        self._learned = Moments()

    def __repr__(self) -> str:
        return f"<Order: {len(self)} rows ahead, {'the longest' if self.tells else 'the first'} first>"

    def __len__(self) -> int:
        return len(self._rows) + len(self._by_size)

    def put(self, row: T) -> None:
        """One more row was read."""
        self._rows.append(row)

    def take(self, left: Callable[[], float]) -> T:
        """The next row: the longest, if that tells and few rows are left; else the first.

        Args:
            left: how many rows there are for each call in flight; it is asked now and then.
        """
        look = not self._taken % LOOK
        self._taken += 1
        if self._by_size or (look and self.tells and left() < ROWS_PER_CALL):
            while self._rows:
                self._put += 1
                row = self._rows.popleft()
                heapq.heappush(self._by_size, (-self._size(row), self._put, row))
            return heapq.heappop(self._by_size)[2]
        return self._rows.popleft()

    def learn(self, row: T, tokens: float) -> None:
        """This row had so long an answer."""
        if self._learned.count < ENOUGH:
            self._learned.add(self._size(row), tokens)

    @property
    def tells(self) -> bool:
        """Whether long rows have long answers."""
        if self._learned.count < ANSWERS:
            return False
        _, _, sizes, answers, covariance = self._learned.read()
        return sizes * answers > 0 and covariance > CORRELATION * math.sqrt(sizes * answers)

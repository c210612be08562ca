"""The rows that a worker has received and not begun."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from manycall.cluster.worker_messages import SentRow, SentUnit
from manycall.control.work_units import ReturnRequest, RowsReport
from manycall.records import Row


class RowQueue:
    """The rows of a worker, in the order in which they arrived. It obeys the orders of grants, each of them once.

    Attributes:
        begun: number of rows that were taken from it.
        low: set when the worker should get more rows: when half of the rows have begun, and when all have.
    """

    def __init__(self) -> None:
        self._rows: deque[SentRow] = deque()
        self._last_unit = self._last_return = 0
        self._returned: tuple[str, ...] = ()
        self._low_level = 0
        self._is_finished = False
        self._changed = asyncio.Event()
        self.begun = 0
        self.low = asyncio.Event()

    def __repr__(self) -> str:
        return f"<RowQueue, {len(self._rows)} rows wait>"

    def add(self, units: Iterable[SentUnit]) -> list[SentRow]:
        """Add the rows of the units that are new. Return these rows."""
        new: list[SentRow] = []
        for unit in units:
            if unit.number == self._last_unit + 1:
                self._last_unit = unit.number
                new += unit.rows
        if new:
            self._rows += new
            self._low_level = len(self._rows) // 2
            self._changed.set()
        return new

    def give_back(self, request: ReturnRequest) -> None:
        """Remove the last rows, as the request says, unless it was obeyed before."""
        if request.number > self._last_return:
            count = min(request.rows, len(self._rows))
            self._returned = tuple(self._rows.pop().id for _ in range(count))[::-1]
            self._last_return = request.number

    def finish(self) -> None:
        """Let `rows` end behind the rows that are there."""
        self._is_finished = True
        self._changed.set()

    @property
    def report(self) -> RowsReport:
        """What has become of the orders."""
        return RowsReport(self._last_unit, len(self._rows), self._last_return, self._returned)

    async def rows(self) -> AsyncIterator[Row]:
        """Yield the rows as they arrive, until `finish`."""
        while self._rows or not self._is_finished:
            if not self._rows:
                self._changed.clear()
                await self._changed.wait()
                continue
            sent = self._rows.popleft()
            self.begun += 1
            if len(self._rows) in (self._low_level, 0):
                self.low.set()
            yield Row(sent.id, sent.fields, sent.index, sent.sample)

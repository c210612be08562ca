"""The rows that the driver has read and that are not done."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing

from msgspec.structs import replace

from manycall.cluster.worker_messages import SentRow, SentUnit
from manycall.control.work_units import WorkUnit
from manycall.records import Row
from manycall.store.journal_line import SentCall


class RowFeed:
    """Reads rows, a few at a time ahead of what the workers need.

    Args:
        find_calls: returns the journaled calls of a row.
        on_read: called with each row that was read.

    Attributes:
        rows_read: number of rows read so far.
        all_read: every row was read.
        error: why reading ended early: an unusable row, or an exception of the user's own iterator.
    """

    def __init__(self, find_calls: Callable[[str], list[SentCall]], on_read: Callable[[Row], None]) -> None:
        self._find_calls, self._on_read = find_calls, on_read
        self._rows: dict[str, SentRow] = {}
        self._wanted = 0
        self._may_read = asyncio.Event()
        self.rows_read = 0
        self.all_read = False
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<RowFeed, {len(self._rows)} rows in memory>"

    async def read(self, rows: AsyncIterator[Row]) -> None:
        """Read all rows, waiting until they are wanted."""
        try:
            async with aclosing(rows):  # type: ignore[type-var]
                async for row in rows:
                    self.rows_read += 1
                    self._rows[row.id] = SentRow(row.id, row.fields, row.index, row.sample, self._find_calls(row.id))
                    self._on_read(row)
                    self._wanted -= 1
                    while self._wanted <= 0:
                        self._may_read.clear()
                        await self._may_read.wait()
            self.all_read = True
        except Exception as error:
            self.error = error  # raised after the rows before it are done

    def want(self, rows: int) -> None:
        """Let this number of further rows be read."""
        self._wanted = rows
        if rows > 0:
            self._may_read.set()

    def payload(self, unit: WorkUnit) -> SentUnit:
        """Return a unit with its rows, as far as they are not done."""
        return SentUnit(unit.number, [self._rows[row_id] for row_id in unit.row_ids if row_id in self._rows])

    def refresh(self, row_ids: Iterable[str]) -> None:
        """Find the journaled calls of rows again, because the journal has grown."""
        for row_id in row_ids:
            if row_id in self._rows:
                self._rows[row_id] = replace(self._rows[row_id], calls=self._find_calls(row_id))

    def forget(self, row_ids: Iterable[str]) -> None:
        """Forget rows that are done."""
        for row_id in row_ids:
            self._rows.pop(row_id, None)

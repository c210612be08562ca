"""Rows that were read but have not started yet."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from manycall.control.row_order import RowOrder
from manycall.errors import UsageError
from manycall.records import Row
from manycall.run.row_blocks import BlockSize, RowGrouper

REFILL_LEVEL = 0.5
"""Reading continues when half of the rows that were read ahead have started."""


class ReadAhead:
    """Reads rows in a task: many if the total is known, so that the longest can go first; else one at a time.

    Args:
        total: number of rows; None if unknown.
        changed: set when a row is available, and when all were read.
        on_read: called with the id and the index of each row that was read.
        rows_per_call: returns the number of rows still to start, per call of the concurrency window.
        block_size: how rows are grouped, if they are processed in blocks. Blocks are read one at a time.

    Attributes:
        all_read: every row was read.
        error: why reading ended early: an unusable row, or an exception from the user's own iterator.
    """

    def __init__(
        self,
        total: int | None,
        changed: asyncio.Event,
        on_read: Callable[[str, int], None],
        rows_per_call: Callable[[], float],
        block_size: BlockSize | None = None,
    ) -> None:
        self._total = total if block_size is None else None
        self._changed, self._on_read, self._rows_per_call = changed, on_read, rows_per_call
        self._grouper = None if block_size is None else RowGrouper(block_size)
        self._rows = RowOrder()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False
        self.all_read = False
        self.error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def start(self, rows: AsyncIterator[Row]) -> "asyncio.Task[None]":
        """Begin to read. Return the task that does it."""
        self._task = asyncio.create_task(self._read(rows))
        self._task.add_done_callback(lambda _: self._changed.set())
        return self._task

    def cancel(self) -> None:
        """Read no further."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    @property
    def may_get_rows(self) -> bool:
        """Whether there is a row, or may be one later."""
        return bool(self._rows) or self._task is None or not self._task.done()

    def take(self) -> Row | None:
        """Return the next row to start; None if there is none."""
        row = self._rows.pop(self._rows_per_call)
        if not self._rows.is_filled(REFILL_LEVEL):
            self._wanted.set()
        return row

    def learn(self, row: Row, tokens: int) -> None:
        """Record how many tokens a row took; 0 if they are unknown, because its answers come from the journal."""
        if self._total is not None and tokens:
            self._rows.learn(row, tokens)

    async def _read(self, rows: AsyncIterator[Row]) -> None:
        try:
            async with aclosing(rows):  # type: ignore[type-var]
                async for row in rows:
                    self._on_read(row.id, row.index)
                    if self._grouper is None:
                        self._add(row)
                    else:
                        for block in self._grouper.add(row):
                            self._add(block)
                    if self._total is None or self._rows.is_filled(1.0):
                        await self._wait_until_wanted()
            if self._grouper is not None:
                for block in self._grouper.flush():
                    self._add(block)
            self.all_read = True
        except asyncio.CancelledError:
            if not self._is_cancelled:  # the user's own iterator raised it
                self.error = UsageError("the iterator over the rows raised CancelledError")
        except BaseException as error:
            self.error = error  # raised after the rows before it are done

    def _add(self, row: Row) -> None:
        if not self._rows:  # otherwise a row was available before
            self._changed.set()
        self._rows.add(row)

    async def _wait_until_wanted(self) -> None:
        """Wait until the number of rows read ahead has fallen to the refill level, or to 0 if the total is unknown."""
        while self._rows if self._total is None else self._rows.is_filled(REFILL_LEVEL):
            self._wanted.clear()
            await self._wanted.wait()

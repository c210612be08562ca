"""Rows that share calls, such as texts that are embedded together: the scheduler processes such a block as one row.

Each row of a block keeps its id and has its own outcome. The block itself has the id of its first row, which identifies
its calls in the journal.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, final

import msgspec

from manycall.records import Row, RowOutcome


class RowBlock(Row, frozen=True, gc=False):
    """Rows that are processed together. It has the id and the index of the first one, and no fields."""

    rows: tuple[Row, ...] = ()


@final
class BlockOutcome(msgspec.Struct, frozen=True, gc=False):
    """What the function of a block returns: the outcome of each of its rows."""

    outcomes: list[RowOutcome]


class BlockSize(NamedTuple):
    """How rows are grouped.

    Attributes:
        rows: most rows of a block.
        characters: most characters of a block with several rows.
        measure: returns the characters of a row.
    """

    rows: int
    characters: int
    measure: Callable[[Row], int]

    def count(self, rows: int) -> int:
        """Return the number of blocks of this number of rows, if the rows are short."""
        return -(-rows // self.rows)


class RowGrouper:
    """Groups a stream of rows.

    The position of a row in the input decides to which block it belongs, not the rows that are done. So a session after
    a kill makes the same blocks of the rows that are left, and finds their answers in the journal.
    """

    def __init__(self, size: BlockSize) -> None:
        self._size = size
        self._rows: list[Row] = []
        self._characters = 0

    def __repr__(self) -> str:
        return f"<RowGrouper, {len(self._rows)} rows wait>"

    def add(self, row: Row) -> Iterator[RowBlock]:
        """Take the next row. Yield the block before it if that is complete."""
        characters, waiting = self._size.measure(row), self._rows
        if waiting and (
            row.index // self._size.rows != waiting[-1].index // self._size.rows
            or self._characters + characters > self._size.characters
        ):
            yield from self.flush()
        self._rows.append(row)
        self._characters += characters
        if row.index % self._size.rows == self._size.rows - 1:
            yield from self.flush()

    def flush(self) -> Iterator[RowBlock]:
        """Yield the rows that wait, if there are any, as the last block."""
        rows, self._rows, self._characters = self._rows, [], 0
        if rows:
            yield RowBlock(rows[0].id, {}, rows[0].index, 0, tuple(rows))


def rows_of(row: Row) -> tuple[Row, ...]:
    """Return the rows of a block; any other row alone."""
    return row.rows if isinstance(row, RowBlock) else (row,)

"""The rows that a user passes: a file, an iterable, an async iterable, a data frame or only a number of rows."""

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from manycall.data.input_checksum import InputFile
from manycall.data.program_rows import row_from_mapping
from manycall.data.row_files import LineCursor, LocatedRow, read_rows
from manycall.data.row_frames import DataFrame, frame_as_rows
from manycall.errors import UsageError
from manycall.records import Fields

RowsLike = str | Path | Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]] | DataFrame | None
"""A path, an iterable or async iterable of mappings, a data frame or table, or None (no rows, only a count)."""


@dataclass(frozen=True)
class RowInput:
    """Rows without ids, one of them at a time in memory.

    Attributes:
        name: name of the input in messages.
        rows: the rows; empty if they are in a file; None for rows that only have a number as their id.
        file: the file that contains the rows; None for other inputs.
        first_row: fields of the first row; None if they are not known before the rows are read.
        length: number of rows; None if it is not known before the rows are read.
    """

    name: str
    rows: Iterable[Any] | AsyncIterable[Any] | None
    file: InputFile | None = None
    first_row: Fields | None = None
    length: int | None = None

    def located(
        self, is_done: Callable[[str], bool] | None = None, *, start: int = 0, cursor: LineCursor | None = None
    ) -> Iterator[LocatedRow]:
        """Yield each row with its location.

        Args:
            is_done: lets a file skip rows that are done (see `read_rows`).
            start: number of rows to leave out.
            cursor: where row `start` begins, in a file of JSON lines; moves with the rows.

        Raises:
            UsageError: a row is not valid.
        """
        if self.rows is None:  # without the conversion to JSON and back, which the rows of a program need
            return ((f"row {n + 1}", {"id": n}) for n in range(start, self.length or 0))
        if self.file is None:
            assert isinstance(self.rows, Iterable), "an async iterable is read with located_row"
            return map(self.located_row, islice(self.rows, start, None), count(start))
        has_place = cursor is not None and cursor.offset > 0
        return islice(
            read_rows(self.file.path, is_done, file=self.file, cursor=cursor), 0 if has_place else start, None
        )

    def located_row(self, fields: Any, index: int) -> LocatedRow:
        """Convert a mapping from the user's program to the row that a file with the same JSON would contain."""
        location = f"row {index + 1}"
        try:
            return location, row_from_mapping(fields)
        except ValueError as error:
            raise UsageError(f"{self.name}, {location}{error}") from None


def row_input(rows: RowsLike, length: int) -> RowInput:
    """Return the input for what a user passed as rows. If that is None, the rows are numbered from 0 to `length` - 1.

    Raises:
        UsageError: it is none of the types in `RowsLike`, or the file cannot be read.
    """
    rows = frame_as_rows(rows)
    if rows is None:
        return RowInput("the prompt alone", None, first_row={"id": 0}, length=length)
    if isinstance(rows, str | Path):
        return RowInput(str(rows), (), file=InputFile(Path(rows)))
    if isinstance(rows, Mapping):
        raise UsageError("rows must be a list of mappings, not one mapping. Pass [row], or a data frame of columns.")
    if not isinstance(rows, Iterable | AsyncIterable):
        raise UsageError(f"rows must be a path or an iterable of mappings, not {type(rows).__name__}.")
    first = next(iter(rows), None) if isinstance(rows, Sequence) else None
    return RowInput(
        "input rows", rows, first_row=dict(first) if isinstance(first, Mapping) else None,
        length=len(rows) if isinstance(rows, Sized) else None,
    )  # fmt: skip

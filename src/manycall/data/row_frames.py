"""Rows of data frames (pandas, polars) and Arrow tables, without importing these libraries."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from manycall.errors import UsageError
from manycall.json_values import json_cell
from manycall.records import Fields

BATCH_ROWS = 1000
"""Rows of an Arrow table that are converted together."""

NOT_ROWS = {
    ("polars", "LazyFrame"): "Collect it first: rows.collect().",
    ("polars", "Series"): "It is one column. Use rows.to_frame().",
    ("pandas", "Series"): "It is one column. Use rows.to_frame('text').",
    ("pyarrow", "ChunkedArray"): "It is one column. Use pyarrow.table({'text': rows}).",
    ("pyarrow", "Array"): "It is one column. Use pyarrow.table({'text': rows}).",
    ("numpy", "ndarray"): "An array has no field names. Use pandas.DataFrame(rows, columns=[...]).",
}
"""Types that look like rows, and what to pass instead."""


class DataFrame(Protocol):
    """A pandas or polars DataFrame, or a pyarrow Table or RecordBatch."""

    @property
    def columns(self) -> Any:
        """The column names."""

    def __len__(self) -> int: ...


def frame_as_rows(rows: Any) -> Any:
    """Return the rows of a data frame or table; anything else as it is.

    Raises:
        UsageError: the type has no rows with field names, or two columns have the same name.
    """
    for kind in type(rows).__mro__:
        library = kind.__module__.partition(".")[0], kind.__name__
        if library in _ROWS_OF:
            return _ROWS_OF[library](rows)
        if library in NOT_ROWS:
            raise UsageError(f"rows cannot be a {library[0]} {library[1]}. {NOT_ROWS[library]}")
    return rows


class FrameRows(Sequence[Fields]):
    """The rows of a polars DataFrame, converted one at a time."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._names = _unique_names(self._columns())

    def __len__(self) -> int:
        return len(self._frame)

    def __iter__(self) -> Iterator[Fields]:
        return map(self._row, self._cells())

    def __getitem__(self, index: Any) -> Any:
        return self._row(self._cells_at(index))

    def _columns(self) -> list[Any]:
        return list(self._frame.columns)

    def _cells(self) -> Iterator[Any]:
        return iter(self._frame.iter_rows())

    def _cells_at(self, index: int) -> Any:
        return self._frame.row(index)

    def _row(self, cells: Any) -> Fields:
        return {name: json_cell(cell) for name, cell in zip(self._names, cells, strict=True)}


class PandasRows(FrameRows):
    """The rows of a pandas DataFrame. The named levels of its index are fields too; an unnamed index is not."""

    def __init__(self, frame: Any) -> None:
        levels = [name for name in frame.index.names if name is not None and name not in frame.columns]
        super().__init__(frame.reset_index(level=levels) if levels else frame)

    def _columns(self) -> list[Any]:
        if self._frame.columns.nlevels > 1:
            raise UsageError(
                "The data frame has several levels of column names. Join them first, for example: "
                "rows.columns = ['_'.join(map(str, names)) for names in rows.columns]."
            )
        return list(self._frame.columns)

    def _cells(self) -> Iterator[Any]:
        return iter(self._frame.itertuples(index=False, name=None))

    def _cells_at(self, index: int) -> Any:
        return self._frame.iloc[index]


class ArrowRows(FrameRows):
    """The rows of a pyarrow Table or RecordBatch, converted in batches."""

    def __len__(self) -> int:
        return int(self._frame.num_rows)

    def _columns(self) -> list[Any]:
        return list(self._frame.schema.names)

    def _cells(self) -> Iterator[Any]:
        for start in range(0, len(self), BATCH_ROWS):
            columns = [column.to_pylist() for column in self._frame.slice(start, BATCH_ROWS).columns]
            yield from zip(*columns, strict=True)

    def _cells_at(self, index: int) -> Any:
        return [column[index].as_py() for column in self._frame.columns]


_ROWS_OF = {
    ("pandas", "DataFrame"): PandasRows,
    ("polars", "DataFrame"): FrameRows,
    ("pyarrow", "Table"): ArrowRows,
    ("pyarrow", "RecordBatch"): ArrowRows,
}


def _unique_names(columns: list[Any]) -> list[str]:
    names = [str(name) for name in columns]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"The data frame has several columns named {repeated[0]!r}. Rename all but one.")
    return names

"""Rows of pandas and polars data frames, without importing these libraries."""

from collections.abc import Iterator, Sequence
from typing import Any

from manycall.json_values import json_cell
from manycall.records import Fields


def is_frame(rows: Any) -> bool:
    """Return whether an object is a pandas or polars data frame."""
    return type(rows).__module__.partition(".")[0] in ("pandas", "polars") and hasattr(rows, "columns")


def frame_as_rows(rows: Any) -> Any:
    """Return the rows of a data frame; anything else as it is."""
    return FrameRows(rows) if is_frame(rows) else rows


class FrameRows(Sequence[Fields]):
    """The rows of a data frame, converted one at a time."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._names = [str(name) for name in frame.columns]

    def __len__(self) -> int:
        return len(self._frame)

    def __iter__(self) -> Iterator[Fields]:
        frame = self._frame
        cells = frame.itertuples(index=False, name=None) if hasattr(frame, "itertuples") else frame.iter_rows()
        return map(self._row, cells)

    def __getitem__(self, index: Any) -> Any:
        frame = self._frame
        return self._row(frame.iloc[index] if hasattr(frame, "iloc") else frame.row(index))

    def _row(self, cells: Any) -> Fields:
        return {name: json_cell(cell) for name, cell in zip(self._names, cells, strict=True)}

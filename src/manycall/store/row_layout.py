"""The line format of an output: how finished rows become lines, and which rows the lines of an output finish.

There are three layouts: `PlainLayout` (one line per row), `PartsLayout` (a row may become several lines,
store/row_parts.py) and `OutputLayout` (lines of another format, with the failed rows, store/batch_layout.py).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from manycall.ids import decode_row_id
from manycall.json_values import json_value
from manycall.records import Row, RowOutput
from manycall.store.disk import Disk
from manycall.store.jsonl import decode_lines

encode_lines = msgspec.json.Encoder(enc_hook=json_value).encode_lines
"""Encodes each value of a list as a JSON line with its newline, numpy scalars and dates included."""


class DoneRow(NamedTuple):
    """A finished row in an output.

    Attributes:
        offset: offset of its last line.
        lines: its lines.
        row_id: its id.
        line_count: number of its lines.
    """

    offset: int
    lines: bytes
    row_id: str
    line_count: int = 1


class RowLayout(Protocol):
    """The line format of an output."""

    @property
    def keeps_lines(self) -> bool:
        """Whether the lines of finished rows are never moved, so that reading may begin behind those that are known."""
        ...

    def done_rows(self, rows: Path, out: Path, disk: Disk, start: int = 0) -> Iterator[DoneRow]:
        """Yield the finished rows in a file without a torn tail. Remove lines that do not finish a row.

        The file may be replaced, so open it afterwards.

        Args:
            rows: the output, or a file in its run folder.
            out: the output, which an error message about damage names.
            start: offset of the first line to read. Only if `keeps_lines`.

        Raises:
            CorruptFile: a line cannot be decoded.
        """
        ...

    def identify(self, line: bytes) -> tuple[str, int]:
        """Return the id of the row of a line, and the number of lines that this row has.

        Raises:
            One of DECODE_ERRORS: the line cannot be decoded.
        """
        ...

    def is_failed(self, line: bytes, /) -> bool:
        """Return whether a line of the output is that of a failed row."""
        ...

    def encode(self, row: Row, result: RowOutput) -> list[bytes]:
        """Return the lines of a finished row.

        Raises:
            TypeError, ValueError: the result cannot be encoded as JSON.
        """
        ...

    def append_failed(self, out: Path, failures: Path, disk: Disk) -> None:
        """Append the failed rows to the output, if it contains them. Every row of the input is done or failed.

        Raises:
            StorageError: a line could not be written.
        """
        ...


class PlainLayout:
    """One line per row: the row's fields and the result."""

    keeps_lines = True

    def done_rows(self, rows: Path, out: Path, disk: Disk, start: int = 0) -> Iterator[DoneRow]:
        """Yield the row of each line."""
        return (DoneRow(*each) for each in decode_lines(rows, decode_row_id, out, disk, start))

    def identify(self, line: bytes) -> tuple[str, int]:
        """Return the id of the row of a line, and 1."""
        return decode_row_id(line), 1

    def is_failed(self, line: bytes, /) -> bool:
        """Return False: failed rows are only in failures.jsonl."""
        return False

    def encode(self, row: Row, result: RowOutput) -> list[bytes]:
        """Return the line of the row."""
        assert isinstance(result, dict)
        return [row_line(row, row.id, result)]

    def append_failed(self, out: Path, failures: Path, disk: Disk) -> None:
        """Do nothing: failed rows are only in failures.jsonl."""


def row_line(row: Row, row_id: str, result: dict[str, Any]) -> bytes:
    """Return a line with this id, the row's own fields and the result."""
    own_id = row.fields.get("id")
    if own_id == row_id and "id" not in result:  # the usual case
        return encode_lines([{"id": row_id, **row.fields, **result}])
    output_id = own_id if isinstance(own_id, int) and str(own_id) == row_id else row_id  # a numeric id stays a number
    line = {"id": output_id, **row.fields}
    if "id" in row.fields and own_id != output_id:  # it is a sample, or id_field is another field
        line.setdefault("original_id", own_id)
    line.update(result)
    line["id"] = output_id
    return encode_lines([line])

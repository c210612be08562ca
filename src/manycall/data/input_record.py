"""What a session knows of its input, for the next session: that it was checked, and where to begin.

A record is only used for the same bytes. Either size, times and inode of the file are those of the record, or the
blocks before the place to begin have the recorded checksums.
"""

from typing import Annotated, Any

import msgspec

from manycall.ids import IdTable
from manycall.records import DECODE_ERRORS

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
MARK_ROWS = 1000
"""The position of every thousandth row is kept, so that an unfinished row is found quickly."""
MAX_REPEATS = 20_000
"""If more rows than this repeat earlier ones, the next session reads all rows again."""


class LinePosition(msgspec.Struct, frozen=True, array_like=True):
    """The beginning of a line: its offset in bytes, and the number of lines before it."""

    offset: Count = 0
    line: Count = 0


class InputPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where to begin: the rows before the position are done, except the unfinished ones.

    Attributes:
        index: number of rows before the position.
        at: the beginning of the next row; zero unless the file contains JSON lines.
        marks: the beginning of every `MARK_ROWS`-th row; empty unless the file contains JSON lines.
        unfinished: (index, row id) of each unfinished row before the position.
        repeats: for rows without an id: how often the content of a row had occurred before the position.
    """

    index: Count
    at: LinePosition = LinePosition()
    marks: list[LinePosition] = []
    unfinished: list[tuple[Count, str]] = []
    repeats: dict[str, Count] = {}


class InputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an input.

    Attributes:
        is_file: the input is a file; otherwise it is the prompt alone, with numbered rows.
        id_field, samples, limit: as the `RowSource` got them.
        rows: number of rows within the limit.
        all_have_ids: every row is known to have an id, and all ids differ.
        state: inode, size and times of the file; None if it had changed too recently to rely on them.
        size: size of the file.
        checksums: CRC-32 of each block of the file that was read, from the first.
        position: None if the next session must read all rows.
    """

    is_file: bool
    id_field: str | None
    samples: int | None
    limit: int | None
    rows: Count
    all_have_ids: bool
    state: tuple[int, ...] | None = None
    size: Count = 0
    checksums: list[Count] = []
    position: InputPosition | None = None

    @property
    def as_fields(self) -> dict[str, Any]:
        """The record as JSON values."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


def read_record(fields: dict[str, Any] | None) -> InputRecord | None:
    """Return the record that `as_fields` has returned as JSON values; None if it is not valid."""
    try:
        return None if fields is None else msgspec.convert(fields, InputRecord)
    except DECODE_ERRORS:
        return None


class EarlierInput(msgspec.Struct, frozen=True):
    """The input of the last session.

    Attributes:
        record: what was known of it.
        ids: the ids of the rows that were done. They include all rows before the position, except the unfinished ones.
    """

    record: InputRecord
    ids: IdTable

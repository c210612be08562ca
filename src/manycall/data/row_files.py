"""Readers for JSONL, JSON arrays, CSV, TSV, Parquet and Arrow. Files are read lazily; every error names its line."""

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import msgspec

from manycall.data.arrow_batches import arrow_rows, parquet_rows
from manycall.data.input_checksum import InputFile
from manycall.data.json_array import JsonArrayReader
from manycall.data.nesting import TOO_DEEP, is_flat, is_too_deep
from manycall.errors import UsageError
from manycall.ids import decode_row_id
from manycall.option_flags import rerun
from manycall.records import DECODE_ERRORS, Fields

LocatedRow = tuple[str, Fields]
"""The location of a row ("line 7") and its fields."""
SKIPPED_ROW: LocatedRow = ("", {})
"""Stands for a row that was skipped without decoding it."""


class LineCursor:
    """A place in a file of JSON lines.

    Attributes:
        offset: the beginning of the next line, in bytes.
        line: number of lines before it.
    """

    __slots__ = ("line", "offset")

    def __init__(self, offset: int = 0, line: int = 0) -> None:
        self.offset, self.line = offset, line

    def skip(self, size: int) -> None:
        """Go behind bytes that belong to no line."""
        self.offset += size

    def move(self, size: int) -> None:
        """Go behind a line of this size."""
        self.offset += size
        self.line += 1


def read_rows(
    path: Path,
    is_done: Callable[[str], Any] | None = None,
    *,
    file: InputFile | None = None,
    cursor: LineCursor | None = None,
) -> Iterator[LocatedRow]:
    """Yield the rows of one file, in order.

    The suffix decides the format (.csv, .tsv, .parquet, .arrow). Any other file is JSON: an array if it starts with
    `[`, else JSON lines.

    Args:
        is_done: returns whether the row with an `id` may be skipped. Only for JSON lines: such a row is yielded as
            SKIPPED_ROW, without decoding its fields, which takes half the time.
        file: the InputFile of an earlier read, if both reads must return the same bytes.
        cursor: where to begin in a file of JSON lines; moves with the rows. Ignored for other files.

    Raises:
        InputChanged: the file has changed since the earlier read.
        UsageError: the file does not exist, or a row cannot be read; the message names file, line and reason.
    """
    if not path.exists():
        raise UsageError(f"{path}: file not found.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Expected a file with rows.")
    if not path.is_file():
        raise UsageError(f"{str(path)!r} is not a regular file. Input is read twice, so save it to a file first.")
    reader = READERS.get(path.suffix.lower(), partial(_json, is_done=is_done, cursor=cursor or LineCursor()))
    try:
        with (file or InputFile(path)).open() as opened:
            yield from reader(path, opened)
    except UnicodeDecodeError as error:  # its position is relative to a chunk, so the line is searched for
        raise UsageError(f"{path}, line {_not_utf8(path)}: {_encoding_problem(error)}") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None


def _not_utf8(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with path.open("rb") as file:
        lines = enumerate(file, 1)
        return next((number for number, line in lines if line != line.decode(errors="ignore").encode()), 0)


def _json(path: Path, file: BinaryIO, is_done: Callable[[str], Any] | None, cursor: LineCursor) -> Iterator[LocatedRow]:
    beginning = file.read(4096)
    head = beginning.removeprefix(BOM_UTF8)
    if head.lstrip().startswith(b"["):
        file.seek(0)
        return _array(path, file)
    if not cursor.offset:
        cursor.skip(len(beginning) - len(head))
    file.seek(cursor.offset)
    return _lines(path, file, is_done, cursor)


def _lines(
    path: Path, file: BinaryIO, is_done: Callable[[str], Any] | None, cursor: LineCursor
) -> Iterator[LocatedRow]:
    decode = msgspec.json.Decoder().decode
    for line in file:
        cursor.move(len(line))
        try:
            if is_done is not None and is_done(decode_row_id(line)):
                yield SKIPPED_ROW
                continue
        except DECODE_ERRORS:
            pass  # decoding the whole line below reports the error
        location = f"line {cursor.line}"
        try:
            fields = decode(line)
        except DECODE_ERRORS as error:
            if line.isspace():
                continue
            raise _line_error(path, location, line, error) from None
        if type(fields) is not dict or not is_flat(fields):
            _require_object(path, location, fields, line)
        yield location, fields


def _line_error(path: Path, location: str, line: bytes, error: Exception) -> UsageError:
    if isinstance(error, RecursionError):
        return UsageError(f"{path}, {location}: {TOO_DEEP}")
    is_whole = line.endswith(b"\n")
    if isinstance(error, UnicodeDecodeError) and is_whole:
        return UsageError(f"{path}, {location}: {_encoding_problem(error)}")
    remedy = (
        f"Fix the line and {rerun()}." if is_whole else "The last line has no newline. Is the file still being written?"
    )
    return UsageError(f"{path}, {location}: not valid JSON: {_json_problem(error)}. {remedy}")


def _encoding_problem(error: UnicodeDecodeError) -> str:
    return f"not UTF-8: {error.reason}. Convert the file, for example with iconv -f ENCODING -t UTF-8."


def _json_problem(error: Exception) -> str:
    return f"{error!s:.200}".removeprefix("JSON is malformed: ")


def _array(path: Path, file: BinaryIO) -> Iterator[LocatedRow]:
    """Yield the items of one array. Only a chunk of the text is held in memory, never the whole file."""
    with io.TextIOWrapper(file, encoding="utf-8-sig") as content:
        text, count = JsonArrayReader(content), 0
        text.next_char()  # the opening bracket
        try:
            mark = text.next_char() if text.peek() == "]" else ","
            while mark == ",":
                (item, source), count = text.value(), count + 1
                location = f"line {text.line_number} (item {count})"
                yield location, _require_object(path, location, item, source)
                mark = text.next_char()
            if mark != "]":
                raise ValueError(f"expected a comma or ], got {mark or 'the end of the file'!r}")
            if rest := text.peek():
                raise ValueError(f"unexpected {rest!r} after the end of the array")
        except UnicodeDecodeError:
            raise
        except RecursionError:
            raise UsageError(f"{path}, line {text.line_number} (item {count + 1}): {TOO_DEEP}") from None
        except ValueError as error:
            reason = getattr(error, "msg", error)  # without the position, which is relative to a chunk
            raise UsageError(f"{path}, line {text.line_number} (item {count + 1}): {reason!s:.200}") from None


def _require_object(path: Path, location: str, fields: Any, text: str | bytes) -> Fields:
    if not isinstance(fields, dict):
        raise UsageError(f"{path}, {location}: expected an object with fields, got {type(fields).__name__}.")
    if is_too_deep(fields, text):
        raise UsageError(f"{path}, {location}: {TOO_DEEP}")
    return fields


csv.field_size_limit(64 * 1024 * 1024)


def _csv(path: Path, file: BinaryIO, delimiter: str = ",") -> Iterator[LocatedRow]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        yield from _table(path, text, delimiter)


def _table(path: Path, file: TextIO, delimiter: str) -> Iterator[LocatedRow]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        if len(set(names)) != len(names):
            raise UsageError(f"{path}, line 1: two columns have the same name.")
        for cells in reader:
            if not cells:
                continue
            location = f"line {reader.line_num}"
            if len(cells) != len(names):
                raise UsageError(f"{path}, {location}: expected {len(names)} cells as in the header, got {len(cells)}.")
            yield location, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from None


def _arrow(read: Callable[[BinaryIO], Iterator[Any]], path: Path, file: BinaryIO) -> Iterator[LocatedRow]:
    number = 0
    try:
        for fields in read(file):
            number += 1
            text, location = msgspec.json.encode(fields), f"row {number}"
            yield location, _require_object(path, location, msgspec.json.decode(text), text)
    except RecursionError:
        raise UsageError(f"{path}, row {number}: {TOO_DEEP}") from None


def _with_pyarrow(
    read: Callable[[Path, BinaryIO], Iterator[LocatedRow]], path: Path, file: BinaryIO
) -> Iterator[LocatedRow]:
    try:
        import pyarrow
    except ImportError:
        raise UsageError(f"{path}: reading Parquet and Arrow requires: pip install 'manycall[parquet]'") from None
    try:
        yield from read(path, file)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None


READERS: dict[str, Callable[[Path, BinaryIO], Iterator[LocatedRow]]] = {
    ".csv": _csv,
    ".tsv": partial(_csv, delimiter="\t"),
    ".parquet": partial(_with_pyarrow, partial(_arrow, parquet_rows)),
    ".arrow": partial(_with_pyarrow, partial(_arrow, arrow_rows)),
}

"""Rows in files: JSONL, a JSON array, CSV, TSV, Parquet. Read lazily; every fault names its line.

Knows nothing of ids, samples or prompts.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import msgspec

from manycall.data.input_file import InputFile
from manycall.data.nesting import TOO_DEEP, is_too_deep
from manycall.errors import UsageError
from manycall.ids import row_name
from manycall.records import UNREADABLE, Fields

Located = tuple[str, Fields]
"""Where a row stands ("line 7"), and the row."""
PASSED: Located = ("", {})
"""A row that nobody will look at."""

_CHUNK = 1 << 20
_NOT_SPACE = re.compile(r"\S")


def read(
    path: Path, is_done: Callable[[str], Any] | None = None, *, file: InputFile | None = None
) -> Iterator[Located]:
    """The rows of one file, in order.

    The ending decides (.csv, .tsv, .parquet); anything else is JSON, where the first character tells an
    array from lines.

    Args:
        is_done: told the `id` of a row in JSON lines, whether nobody will look at it: then it comes as PASSED, without
            its fields, which takes half the time.
        file: the same file, if an earlier read of it must have seen the same bytes.

    Raises:
        InputChanged: it did not.
        UsageError: no such file, or a row that cannot be read: file, line, reason.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such file")
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a file of rows")
    if not path.is_file():
        raise UsageError(f"{path} is not a regular file, and rows are read twice: save them in one")
    read_rows = FORMATS.get(path.suffix.lower(), partial(_json, is_done=is_done))
    try:
        with (file or InputFile(path)).open() as opened:
            yield from read_rows(path, opened)
    except UnicodeDecodeError as error:  # its position is that in a chunk
        raise UsageError(f"{path}, line {_not_utf8(path)}: not UTF-8: {error.reason}") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None


def _not_utf8(path: Path) -> int:
    """The first line that is not UTF-8."""
    with path.open("rb") as file:
        lines = enumerate(file, 1)
        return next((number for number, line in lines if line != line.decode(errors="ignore").encode()), 0)


def _json(path: Path, file: BinaryIO, is_done: Callable[[str], Any] | None) -> Iterator[Located]:
    head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.seek(0)
    yield from _array(path, file) if head.startswith(b"[") else _lines(path, file, is_done)


def _lines(path: Path, file: BinaryIO, is_done: Callable[[str], Any] | None) -> Iterator[Located]:
    decode = msgspec.json.Decoder().decode
    for number, line in enumerate(file, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.isspace():
            continue
        try:
            if is_done is not None and is_done(row_name(line)):
                yield PASSED
                continue
        except UNREADABLE:
            pass  # it is read, and told
        where = f"line {number}"
        try:
            fields = decode(line)
        except RecursionError:
            raise UsageError(f"{path}, {where}: {TOO_DEEP}") from None
        except UNREADABLE as error:
            torn = (
                "" if line.endswith(b"\n") else ". It is the last line and has no end: is the file still being written?"
            )
            raise UsageError(f"{path}, {where}: {error!s:.200}{torn}") from None
        yield where, _mapping(path, where, fields, line)


def _array(path: Path, file: BinaryIO) -> Iterator[Located]:
    """The items of one big array, one at a time: a chunk of text is held, never the whole file."""
    with io.TextIOWrapper(file, encoding="utf-8-sig") as content:
        text, count = _Text(content), 0
        text.take()  # the bracket that told us what this is
        try:
            mark = text.take() if text.peek() == "]" else ","
            while mark == ",":
                (item, source), count = text.value(), count + 1
                where = f"line {text.line} (item {count})"
                yield where, _mapping(path, where, item, source)
                mark = text.take()
            if mark != "]":
                raise ValueError(f"{mark or 'the end'!r} where a comma or ] should be")
            if rest := text.peek():
                raise ValueError(f"{rest!r} after the end of the array")
        except UnicodeDecodeError:
            raise
        except RecursionError:
            raise UsageError(f"{path}, line {text.line} (item {count + 1}): {TOO_DEEP}") from None
        except ValueError as error:
            reason = getattr(error, "msg", error)  # without the position, which is that in a chunk
            raise UsageError(f"{path}, line {text.line} (item {count + 1}): {reason!s:.200}") from None


class _Text:
    """A file's text, read in chunks as its JSON values are taken off the front."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at = file, "", 0
        self._end = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode
        self.line = 1

    def _more(self) -> bool:
        rest = self._text[self._at :]
        chunk = self._file.read(max(_CHUNK, len(rest)))  # doubling, so that a long value is not quadratic
        self._text, self._at = rest + chunk, 0
        return bool(chunk)

    def _go_to(self, at: int) -> None:
        self.line += self._text.count("\n", self._at, at)
        self._at = at

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            if found := _NOT_SPACE.search(self._text, self._at):
                self._go_to(found.start())
                return found.group()
            self._go_to(len(self._text))
            if not self._more():
                return ""

    def take(self) -> str:
        """The same, taken off."""
        mark = self.peek()
        self._go_to(self._at + len(mark))
        return mark

    def value(self) -> tuple[Any, str]:
        """The next JSON value and its text, taken off.

        Python's json finds where it ends; its meaning is the same as in a line.
        """
        self.peek()
        while True:
            try:
                _, end = self._end(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._is_cut_off(error) or not self._more():
                    raise
                continue
            if end == len(self._text) and self._more():
                continue  # a number may go on in the next chunk
            text = self._text[self._at : end]
            value = msgspec.json.decode(text)
            self._go_to(end)
            return value, text

    def _is_cut_off(self, error: json.JSONDecodeError) -> bool:
        """Whether more text may mend it: it stands at the end (of an escape, at most), or in a text that has none."""
        return len(self._text) - error.pos < 16 or error.msg.startswith("Unterminated")


def _mapping(path: Path, where: str, fields: Any, text: str | bytes) -> Fields:
    if not isinstance(fields, dict):
        raise UsageError(f"{path}, {where}: a row must be an object with fields, not {type(fields).__name__}")
    if is_too_deep(fields, text):
        raise UsageError(f"{path}, {where}: {TOO_DEEP}")
    return fields


csv.field_size_limit(64 * 1024 * 1024)


def _csv(path: Path, file: BinaryIO, delimiter: str = ",") -> Iterator[Located]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        yield from _table(path, text, delimiter)


def _table(path: Path, file: TextIO, delimiter: str) -> Iterator[Located]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        if len(set(names)) != len(names):
            raise UsageError(f"{path}, line 1: two columns have the same name")
        for cells in reader:
            if not cells:
                continue
            where = f"line {reader.line_num}"
            if len(cells) != len(names):
                raise UsageError(f"{path}, {where}: {len(cells)} cells where the header has {len(names)}")
            yield where, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from None


def _parquet(path: Path, file: BinaryIO) -> Iterator[Located]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(f"{path}: Parquet needs the extra: pip install 'manycall[parquet]'") from None
    try:
        number = 0
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=1024):
                for fields in batch.to_pylist():
                    number += 1
                    text, where = msgspec.json.encode(fields), f"row {number}"
                    yield where, _mapping(path, where, msgspec.json.decode(text), text)
    except RecursionError:
        raise UsageError(f"{path}, row {number}: {TOO_DEEP}") from None
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from None


FORMATS: dict[str, Callable[[Path, BinaryIO], Iterator[Located]]] = {
    ".csv": _csv,
    ".tsv": partial(_csv, delimiter="\t"),
    ".parquet": _parquet,
}

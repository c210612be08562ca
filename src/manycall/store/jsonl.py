"""Reading and decoding of JSON lines files, from manycall and from other programs."""

from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from manycall.errors import CorruptFile
from manycall.records import DECODE_ERRORS
from manycall.store.disk import REAL_DISK, Disk

T = TypeVar("T")
_BLANK = (b"\n", b"\r\n")
"""Blank lines, which an editor may have left."""


def read_lines(path: Path, disk: Disk = REAL_DISK, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) for each line of a file, without blank lines; nothing if the file does not exist.

    Args:
        start: offset of the first line to read.
    """
    try:
        file = disk.open_for_reading(path)
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        offset = start
        for line in file:
            if line not in _BLANK:
                yield offset, line
            offset += len(line)


def decode_lines(
    path: Path, decode: Callable[[bytes], T], out: Path | None = None, disk: Disk = REAL_DISK, start: int = 0
) -> Iterator[tuple[int, bytes, T]]:
    """Yield (offset, line, decoded line) for each line of a file; nothing if the file does not exist.

    Args:
        out: the output that the file belongs to. An incomplete last line is then skipped: it is being written, or its
            writer was killed, and the next writer repairs it.
        start: offset of the first line to read.

    Raises:
        CorruptFile: a line cannot be decoded.
    """
    for offset, line in read_lines(path, disk, start):
        try:
            decoded = decode(line)
        except DECODE_ERRORS as error:
            if out is not None and not line.endswith(b"\n"):
                return
            raise corrupt_file(path, offset, error, out) from None
        yield offset, line, decoded


def first_line_offset(path: Path) -> int:
    """Return the offset of the first line: after the byte-order mark that programs on Windows write, or 0."""
    with path.open("rb") as file:
        return len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0


def corrupt_file(path: Path, offset: int, error: Exception | str, out: Path | None = None) -> CorruptFile:
    """Return the exception for damage that a crash of manycall cannot have caused."""
    remedy = f"Run: manycall repair {out}" if out else "Fix that line."
    return CorruptFile(f"{path} is corrupt at byte {offset:,}: {error}. {remedy}")

"""Read a file while another process appends to it, and notice when it is replaced.

A cursor is `OFFSET.INODE`: the byte after the last complete line, and the file that it belongs to. So a reader can go
on after any interruption, and the server keeps nothing for it. `--overwrite`, a repair and the end of a run replace
files; a cursor of the earlier file is then not valid.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MAX_READ_BYTES = 1 << 20
"""How much is read at a time. A longer line is read in full."""
FileStamps = tuple[tuple[int, int, int], ...]
"""Inode, size and time of the last change of some files; zeros for those that do not exist."""


class NewLines(NamedTuple):
    """Complete lines after a cursor, without their newlines.

    Attributes:
        cursor: where to go on.
        was_replaced: the cursor belongs to another file, or to a longer one. Nothing was read; the new cursor is at the
            start.
    """

    lines: list[bytes]
    cursor: str
    was_replaced: bool = False


def read_new_lines(path: Path, cursor: str, max_bytes: int = MAX_READ_BYTES) -> NewLines:
    """Return the complete lines after a cursor; none if the file does not exist.

    Args:
        cursor: from an earlier reply; "0" or "" for the start.
    """
    offset, inode = parse_cursor(cursor)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return NewLines([], "0", was_replaced=offset > 0)
    try:
        status = os.fstat(fd)
        if not _is_valid(fd, status, offset, inode):
            return NewLines([], _cursor(0, status), was_replaced=True)
        data = _read_lines(fd, offset, min(max_bytes, status.st_size - offset))
    finally:
        os.close(fd)
    return NewLines(data.split(b"\n")[:-1], _cursor(offset + len(data), status))


def end_cursor(path: Path, max_bytes: int) -> str:
    """Return a cursor at the start of a line, at most about `max_bytes` before the end of the file."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            file.seek(max(0, status.st_size - max_bytes))
            if file.tell():
                file.readline()
            return _cursor(file.tell(), status)
    except OSError:
        return "0"


def last_lines(path: Path, max_bytes: int) -> list[bytes]:
    """Return the complete lines in the last `max_bytes` of a file."""
    return read_new_lines(path, end_cursor(path, max_bytes), max_bytes).lines


def parse_cursor(cursor: str) -> tuple[int, int | None]:
    """Return the offset and the inode of a cursor. A cursor that cannot be read is one for the start."""
    offset, _, inode = cursor.partition(".")
    try:
        return max(0, int(offset)), int(inode, 16) if inode else None
    except ValueError:
        return 0, None


def _cursor(offset: int, status: os.stat_result) -> str:
    return f"{offset}.{status.st_ino:x}"


def _is_valid(fd: int, status: os.stat_result, offset: int, inode: int | None) -> bool:
    if inode not in (None, status.st_ino) or offset > status.st_size:
        return False
    return offset == 0 or os.pread(fd, 1, offset - 1) == b"\n"


def _read_lines(fd: int, offset: int, size: int) -> bytes:
    """Return whole lines: about `size` bytes, or one line if it is longer."""
    data = b""
    while chunk := os.pread(fd, max(size, 4096), offset + len(data)):
        data += chunk
        if (end := data.rfind(b"\n")) >= 0:
            return data[: end + 1]
    return b""


def file_stamps(paths: Iterable[Path]) -> FileStamps:
    """Return what changes whenever one of some files does."""
    return tuple(map(_file_stamp, paths))


def _file_stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 (one system call)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)

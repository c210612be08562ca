"""Files of lines, read: our own, and others' that are made of JSON lines."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from manycall.errors import StoreCorrupt
from manycall.records import UNREADABLE
from manycall.store.disk import DISK, Disk

T = TypeVar("T")
_BLANK = (b"\n", b"\r\n")
"""Somebody's editor left them."""


def read_lines(path: Path, disk: Disk = DISK) -> Iterator[tuple[int, bytes]]:
    """(offset, line) for each line of a file that was repaired; nothing if it is not there."""
    try:
        file = disk.reader(path)
    except FileNotFoundError:
        return
    with file:
        offset = 0
        for line in file:
            if line not in _BLANK:
                yield offset, line
            offset += len(line)


def parsed(
    path: Path, decode: Callable[[bytes], T], out: Path | None = None, disk: Disk = DISK
) -> Iterator[tuple[int, bytes, T]]:
    """(offset, line, what it says) for each line of a file; nothing if it is not there.

    Args:
        out: the output that the file belongs to; then half a line at the end, which is being written, or was when its
            writer was killed, is passed over: who writes next mends it.

    Raises:
        StoreCorrupt: a line that cannot be read.
    """
    for offset, line in read_lines(path, disk):
        try:
            said = decode(line)
        except UNREADABLE as error:
            if out is not None and not line.endswith(b"\n"):
                return
            raise corrupt(path, offset, error, out) from None
        yield offset, line, said


def corrupt(path: Path, offset: int, error: Exception | str, out: Path | None = None) -> StoreCorrupt:
    """The sentence for damage that no crash of ours explains."""
    mend = f"`manycall repair {out}` moves damaged lines aside; --fresh starts over" if out else "Mend that line"
    return StoreCorrupt(f"{path} is damaged at byte {offset:,}: {error}. {mend}")

"""An append-only file of lines that survives `kill -9`: what was appended is in the kernel's hands.

What a crash leaves is repaired when the file is opened: a torn tail (a last line without its end) and, after a
power cut, zeros where lines should be. Appending to a torn tail would turn it into damage in the middle of the file.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from manycall.errors import StoreError
from manycall.records import UNREADABLE
from manycall.store.disk import DISK, Disk, write_all

T = TypeVar("T")
MOST_LINES, MOST_BYTES = 1000, 8 << 20
"""After so many, the file wants to be synced before its time."""
TAIL_BYTES = 64 << 20
"""So far back may be what a power cut can have harmed: far more than is ever written between two syncs."""

WHAT_TO_DO = {
    errno.ENOSPC: "Make room; the same command goes on",
    errno.EDQUOT: "Make room in your quota; the same command goes on",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f); the same command goes on",
    errno.EROFS: "Make the disk writable; the same command goes on",
}


def refusal(path: Path, error: OSError) -> StoreError:
    """The sentence for a disk that will not take what it is given."""
    todo = WHAT_TO_DO.get(error.errno or 0, "Mend the disk; the same command goes on")
    return StoreError(f"{path} could not be written: {error.strerror or error}. {todo}")


class LineFile:
    """One file of JSON lines, open for appending.

    Args:
        full: called when so much was appended that it should be synced now.

    Attributes:
        end: the file's length in bytes, which is where the next line will start.
        count: lines appended since it was opened.
    """

    def __init__(self, path: Path, disk: Disk = DISK, full: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._fd = -1
        self._disk, self._full = disk, full
        self._fd = disk.open(path)
        self._dirty = True  # a repair, or the file's own creation
        self._lost: StoreError | None = None
        self.count = 0
        self.end = self._repair()
        self._full_count, self._full_end = MOST_LINES, self.end + MOST_BYTES

    def __repr__(self) -> str:
        return f"<LineFile {self.path.name}, {self.end} bytes>"

    def __del__(self) -> None:
        if self._fd >= 0:  # whoever opened it could not go on
            self._disk.close(self._fd)

    def append(self, line: bytes) -> None:
        """Write one line (with its newline).

        Raises:
            StoreError: the disk would not take it; no part of it is in the file.
        """
        if self._lost is not None:
            raise self._lost
        try:
            write_all(self._disk, self._fd, line)
        except OSError as error:
            refused = refusal(self.path, error)
            try:
                self._disk.truncate(self._fd, self.end)
            except OSError:
                self._lost = refused  # half a line may stand there: nothing may be written after it
            raise refused from error
        self.end += len(line)
        self.count += 1
        self._dirty = True
        if self.count >= self._full_count or self.end >= self._full_end:
            self._full()

    def mark(self) -> int:
        """How many lines a `sync` that begins now will bring to the disk."""
        self._full_count, self._full_end = self.count + MOST_LINES, self.end + MOST_BYTES
        return self.count

    def sync(self) -> None:
        """Bring what was appended to the disk itself, past power cuts. May take long: not for the event loop.

        Raises:
            StoreError: it did not get there. The kernel calls those pages clean from now on, and another sync
                would succeed without them ("fsyncgate", PostgreSQL 2018): so this file takes nothing more.
        """
        if self._lost is not None:
            raise self._lost
        if self._dirty:
            self._dirty = False
            try:
                self._disk.sync(self._fd)
            except OSError as error:
                self._lost = refusal(self.path, error)
                raise self._lost from error

    def read_at(self, start: int) -> bytes:
        """The line that starts at this offset."""
        parts = []
        while chunk := self._disk.read(self._fd, 1 << 16, start):
            head, newline, _ = chunk.partition(b"\n")
            parts.append(head)
            if newline:
                break
            start += len(chunk)
        return b"".join(parts)

    def close(self) -> None:
        """Sync and close. Twice does no harm.

        Raises:
            StoreError: as `sync`; it is closed all the same.
        """
        if self._fd < 0:
            return
        try:
            self.sync()
        finally:
            self._disk.close(self._fd)
            self._fd = -1

    def _repair(self) -> int:
        """Mend what a crash may have left at the end; return the length."""
        size = self._disk.size(self._fd)
        hole = self._hole(size)
        if hole is not None:
            size = self._keep_whole_lines(hole, size)
        if size == 0 or self._disk.read(self._fd, 1, size - 1) == b"\n":
            return size
        start = self._last_newline(size) + 1
        tail = self._disk.read(self._fd, size - start, start)
        if _is_json(tail):
            write_all(self._disk, self._fd, b"\n")
            return size + 1
        self._set_aside(tail + b"\n")
        self._disk.truncate(self._fd, start)
        return start

    def _hole(self, size: int) -> int | None:
        """Where the first line starts that has a zero byte in it, which JSON never has; a power cut leaves such."""
        start = max(0, size - TAIL_BYTES)
        while start < size:
            chunk = self._disk.read(self._fd, 1 << 20, start)
            if (at := chunk.find(b"\0")) >= 0:
                return self._last_newline(start + at) + 1
            start += len(chunk)
        return None

    def _keep_whole_lines(self, start: int, size: int) -> int:
        """From there on nothing was synced; keep the lines that came through all the same."""
        lines = self._disk.read(self._fd, size - start, start).removesuffix(b"\n").split(b"\n")
        whole = [line for line in lines if _is_json(line)]
        self._set_aside(b"".join(line + b"\n" for line in lines if not _is_json(line)))
        self._disk.truncate(self._fd, start)
        kept = b"".join(line + b"\n" for line in whole)
        write_all(self._disk, self._fd, kept)
        return start + len(kept)

    def _set_aside(self, torn: bytes) -> None:
        """Keep what was torn, in `<name>.torn`: somebody may want to look."""
        with suppress(OSError):  # a full disk must not keep us from cutting it off
            fd = self._disk.open(self.path.with_name(self.path.name + ".torn"))
            try:
                write_all(self._disk, fd, torn)
            finally:
                self._disk.close(fd)

    def _last_newline(self, size: int) -> int:
        """Offset of the last newline before there; -1 if there is none."""
        while size > 0:
            start = max(0, size - (1 << 16))
            if (at := self._disk.read(self._fd, size - start, start).rfind(b"\n")) >= 0:
                return start + at
            size = start
        return -1


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except UNREADABLE:
        return False
    return True


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around the writing of what somebody asked for: what is in the way is told in one sentence.

    Raises:
        StoreError: there is no right to write there, or no room.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(f"{error.filename or path} could not be written: {error.strerror or error}") from None


def write_whole(path: Path, pieces: Iterable[bytes], disk: Disk = DISK) -> None:
    """Replace a file in one step: after a crash it is the old one or the new one, never half of each."""
    scratch = path.with_name(path.name + ".new")
    fd = disk.create(scratch)
    try:
        for piece in pieces:
            write_all(disk, fd, piece)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.replace(scratch, path)
    disk.sync_folder(path.parent)

"""An append-only file of JSON lines that survives `kill -9`, because appended lines are in the kernel's page cache.

Opening the file repairs the traces of a crash: a torn tail (an incomplete last line) and, after a power cut, zeros in
place of lines. Appending to a torn tail would turn it into damage in the middle of the file.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from manycall.errors import StorageError
from manycall.records import DECODE_ERRORS
from manycall.store.atomic_write import write_error
from manycall.store.disk import REAL_DISK, Disk, write_all

T = TypeVar("T")
SYNC_AFTER_LINES, SYNC_AFTER_BYTES = 1000, 8 << 20
"""After this many unsynced lines or bytes, the file asks for a sync ahead of the regular one."""
TAIL_BYTES = 64 << 20
"""How much of the end of a file is searched for zeros: far more than is ever written between two syncs."""


class AppendLog:
    """One file of JSON lines, open for appending.

    Args:
        on_sync_needed: called when SYNC_AFTER_LINES or SYNC_AFTER_BYTES have been appended since the last sync.

    Attributes:
        end: length of the file in bytes, which is the offset of the next line.
        count: number of lines appended since the file was opened.
    """

    def __init__(self, path: Path, disk: Disk = REAL_DISK, on_sync_needed: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._fd = -1
        self._disk, self._on_sync_needed = disk, on_sync_needed
        self._fd = disk.open(path)
        self._failed: StorageError | None = None
        self._syncing = threading.Lock()
        self.count = 0
        self.end = self._repair()
        self._dirty = self.end > 0  # lines of a killed session, or their repair, may not be synced yet
        self._sync_at_count, self._sync_at_end = SYNC_AFTER_LINES, self.end + SYNC_AFTER_BYTES

    def __repr__(self) -> str:
        return f"<AppendLog {self.path.name}, {self.end} bytes>"

    def __del__(self) -> None:
        if self._fd >= 0:  # the object that opened it failed to initialize
            self._disk.close(self._fd)

    def append(self, line: bytes, count: int = 1) -> None:
        """Write one line, or `count` lines at once, with their newlines.

        Raises:
            StorageError: the line could not be written; no part of it is in the file.
        """
        if self._failed is not None:
            raise self._failed
        try:
            written = self._disk.write(self._fd, line)
            if written < len(line):
                write_all(self._disk, self._fd, line[written:])
        except OSError as error:
            failure = write_error(self.path, error)
            try:
                self._disk.truncate(self._fd, self.end)
            except OSError:
                self._failed = failure  # the file may end with half a line: nothing may be appended to it
            raise failure from error
        self.end += len(line)
        self.count += count
        self._dirty = True
        if self.count >= self._sync_at_count or self.end >= self._sync_at_end:
            self._on_sync_needed()

    def cut(self, end: int, count: int) -> None:
        """Remove the lines that were appended after the file had this end and count.

        Raises:
            StorageError: they could not be removed; this file accepts no more lines.
        """
        try:
            self._disk.truncate(self._fd, end)
        except OSError as error:
            self._failed = write_error(self.path, error)
            raise self._failed from error
        self.end, self.count, self._dirty = end, count, True

    def sync_mark(self) -> int:
        """Return how many lines will be on disk after a `sync` that starts now."""
        self._sync_at_count, self._sync_at_end = self.count + SYNC_AFTER_LINES, self.end + SYNC_AFTER_BYTES
        return self.count

    def sync(self) -> None:
        """Write the appended lines to the disk itself, so that they survive a power cut. Slow: call it from a thread.

        Raises:
            StorageError: the sync failed. The kernel marks those pages as clean anyway, and another sync would
                succeed without writing them ("fsyncgate", PostgreSQL 2018). So this file accepts no more lines.
        """
        with self._syncing:  # two threads may sync: the second must not return before the first has finished
            if self._failed is not None:
                raise self._failed
            if self._dirty:
                self._dirty = False
                try:
                    self._disk.sync(self._fd)
                except OSError as error:
                    self._failed = write_error(self.path, error)
                    raise self._failed from error

    def read_at(self, start: int) -> bytes:
        """Return the line that starts at this offset, without its newline."""
        parts = []
        while chunk := self._disk.read(self._fd, 1 << 16, start):
            head, newline, _ = chunk.partition(b"\n")
            parts.append(head)
            if newline:
                break
            start += len(chunk)
        return b"".join(parts)

    def close(self) -> None:
        """Sync and close the file. Closing it twice is safe.

        Raises:
            StorageError: the sync failed; the file is closed anyway.
        """
        if self._fd < 0:
            return
        try:
            self.sync()
        finally:
            self._disk.close(self._fd)
            self._fd = -1

    def _repair(self) -> int:
        """Repair the end of the file after a crash; return the length of the file."""
        size = self._disk.size(self._fd)
        hole = self._first_zeroed_line(size)
        if hole is not None:
            size = self._keep_whole_lines(hole, size)
        if size == 0 or self._disk.read(self._fd, 1, size - 1) == b"\n":
            return size
        start = self._last_newline(size) + 1
        tail = self._disk.read(self._fd, size - start, start)
        if _is_json(tail):
            write_all(self._disk, self._fd, b"\n")
            return size + 1
        self._quarantine(tail + b"\n")
        self._disk.truncate(self._fd, start)
        return start

    def _first_zeroed_line(self, size: int) -> int | None:
        """Return the offset of the first line with a zero byte, which a power cut may leave; JSON contains none."""
        start = max(0, size - TAIL_BYTES)
        while start < size:
            chunk = self._disk.read(self._fd, 1 << 20, start)
            if (at := chunk.find(b"\0")) >= 0:
                return self._last_newline(start + at) + 1
            start += len(chunk)
        return None

    def _keep_whole_lines(self, start: int, size: int) -> int:
        """Remove the lines from this offset on that are not valid JSON; none of these lines had been synced."""
        lines = self._disk.read(self._fd, size - start, start).removesuffix(b"\n").split(b"\n")
        whole = [line for line in lines if _is_json(line)]
        self._quarantine(b"".join(line + b"\n" for line in lines if not _is_json(line)))
        self._disk.truncate(self._fd, start)
        kept = b"".join(line + b"\n" for line in whole)
        write_all(self._disk, self._fd, kept)
        return start + len(kept)

    def _quarantine(self, torn: bytes) -> None:
        """Save the torn lines in `<name>.torn`, so that the user can inspect them."""
        with suppress(OSError):  # a full disk must not prevent the repair
            fd = self._disk.open(self.path.with_name(self.path.name + ".torn"))
            try:
                write_all(self._disk, fd, torn)
            finally:
                self._disk.close(fd)

    def _last_newline(self, size: int) -> int:
        """Return the offset of the last newline among the first `size` bytes; -1 if there is none."""
        while size > 0:
            start = max(0, size - (1 << 16))
            if (at := self._disk.read(self._fd, size - start, start).rfind(b"\n")) >= 0:
                return start + at
            size = start
        return -1


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except DECODE_ERRORS:
        return False
    return True

"""An append-only file of lines that survives `kill -9`: what was appended is in the kernel's hands.

A torn tail (a last line without its end, after a crash) is repaired when the file is opened. Appending to it
unrepaired would turn it into damage in the middle of the file.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from manycall.errors import StoreCorrupt, StoreError

MAKE_ROOM = "Make room; the same command goes on"


class LineFile:
    """One file of JSON lines, open for appending.

    Attributes:
        end: the file's length in bytes, which is where the next line will start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._dirty = True  # a repair, or the file's own creation
        self.end = self._repair()

    def __repr__(self) -> str:
        return f"<LineFile {self.path.name}, {self.end} bytes>"

    def append(self, line: bytes) -> int:
        """Write one line (with its newline); return the offset at which it starts.

        Raises:
            StoreError: the disk would not take it.
        """
        start, view = self.end, memoryview(line)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            os.ftruncate(self._fd, start)  # half a line must not stand before the next one
            raise StoreError(f"{self.path} could not be written: {error.strerror}. {MAKE_ROOM}") from error
        self.end = start + len(line)
        self._dirty = True
        return start

    def sync(self) -> None:
        """Bring what was appended to the disk itself, past power cuts. May take long: not for the event loop."""
        if self._dirty:
            self._dirty = False
            os.fdatasync(self._fd)

    def read_at(self, start: int) -> bytes:
        """The line that starts at this offset."""
        parts = []
        while chunk := os.pread(self._fd, 1 << 16, start):
            head, newline, _ = chunk.partition(b"\n")
            parts.append(head)
            if newline:
                break
            start += len(chunk)
        return b"".join(parts)

    def close(self) -> None:
        """Sync and close. Twice does no harm."""
        if self._fd >= 0:
            self._dirty = True  # a sync in another thread may not have ended
            self.sync()
            os.close(self._fd)
            self._fd = -1

    def _repair(self) -> int:
        """Give a whole last line its newline; move a torn one aside, to `<name>.torn`."""
        size = os.fstat(self._fd).st_size
        if size == 0 or os.pread(self._fd, 1, size - 1) == b"\n":
            return size
        start = self._last_newline(size) + 1
        tail = os.pread(self._fd, size - start, start)
        try:
            msgspec.json.decode(tail)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            with self.path.with_name(self.path.name + ".torn").open("ab") as aside:
                aside.write(tail + b"\n")
            os.ftruncate(self._fd, start)
            return start
        os.write(self._fd, b"\n")
        return size + 1

    def _last_newline(self, size: int) -> int:
        """Offset of the last newline; -1 if there is none."""
        while size > 0:
            start = max(0, size - (1 << 16))
            if (at := os.pread(self._fd, size - start, start).rfind(b"\n")) >= 0:
                return start + at
            size = start
        return -1


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, line) for each line of a file that was repaired; nothing if it is not there."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        offset = 0
        for line in file:
            yield offset, line
            offset += len(line)


def corrupt(path: Path, offset: int, error: Exception) -> StoreCorrupt:
    """The sentence for damage that no crash of ours explains."""
    return StoreCorrupt(f"{path} is damaged at byte {offset:,}: {error}. Mend that line, or start over with --fresh")


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: after a crash it is the old one or the new one, never half of each."""
    scratch = path.with_name(path.name + ".new")
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    scratch.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new and renamed files in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

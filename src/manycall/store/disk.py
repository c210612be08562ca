"""All operating-system calls of the store, one method each. No other module opens files of a run for writing.

Tests replace this class with one that fails on purpose, or with one that records every call and reconstructs what a
crash at any moment would have left on disk.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
"""Buffer size for reading a whole file."""


class Disk:
    """The real disk. Every method raises OSError if the system call fails."""

    def open(self, path: Path) -> int:
        """Open a file for appending and reading; create it if it does not exist, with access for its owner only."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def create(self, path: Path) -> int:
        """Open a file as `open` does, and empty it."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def open_for_reading(self, path: Path) -> BinaryIO:
        """Open a file for reading line by line. Raises FileNotFoundError if it does not exist."""
        return path.open("rb", CHUNK_BYTES)

    write: Callable[[int, bytes | memoryview], int] = staticmethod(os.write)
    """Append data; return the number of bytes written, which may be smaller than the length of the data."""

    def read(self, fd: int, size: int, start: int) -> bytes:
        """Return at most `size` bytes, starting at offset `start`."""
        return os.pread(fd, size, start)

    def size(self, fd: int) -> int:
        """Return the length of a file in bytes."""
        return os.fstat(fd).st_size

    def truncate(self, fd: int, size: int) -> None:
        """Shorten a file to `size` bytes."""
        os.ftruncate(fd, size)

    def reserve(self, fd: int, size: int) -> None:
        """Allocate disk space for `size` bytes."""
        os.posix_fallocate(fd, 0, size)

    def sync(self, fd: int) -> None:
        """Write a file's data to the disk, so that it survives a power cut. Slow: call it from a thread."""
        os.fdatasync(fd)

    def sync_folder(self, folder: Path) -> None:
        """Make created, renamed and removed names in a folder survive a power cut."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self, fd: int) -> None:
        """Close a file, which also releases its lock."""
        os.close(fd)

    def replace(self, old: Path, new: Path) -> None:
        """Rename a file; a file that already has the new name is replaced."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Delete a file if it exists."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents if they do not exist."""
        path.mkdir(parents=True, exist_ok=True)

    def remove_folder(self, path: Path) -> None:
        """Delete an empty folder."""
        path.rmdir()

    def list_files(self, folder: Path) -> list[Path]:
        """Return the paths in a folder, sorted."""
        return sorted(folder.iterdir())

    def exists(self, path: Path) -> bool:
        """Return whether a path exists."""
        return path.exists()

    def lock(self, fd: int) -> bool:
        """Try to lock a file; return False if another process holds the lock. It is held until this process ends."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


REAL_DISK = Disk()


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Append all of the data, in as many writes as the system needs.

    Raises:
        OSError: the rest of the data could not be written.
    """
    if (written := disk.write(fd, data)) == len(data):
        return
    view = memoryview(data)
    while view:
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]
        written = disk.write(fd, view) if view else 0

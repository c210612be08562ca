"""What the store asks of the operating system, one method a request, and nothing else asks it for files to write.

So that a test can stand in its place: one that refuses, or one that remembers every request and can say what
a crash at any moment would have left.
"""

import errno
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
"""Read at a time, where a file is gone through from its beginning."""


class Disk:
    """The real one. Every method raises OSError when the system refuses."""

    def open(self, path: Path) -> int:
        """A file to append to and to read from, for its owner alone; made if it is not there."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def create(self, path: Path) -> int:
        """The same, emptied."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def reader(self, path: Path) -> BinaryIO:
        """A file to read line by line; FileNotFoundError if it is not there."""
        return path.open("rb", CHUNK_BYTES)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Append; return how many of the bytes were taken, which may be fewer."""
        return os.write(fd, data)

    def read(self, fd: int, size: int, start: int) -> bytes:
        """At most so many bytes from there."""
        return os.pread(fd, size, start)

    def size(self, fd: int) -> int:
        """Length in bytes."""
        return os.fstat(fd).st_size

    def truncate(self, fd: int, size: int) -> None:
        """Cut off what is beyond."""
        os.ftruncate(fd, size)

    def reserve(self, fd: int, size: int) -> None:
        """Take room for so many bytes."""
        os.posix_fallocate(fd, 0, size)

    def sync(self, fd: int) -> None:
        """Past power cuts. May take long: not for the event loop."""
        os.fdatasync(fd)

    def sync_folder(self, folder: Path) -> None:
        """Names that were made, changed or taken away in a folder, past power cuts."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self, fd: int) -> None:
        """Let a file go."""
        os.close(fd)

    def replace(self, old: Path, new: Path) -> None:
        """Give a file another name, which another one may have had."""
        old.replace(new)

    def remove(self, path: Path) -> None:
        """Take a file's name away, if it is there."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """And those that it is in."""
        path.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[Path]:
        """What is in a folder."""
        return sorted(folder.iterdir())

    def exists(self, path: Path) -> bool:
        """Whether there is something of that name."""
        return path.exists()

    def lock(self, fd: int) -> bool:
        """Whether nobody else has it; then it is ours until this process ends, however it ends."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


DISK = Disk()


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Append all of it, however little the system takes at a time.

    Raises:
        OSError: it would not take the rest.
    """
    if (taken := disk.write(fd, data)) == len(data):
        return
    view = memoryview(data)
    while view:
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[taken:]
        taken = disk.write(fd, view) if view else 0

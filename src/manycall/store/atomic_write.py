"""Atomic replacement of files, and messages for write errors."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from manycall.errors import StorageError
from manycall.option_flags import rerun
from manycall.store.disk import REAL_DISK, Disk, write_all

REMEDIES = {
    errno.ENOSPC: "Free some space and {rerun}.",
    errno.EDQUOT: "Free some of your disk quota and {rerun}.",
    errno.EFBIG: "Raise the file size limit (ulimit -f) and {rerun}.",
    errno.EROFS: "Make the disk writable and {rerun}.",
}


def write_error(path: Path, error: OSError) -> StorageError:
    """Return the exception for a failed write, with its remedy."""
    remedy = REMEDIES.get(error.errno or 0, "Fix the disk and {rerun}.").format(rerun=rerun())
    return StorageError(f"Cannot write {path}: {_reason(error)}. {remedy}")


def _reason(error: OSError) -> str:
    """Return the reason in lower case, because it continues a sentence."""
    return error.strerror[:1].lower() + error.strerror[1:] if error.strerror else str(error)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn every OSError inside the `with` block into a one-line StorageError.

    Raises:
        StorageError: a file could not be written, for example because permission or disk space is missing.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"Cannot write {error.filename or path}: {_reason(error)}.") from None


def temporary_path(path: Path) -> Path:
    """Return the path of the new content of a file until it is complete."""
    return path.with_name(path.name + ".new")


@contextmanager
def naming_target(path: Path) -> Iterator[None]:
    """Turn every OSError about the temporary file of `path` into one about `path`, the only name that the user knows.

    Raises:
        OSError: with the same number and reason.
    """
    try:
        yield
    except OSError as error:
        if error.filename != str(temporary_path(path)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def replace_file(path: Path, pieces: Iterable[bytes], disk: Disk = REAL_DISK) -> None:
    """Replace a file atomically: after a crash it holds either the old or the new content, never a mixture."""
    new = temporary_path(path)
    with naming_target(path):
        fd = disk.create(new)
        try:
            for piece in pieces:
                write_all(disk, fd, piece)
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.replace(new, path)
        disk.sync_folder(path.parent)

"""A link that also carries the segment of a worker, if the driver does not see the worker's files.

Each message of the worker is preceded by what was added to the segment before. Messages arrive in order and once
(`actor_link.py`), so the driver has the rows that a report mentions when it reads the report.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from manycall.cluster.link import Link
from manycall.store.atomic_write import storage_errors
from manycall.store.segment_folder import segment_path
from manycall.store.segment_mirror import FilePiece, SegmentFeed, SegmentMirror

MARK = b"\xc1"
"""First byte of a piece. No MessagePack value begins with it (github.com/msgpack/msgpack/blob/master/spec.md)."""
_decode = msgspec.msgpack.Decoder(FilePiece).decode


FolderMark = tuple[int, int, int]


def mark_of(run_folder: Path, number: int) -> FolderMark | None:
    """Return what identifies a run folder on all machines that share its file system; None if it is not there.

    It is the inode, the time and the size of the folder of the worker's segment, which the driver creates and only the
    worker changes. So not even a copy of the disk has the same.
    """
    try:
        status = segment_path(run_folder, number).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@contextmanager
def segment_place(
    link: Link, run_folder: Path, number: int, mark: FolderMark | None, *, is_local: bool = False
) -> Iterator[tuple[Path, Link]]:
    """Return where a worker writes its segment: the run folder, or a temporary folder whose files the link carries.

    Args:
        mark: the driver's mark of the run folder.
        is_local: the worker runs on the driver's machine. Its link carries no files.
    """
    is_same = mark is not None and mark == mark_of(run_folder, number)
    if is_local or (is_same and os.access(run_folder, os.W_OK)):
        yield run_folder, link
        return
    with TemporaryDirectory(prefix="manycall-") as name:
        yield Path(name), SendingLink(link, SegmentFeed(segment_path(Path(name), number)))


class SendingLink:
    """The worker's end.

    Args:
        link: carries the messages.
        feed: what was added to the segment.
    """

    def __init__(self, link: Link, feed: SegmentFeed) -> None:
        self._link, self._feed = link, feed

    async def receive(self) -> bytes | None:
        """Return the next message of the driver, or None if it is gone."""
        return await self._link.receive()

    def send(self, message: bytes) -> None:
        """Send what was added to the segment, and then the message."""
        while pieces := self._feed.next_pieces():
            for piece in pieces:
                self._link.send(MARK + msgspec.msgpack.encode(piece))
        self._link.send(message)

    def close(self) -> None:
        """End the link."""
        self._link.close()


class MirroringLink:
    """The driver's end, which writes the segment.

    Args:
        link: carries the messages.
        run_folder: the run folder.
        number: number of the segment.
    """

    def __init__(self, link: Link, run_folder: Path, number: int) -> None:
        self._link, self._run_folder, self._number = link, run_folder, number
        self._mirror: SegmentMirror | None = None

    async def receive(self) -> bytes | None:
        """Return the next message of the worker, or None if it is gone. The segment has what came before it.

        Raises:
            StorageError: the segment cannot be written.
        """
        while (message := await self._link.receive()) is not None and message.startswith(MARK):
            if self._mirror is None:
                with storage_errors(self._run_folder):
                    self._mirror = SegmentMirror(self._run_folder, self._number)
            self._mirror.write(_decode(message[len(MARK) :]))
        return message

    def send(self, message: bytes) -> None:
        """Send a message to the worker."""
        self._link.send(message)

    def close(self) -> None:
        """End the link."""
        self._link.close()
        if self._mirror is not None:
            self._mirror.close()

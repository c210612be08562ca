"""A segment whose worker does not share a disk with the driver: the worker sends its files, the driver writes a copy.

Files travel in pieces: (name, offset, bytes). The driver writes only what follows the bytes that it has, so a piece may
arrive more than once. Messages are numbered and repeated until they arrive (cluster/message_queues.py).
"""

from pathlib import Path
from typing import NamedTuple

from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import storage_errors
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.segment_folder import CALLS, FAILURES, REJECTED, ROWS, make_folder, segment_path, segments_folder

SENT_FILES = (CALLS, ROWS, REJECTED, FAILURES)
"""The calls come first, so that the driver has the call of each row that it has."""
PIECE_BYTES = 1 << 20
"""Default size of the pieces that are sent together."""


class FilePiece(NamedTuple):
    """Some bytes of a file of a segment.

    Attributes:
        name: name of the file.
        offset: offset of the first byte.
        data: the bytes.
    """

    name: str
    offset: int
    data: bytes


class SegmentFeed:
    """What was not yet sent to the driver of a worker's segment.

    Args:
        segment: the folder of the segment, on the worker's disk.
    """

    def __init__(self, segment: Path, disk: Disk = REAL_DISK) -> None:
        self._segment, self._disk = segment, disk
        self._sent = dict.fromkeys(SENT_FILES, 0)

    def __repr__(self) -> str:
        return f"<SegmentFeed {self._sent}>"

    def next_pieces(self, max_bytes: int = PIECE_BYTES) -> list[FilePiece]:
        """Return the next bytes of each file, of all files together at most `max_bytes`; none if all were returned.

        Raises:
            StorageError: a file cannot be read.
        """
        ends = {name: self._size(name) for name in reversed(SENT_FILES)}  # the calls last: each row has its call
        pieces = []
        for name in SENT_FILES:
            data = self._read(name, min(max_bytes, ends[name] - self._sent[name]))
            if data:
                pieces.append(FilePiece(name, self._sent[name], data))
                self._sent[name] += len(data)
                max_bytes -= len(data)
            if self._sent[name] < ends[name]:
                break
        return pieces

    def _size(self, name: str) -> int:
        path = self._segment / name
        if not self._disk.exists(path):
            return 0
        with storage_errors(path), self._disk.open_for_reading(path) as file:
            return file.seek(0, 2)

    def _read(self, name: str, size: int) -> bytes:
        if size <= 0:
            return b""
        path = self._segment / name
        with storage_errors(path), self._disk.open_for_reading(path) as file:
            file.seek(self._sent[name])
            return file.read(size)


class SegmentMirror:
    """The driver's copy of a segment.

    Args:
        run_folder: the run folder.
        number: the number of the segment.

    Raises:
        OSError: the folder cannot be created.
    """

    def __init__(self, run_folder: Path, number: int, disk: Disk = REAL_DISK) -> None:
        segment = segment_path(run_folder, number)
        make_folder(segments_folder(run_folder), disk)
        make_folder(segment, disk)
        self._files = {name: AppendLog(segment / name, disk) for name in SENT_FILES}
        disk.sync_folder(segment)

    def __repr__(self) -> str:
        return f"<SegmentMirror { ({name: file.end for name, file in self._files.items()}) }>"

    def write(self, piece: FilePiece) -> None:
        """Append what is new in a piece. A piece that does not follow what was written is left out.

        Raises:
            StorageError: it could not be written.
        """
        file = self._files.get(piece.name)
        if file is not None and 0 <= (known := file.end - piece.offset) < len(piece.data):
            file.append(piece.data[known:])

    def close(self) -> None:
        """Sync and close the files.

        Raises:
            StorageError: a sync failed.
        """
        for file in self._files.values():
            file.close()

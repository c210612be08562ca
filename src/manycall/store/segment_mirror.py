"""Copy a segment from the disk of a worker to that of the driver, if the two share no file system.

The worker sends what it adds to its files, and the driver appends it to files of the same names in the run folder. From
then on, it is a segment like any other.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from manycall.errors import CorruptFile
from manycall.store.atomic_write import storage_errors
from manycall.store.disk import REAL_DISK, Disk, write_all
from manycall.store.segment_folder import MIRRORED_FILES, make_folder, segment_path

PIECE_BYTES = 4 << 20


class SegmentPiece(NamedTuple):
    """Whole lines of a file of a segment.

    Attributes:
        file: name of the file.
        offset: where they begin in it.
    """

    file: str
    offset: int
    content: bytes


class SegmentGrowth:
    """What is added to a segment, for the process that writes it.

    Args:
        run_folder: the folder that was given to `Segment`.
        number: number of the segment.
    """

    def __init__(self, run_folder: Path, number: int, disk: Disk = REAL_DISK) -> None:
        self._folder, self._disk = segment_path(run_folder, number), disk
        self._read = dict.fromkeys(MIRRORED_FILES, 0)

    def __repr__(self) -> str:
        return f"<SegmentGrowth of {self._folder.name}, {sum(self._read.values())} bytes read>"

    def pieces(self) -> Iterator[SegmentPiece]:
        """Yield what was added since the last time. A finished row never comes before its calls.

        Raises:
            OSError: a file cannot be read.
        """
        sizes = {name: self._size(name) for name in reversed(MIRRORED_FILES)}  # the journal last: it has more
        for name in MIRRORED_FILES:
            while content := self._whole_lines(name, sizes[name]):
                piece = SegmentPiece(name, self._read[name], content)
                self._read[name] += len(content)
                yield piece

    def _size(self, name: str) -> int:
        path = self._folder / name
        return path.stat().st_size if self._disk.exists(path) else 0

    def _whole_lines(self, name: str, size: int) -> bytes:
        """Return the next lines, some `PIECE_BYTES` long, or the next line if it is longer."""
        offset, length = self._read[name], PIECE_BYTES
        if offset >= size:
            return b""
        with self._disk.open_for_reading(self._folder / name) as file:
            while True:
                file.seek(offset)
                content = file.read(min(length, size - offset))
                if (end := content.rfind(b"\n") + 1) or offset + length >= size:
                    return content[:end]
                length *= 2


class SegmentMirror:
    """The copy of a segment, in the run folder of the driver.

    Args:
        run_folder: the run folder.
        number: number of the segment.

    Raises:
        StorageError: a file cannot be created.
    """

    def __init__(self, run_folder: Path, number: int, disk: Disk = REAL_DISK) -> None:
        self._folder, self._disk = segment_path(run_folder, number), disk
        with storage_errors(run_folder):
            make_folder(self._folder, disk)
            self._files = {name: disk.open(self._folder / name) for name in MIRRORED_FILES}
        self._sizes = {name: disk.size(fd) for name, fd in self._files.items()}

    def __repr__(self) -> str:
        return f"<SegmentMirror {self._folder.name}, {sum(self._sizes.values())} bytes>"

    def write(self, piece: SegmentPiece) -> None:
        """Append a piece, or what is new in it. A piece whose beginning is missing is left out: it comes again.

        Raises:
            CorruptFile: a segment has no such file.
            StorageError: the piece cannot be written.
        """
        if piece.file not in self._files:
            raise CorruptFile(f"A worker has sent lines for {piece.file[:40]!r}, which is not a file of a segment.")
        size = self._sizes[piece.file]
        if piece.offset <= size < piece.offset + len(piece.content):
            new = piece.content[size - piece.offset :]
            with storage_errors(self._folder / piece.file):
                write_all(self._disk, self._files[piece.file], new)
            self._sizes[piece.file] += len(new)

    def close(self) -> None:
        """Close the files."""
        for fd in self._files.values():
            self._disk.close(fd)
        self._files.clear()

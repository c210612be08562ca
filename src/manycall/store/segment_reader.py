"""Read what a worker adds to the files of its segment."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from manycall.ids import HasId, decode_row_id
from manycall.records import FailureKind
from manycall.store.disk import Disk
from manycall.store.jsonl import decode_lines
from manycall.store.row_layout import RowLayout
from manycall.store.row_store import EncodedRow
from manycall.store.segment_folder import FAILURES, REJECTED, ROWS

T = TypeVar("T")


class FailedRow(HasId):
    """A line of failures.jsonl."""

    kind: FailureKind
    error: str


decode_failed_row = msgspec.json.Decoder(FailedRow).decode


class GrowingFile(Generic[T]):
    """The new whole lines of a file that another process appends to.

    Args:
        path: the file, which may not exist yet.
        decode: decodes a line.
        out: the output that the file belongs to, for the message about damage.
    """

    def __init__(self, path: Path, decode: Callable[[bytes], T], out: Path, disk: Disk) -> None:
        self._path, self._decode, self._out, self._disk = path, decode, out, disk
        self._offset = 0

    def __repr__(self) -> str:
        return f"<GrowingFile {self._path.name}, {self._offset} bytes read>"

    def read(self) -> Iterator[tuple[bytes, T]]:
        """Yield (line, decoded line) for each new line.

        Raises:
            CorruptFile: a line cannot be decoded.
        """
        for offset, line, decoded in decode_lines(self._path, self._decode, self._out, self._disk, self._offset):
            if not line.endswith(b"\n"):  # it is being written
                return
            self._offset = offset + len(line)
            yield line, decoded


class SegmentReader:
    """What a worker adds to its segment. Each iterator ends at what was added last, and can be asked for again.

    Args:
        segment: the folder of the segment.
        layout: the line format of the finished rows.
        out: the output.

    Attributes:
        rejected: the lines of rejected rows, and their ids.
        failed: the lines of failed rows, and what is in them.
    """

    def __init__(self, segment: Path, layout: RowLayout, out: Path, disk: Disk) -> None:
        self._lines = GrowingFile(segment / ROWS, layout.identify, out, disk)
        self.rejected = GrowingFile(segment / REJECTED, decode_row_id, out, disk)
        self.failed = GrowingFile(segment / FAILURES, decode_failed_row, out, disk)
        self._parts: dict[str, list[bytes]] = {}

    def __repr__(self) -> str:
        return f"<SegmentReader {self._lines!r}>"

    def rows(self) -> Iterator[EncodedRow]:
        """Yield finished rows. A row of several lines is finished when all of them are there.

        Raises:
            CorruptFile: a line cannot be decoded.
        """
        for line, (row_id, count) in self._lines.read():
            if count == 1:
                yield row_id, [line]
                continue
            parts = self._parts.setdefault(row_id, [])
            parts.append(line)
            if len(parts) == count:
                yield row_id, self._parts.pop(row_id)

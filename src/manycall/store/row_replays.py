"""The journaled calls of the rows that are not done, by row, so that they can be sent to a worker with their row."""

from collections.abc import Callable
from pathlib import Path

from manycall.records import DECODE_ERRORS
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.journal import Journal
from manycall.store.journal_line import SentCall, decode_key, decode_sent
from manycall.store.jsonl import corrupt_file, decode_lines
from manycall.store.offset_index import OffsetIndex


class RowReplays:
    """Finds the calls of a row in the journal of a run.

    Args:
        is_done: returns whether a row is done, so that its calls are not needed.
        out: the output, which an error message about damage names.
    """

    def __init__(self, journal: Journal, is_done: Callable[[str], bool], out: Path, disk: Disk = REAL_DISK) -> None:
        self._file, self._is_done, self._out, self._disk = journal.file, is_done, out, disk
        self._index: OffsetIndex | None = None
        self._read_to = 0 if journal.has_replays else journal.file.end
        self.update()

    def __repr__(self) -> str:
        return f"<RowReplays of {self._file!r}>"

    def update(self) -> set[str]:
        """Read what was added to the journal. Return the rows of these calls that are not done.

        Raises:
            CorruptFile: a line cannot be decoded.
        """
        row_ids = set[str]()
        for offset, _, call in decode_lines(self._file.path, decode_key, self._out, self._disk, self._read_to):
            if not self._is_done(call.id):
                if self._index is None:
                    self._index = OffsetIndex()
                self._index.add(call.id, offset)
                row_ids.add(call.id)
        self._read_to = self._file.end
        return row_ids

    def find(self, row_id: str) -> list[SentCall]:
        """Return the calls of a row, of several equal ones the last.

        Raises:
            CorruptFile: a call cannot be decoded.
        """
        if self._index is None:
            return []
        calls: dict[tuple[str, int], SentCall] = {}
        for offset in self._index.get_all(row_id):
            try:
                name, call = decode_sent(self._file.read_at(offset))
            except DECODE_ERRORS as error:
                raise corrupt_file(self._file.path, offset, error, self._out) from None
            if name == row_id:  # the index may confuse two ids
                calls[call.key, call.occurrence] = call
        return [*calls.values()]

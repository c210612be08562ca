"""The journaled calls of the rows that are not done, by row, so that they can be sent to a worker with their row."""

from collections.abc import Callable
from pathlib import Path

from manycall.store.disk import REAL_DISK, Disk
from manycall.store.journal import Journal, decode_key, decode_response
from manycall.store.jsonl import decode_lines
from manycall.store.segments import SentCall


class RowReplays:
    """Finds the calls of a row in the journal of a run.

    Args:
        is_done: returns whether a row is done, so that its calls are not needed.
        out: the output, which an error message about damage names.
    """

    def __init__(self, journal: Journal, is_done: Callable[[str], bool], out: Path, disk: Disk = REAL_DISK) -> None:
        self._file, self._is_done, self._out, self._disk = journal.file, is_done, out, disk
        self._offsets: dict[str, list[int]] = {}
        self._read_to = 0 if journal.has_replays else journal.file.end
        self.update()

    def __repr__(self) -> str:
        return f"<RowReplays of {len(self._offsets)} rows>"

    def update(self) -> None:
        """Read what was added to the journal.

        Raises:
            CorruptFile: a line cannot be decoded.
        """
        for offset, _, call in decode_lines(self._file.path, decode_key, self._out, self._disk, self._read_to):
            if not self._is_done(call.id):
                self._offsets.setdefault(call.id, []).append(offset)
        self._read_to = self._file.end

    def find(self, row_id: str) -> list[SentCall]:
        """Return the calls of a row, of several equal ones the last."""
        if not self._offsets:
            return []
        calls: dict[tuple[str, int], SentCall] = {}
        for offset in self._offsets.get(row_id, ()):
            line = self._file.read_at(offset)
            key = decode_key(line)
            calls[key.key, key.occurrence] = SentCall(key.key, key.occurrence, decode_response(line))
        return [*calls.values()]

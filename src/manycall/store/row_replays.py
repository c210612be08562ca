"""The journaled calls of rows that are not done, by row. The driver sends them to a worker together with the row."""

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from manycall.records import DECODE_ERRORS
from manycall.store.disk import Disk
from manycall.store.journal import Journal
from manycall.store.journal_line import SentCall, decode_key, decode_sent
from manycall.store.jsonl import corrupt_file, decode_lines
from manycall.store.offset_index import OffsetIndex
from manycall.store.segment_folder import CALLS, segment_path


class RowReplays:
    """The calls of earlier sessions, and those of workers that have lost their rows.

    Args:
        run_folder: the run folder.
        journal: the calls of earlier sessions.
        out: the output, which an error message about damage names.
    """

    def __init__(self, run_folder: Path, journal: Journal, out: Path, disk: Disk) -> None:
        self._folder, self._journal, self._out, self._disk = run_folder, journal, out, disk
        self._lost: dict[str, list[tuple[int, int]]] = {}

    def __repr__(self) -> str:
        return f"<RowReplays of {self._journal!r}, {len(self._lost)} rows lost by workers>"

    @cached_property
    def _index(self) -> OffsetIndex:
        """The offsets of the calls of each row in calls.jsonl. Reads the journal once."""
        index = OffsetIndex()
        for row_id, offset in self._journal.replayable_calls():
            index.add(row_id, offset)
        return index

    def calls(self, row_id: str) -> list[SentCall]:
        """Return the journaled calls of a row that is about to be sent to a worker.

        Raises:
            CorruptFile: a call cannot be decoded.
        """
        earlier = self._index.get_all(row_id) if self._journal.has_replays else []
        found = [self._decode(self._journal.file.path, at, self._journal.file.read_at(at)) for at in earlier]
        for number, offset in self._lost.get(row_id, ()):
            path = segment_path(self._folder, number) / CALLS
            with self._disk.open_for_reading(path) as file:
                file.seek(offset)
                found.append(self._decode(path, offset, file.readline()))
        return [call for name, call in found if name == row_id]  # the index may confuse two ids

    def _decode(self, path: Path, offset: int, line: bytes) -> tuple[str, SentCall]:
        try:
            return decode_sent(line)
        except DECODE_ERRORS as error:
            raise corrupt_file(path, offset, error, self._out) from None

    def add_lost(self, number: int, row_ids: Collection[str]) -> None:
        """Find the calls of rows that a worker was given and has not finished. Reads the journal of its segment.

        Raises:
            CorruptFile: a line cannot be decoded.
        """
        wanted = frozenset(row_ids)
        path = segment_path(self._folder, number) / CALLS
        for offset, _, call in decode_lines(path, decode_key, self._out, self._disk):
            if call.id in wanted:
                self._lost.setdefault(call.id, []).append((number, offset))

"""The journal: the raw response of every completed call, written before it is decoded.

A billed response therefore survives a bug in a decoder, an exception and a kill. The next session replays it, without a
new call, for the same row and a request of the same bytes. If a row sends one request several times, its calls are
numbered in the order in which they start: two identical requests are two samples, and each gets its own response. A
row's other calls do not affect this number, so concurrent calls may complete in any order.

Lines that could not be written, or are not synced yet, are kept in memory. If the file fails, `close` writes them to
rescued.jsonl, and the next session imports that file.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from manycall.errors import StorageError
from manycall.records import DECODE_ERRORS
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.journal_line import (
    CallKey,
    JournaledCall,
    StoredCall,
    body_text,
    decode_journaled,
    decode_key,
    decode_response,
    encode_calls,
    lookup_key,
)
from manycall.store.jsonl import corrupt_file, decode_lines, read_lines
from manycall.store.unfinished_rows import UnfinishedRows

RESCUED = "rescued.jsonl"


class Journal:
    """The completed calls of one output.

    Args:
        path: the file; created if it does not exist.
        is_done: returns whether the row with this id is done. The calls of such a row are not loaded for replay.
        out: the output, which an error message about damage names.
        unfinished: the rows that are not done, to which their calls are added.
        read_to, kept_calls: the calls before the offset `read_to` are not read, except those at the offsets
            `kept_calls`, because their rows are done.
        disk: the operating-system calls.
        on_sync_needed: called when the file should be synced early (see AppendLog).

    Attributes:
        file: the open file.
        is_saved: the file is closed, and every call is in it and was synced.

    Raises:
        CorruptFile: a line in the middle of the file cannot be decoded.
    """

    def __init__(
        self,
        path: Path,
        is_done: Callable[[str], bool],
        *,
        out: Path | None = None,
        unfinished: UnfinishedRows | None = None,
        read_to: int = 0,
        kept_calls: Iterable[int] = (),
        disk: Disk = REAL_DISK,
        on_sync_needed: Callable[[], None] = lambda: None,
    ) -> None:
        self._disk, self._out = disk, out
        self._rescued = path.with_name(RESCUED)
        self.file = AppendLog(path, disk, on_sync_needed)
        import_rescued(self.file, disk)
        self._unsynced: list[bytes] = []
        self._unwritten: list[bytes] = []
        self._synced = self.file.count
        self.is_saved = False
        self._count_before = self.file.count
        self._offsets: dict[bytes, int] = {}
        self._unfinished = UnfinishedRows() if unfinished is None else unfinished
        self._is_done = is_done
        self._add_replays((offset, self._key_at(offset)) for offset in kept_calls)
        self.read_from(read_to)

    def __repr__(self) -> str:
        return f"<Journal {self.file.path.name}, {len(self._offsets)} calls to replay>"

    @property
    def appended(self) -> int:
        """Number of calls that `append` has written."""
        return self.file.count - self._count_before

    def read_from(self, start: int) -> None:
        """Read the calls from this offset on, to replay those whose rows are not done.

        Raises:
            CorruptFile: a line cannot be decoded.
        """
        lines = decode_lines(self.file.path, decode_key, self._out, self._disk, start)
        self._add_replays((offset, call) for offset, _, call in lines)

    def _add_replays(self, calls: Iterable[tuple[int, CallKey]]) -> None:
        for offset, call in calls:
            if not self._is_done(call.id):
                self._offsets[lookup_key(call.id, call.key, call.occurrence)] = offset
                self._unfinished.record_call(call.id, offset)

    def append(
        self,
        row_id: str,
        key: str,
        occurrence: int,
        body: bytes,
        at: float,
        seconds: float,
        ttft: float | None = None,
        endpoint: str = "",
        model: str = "",
        earlier_statuses: tuple[int, ...] = (),
        waited: float | None = None,
    ) -> None:  # fmt: skip
        """Write one completed call.

        Args:
            key: `request_hash` of the request.
            occurrence: number of the call among the row's identical requests, from 1.
            at: time of completion, in seconds since 1970.
            seconds: duration of the call.
            ttft: seconds until the first event of a stream; None if the response was not streamed.
            endpoint, model: see `JournaledCall`.
            earlier_statuses: the statuses of the call's failed attempts before this one; 0 for one without a response.
            waited: seconds that the call waited between its attempts; None if there was only one.

        Raises:
            StorageError: the line could not be written. It is kept, and `close` writes it to rescued.jsonl.
        """
        attempts = 1 + len(earlier_statuses)
        try:
            text, encoded = body_text(body), ""
        except UnicodeDecodeError:
            text, encoded = "", b64encode(body).decode()
        call = StoredCall(
            row_id, key, occurrence, at, seconds, ttft, endpoint, model, attempts, waited, earlier_statuses,
            text, encoded,
        )  # fmt: skip
        line, offset = encode_calls([call]), self.file.end
        try:
            self.file.append(line)
        except StorageError:
            self._unwritten.append(line)
            raise
        self._unsynced.append(line)
        self._unfinished.record_call(row_id, offset)

    def synced(self, mark: int) -> None:
        """Record that the lines before this mark (AppendLog.sync_mark) would survive a power cut."""
        del self._unsynced[: mark - self._synced]
        self._synced = mark

    def close(self) -> int:
        """Sync and close the file. If this fails, write the unsaved calls to rescued.jsonl.

        Returns:
            The number of calls that could not be saved in either file.
        """
        try:
            self.file.close()
            self._unsynced.clear()
            self.is_saved = not self._unwritten
        except StorageError:
            pass  # the unsynced lines are still in the list
        unsaved = self._unsynced + self._unwritten
        try:
            if unsaved:
                replace_file(self._rescued, unsaved, self._disk)
        except OSError:
            return len(unsaved)
        return 0

    def calls(self, start: int = 0) -> Iterator[JournaledCall]:
        """Yield every stored call, oldest first, including those of finished rows and of killed sessions.

        Args:
            start: offset of the first one.
        """
        return (call for _, _, call in decode_lines(self.file.path, decode_journaled, self._out, self._disk, start))

    @property
    def has_replays(self) -> bool:
        """Whether a call may be answered from the journal."""
        return bool(self._offsets)

    def replay(self, row_id: str, key: str, occurrence: int) -> bytes | None:
        """Return the stored response of this call, and forget it. None if there is none."""
        if not self._offsets:
            return None
        offset = self._offsets.pop(lookup_key(row_id, key, occurrence), None)
        if offset is None:
            return None
        return self._body(offset, self.file.read_at(offset))

    def _key_at(self, offset: int) -> CallKey:
        try:
            return decode_key(self.file.read_at(offset))
        except DECODE_ERRORS as error:
            raise corrupt_file(self.file.path, offset, error, self._out) from None

    def _body(self, offset: int, line: bytes) -> bytes:
        try:
            return decode_response(line)
        except DECODE_ERRORS as error:
            raise corrupt_file(self.file.path, offset, error, self._out) from None


def import_rescued(journal: AppendLog, disk: Disk) -> None:
    """Append the calls in the rescued.jsonl next to a journal to it, then delete that file.

    A crash in between leaves both, and the next session imports them again. This is safe, because of several lines for
    one call the last one is replayed.
    """
    path = journal.path.with_name(RESCUED)
    rescued = [line for _, line in read_lines(path, disk)]
    if rescued:
        for line in rescued:
            journal.append(line.rstrip(b"\n") + b"\n")  # an editor may have removed the last newline
        journal.sync()
        disk.remove(path)

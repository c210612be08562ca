"""When resume.cache is written: at the end of a session, and now and then while it runs."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import temporary_path
from manycall.store.disk import Disk
from manycall.store.done_rows import DoneRows
from manycall.store.resume_cache import (
    CACHE,
    CachedFiles,
    CachedUsage,
    CacheRecord,
    FileMark,
)
from manycall.store.unfinished_rows import UnfinishedRows

SECONDS_BETWEEN_WRITES = 60.0
GROWTH_BETWEEN_WRITES = 1 / 16
"""While a session runs, the output must have grown by this share since the last write. So all writes of a run together
are at most 17 times as long as the last one."""

MAX_WAITS_FOR_USAGE = 3
"""A snapshot without the tokens of all responses is put off until the next second this often. For a moment, a response
may be journaled and not counted yet. While other processes make the calls, their tokens are never known."""


class SessionProgress(NamedTuple):
    """Figures of the session that are not in its files.

    Attributes:
        usage: tokens of all responses in the journal; None if they are not known.
        source: what the next session should know of the input; None if nothing.
    """

    usage: CachedUsage | None = None
    source: dict[str, Any] | None = None


class Snapshot(NamedTuple):
    """The state of a run at one moment. It may be written when everything before that moment is synced.

    Attributes:
        record: its marks are lengths without hashes.
        table: returns the pieces of the table of ids.
    """

    record: CacheRecord
    table: Callable[[], Iterable[bytes]]


class CacheWriter:
    """Writes the cache of one run folder.

    Args:
        files: where it is written, and what it describes.
        rows, rejected, journal: the open files.
        done: the done rows.
        unfinished: the other rows.
        progress: returns what the session knows.
        min_rows: fewer done rows are not worth a cache.
    """

    def __init__(
        self,
        files: CachedFiles,
        rows: AppendLog,
        rejected: AppendLog,
        journal: AppendLog,
        done: DoneRows,
        unfinished: UnfinishedRows,
        progress: Callable[[], SessionProgress],
        min_rows: int,
        disk: Disk,
    ) -> None:
        self._files, self._rows, self._rejected, self._journal = files, rows, rejected, journal
        self._done, self._unfinished, self._progress, self._disk = done, unfinished, progress, disk
        self._min_rows = min_rows
        self._next_at, self._next_size = -1.0, 0.0
        self._waits_for_usage = 0

    def __repr__(self) -> str:
        return f"<CacheWriter {self._files.folder.name}>"

    def snapshot_if_due(self, now: float) -> Snapshot | None:
        """Return the state of the run if it should be written now, while the session goes on; None if not."""
        if self._next_at < 0:
            self._put_off(now)
        if now < self._next_at or self._rows.end < self._next_size or (snapshot := self.snapshot()) is None:
            return None
        if snapshot.record.usage is None and self._waits_for_usage < MAX_WAITS_FOR_USAGE:
            self._waits_for_usage += 1
            return None
        self._put_off(now)
        return snapshot

    def _put_off(self, now: float) -> None:
        """Let the next snapshot be due when time has passed and the output has grown."""
        self._next_at, self._next_size = now + SECONDS_BETWEEN_WRITES, self._rows.end * (1 + GROWTH_BETWEEN_WRITES)
        self._waits_for_usage = 0

    def snapshot(self, *, is_final: bool = False) -> Snapshot | None:
        """Return the state of the run; None if it has so few rows that they are read quickly.

        Args:
            is_final: the run does not change any more, so the ids need not be copied: 12 bytes per row.
        """
        done, unfinished = self._done, self._unfinished
        if len(done.ids) < self._min_rows:
            return None
        usage, source = self._progress()
        read_to = self._journal.end if unfinished.first_call is None else unfinished.first_call
        record = CacheRecord(
            layout=self._files.layout, truncation_marks=self._files.truncation_marks,
            output=FileMark(self._rows.end), rejected=FileMark(self._rejected.end), journal=FileMark(read_to),
            truncated=done.truncated, rejected_rows=done.rejected, output_rows=done.output_rows,
            unfinished_calls=unfinished.calls_before(read_to),
            usage=usage if read_to == self._journal.end else None, source=source,
        )  # fmt: skip
        if is_final:
            return Snapshot(record, done.ids.pieces)
        copy = done.ids.dump()
        return Snapshot(record, lambda: (copy,))

    def write(self, snapshot: Snapshot | None) -> None:
        """Write a snapshot, if there is one. Slow: call it from a thread.

        An error is ignored: the next session then reads all lines.
        """
        if snapshot is None:
            return
        try:
            self._files.write(snapshot.record, snapshot.table, self._disk)
        except OSError:
            with suppress(OSError):
                self._disk.remove(temporary_path(self._files.folder / CACHE))

"""The segment of a worker process: the only files that it writes.

A run with several processes has one driver, which writes the output, and workers, which make the calls. Each worker
writes rows, rejected rows, failures and the journal into its own folder. The driver merges the rows into the
output while the run goes on (store/segment_merge.py), and folds the journals into calls.jsonl when it ends
(store/segment_fold.py). If the run is killed, the next session of any kind does both when it opens the run folder.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from manycall.errors import OutputLocked
from manycall.records import Failure
from manycall.store.disk import REAL_DISK, Disk, write_all
from manycall.store.done_rows import DoneRows
from manycall.store.journal import Journal
from manycall.store.journal_line import SentCall
from manycall.store.lock_holder import this_process
from manycall.store.row_layout import PlainLayout, RowLayout
from manycall.store.row_store import RowStore
from manycall.store.segment_folder import CALLS, FAILURES, LOCK, REJECTED, ROWS, segment_path


class SegmentJournal(Journal):
    """The journal of a segment. It answers calls that came with a row, and does not write them again."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sent: dict[str, dict[tuple[str, int], bytes]] = {}

    def add_replays(self, row_id: str, calls: Iterable[SentCall]) -> None:
        """Keep the calls that came with a row until `forget`."""
        if found := {(call.key, call.occurrence): call.body for call in calls}:
            self._sent[row_id] = found

    def forget(self, row_id: str) -> None:
        """Forget the calls that came with a row, because it has ended."""
        self._sent.pop(row_id, None)

    @property
    def has_replays(self) -> bool:
        """Whether a call may be answered from what came with the rows."""
        return bool(self._sent)

    def replay(self, row_id: str, key: str, occurrence: int) -> bytes | None:
        """Return the response of a call that came with its row, and forget it. None if it did not."""
        sent = self._sent.get(row_id)
        return None if sent is None else sent.pop((key, occurrence), None)


class Segment(RowStore):
    """The files of one worker, open for writing.

    Args:
        run_folder: the run folder; for a worker without a shared disk, a folder on its own disk.
        number: the number of the segment, which is used once (`take_number`).
        layout: the line format of the finished rows.
        truncation_marks: bytes of which the lines of a truncated row have one; () if they cannot be recognized.
        disk: replaced by a fake in tests.

    Attributes:
        journal: its calls, and those that came with the rows.

    Raises:
        OutputLocked: another process writes this segment.
        OSError: a file cannot be created.
    """

    journal: SegmentJournal

    def __init__(
        self,
        run_folder: Path,
        number: int,
        *,
        layout: RowLayout | None = None,
        truncation_marks: tuple[bytes, ...] = (),
        disk: Disk = REAL_DISK,
    ) -> None:
        folder = segment_path(run_folder, number)
        super().__init__(folder, layout or PlainLayout(), disk)
        self.number = number
        disk.make_folder(folder)
        disk.sync_folder(folder.parent)
        self._lock_fd = disk.open(folder / LOCK)
        try:
            self._lock()
            self._open(folder, truncation_marks)
        except BaseException:
            disk.close(self._lock_fd)
            raise

    def __repr__(self) -> str:
        return f"<Segment {self.number}, {len(self.ids)} rows done>"

    def _lock(self) -> None:
        if not self._disk.lock(self._lock_fd):
            raise OutputLocked(f"{self.folder} is locked by another process. It is the segment of one worker only.")
        self._disk.truncate(self._lock_fd, 0)
        with suppress(OSError):  # the lock is effective even if a full disk prevents this
            write_all(self._disk, self._lock_fd, this_process())

    def _open(self, folder: Path, truncation_marks: tuple[bytes, ...]) -> None:
        rows, rejected = folder / ROWS, folder / REJECTED
        for path in (rows, rejected):
            self._file(path).close()
        done = DoneRows(
            rows, rejected, self._layout, out=folder, truncation_marks=truncation_marks, retries_truncated=False,
            expected=0, cache=None, disk=self._disk,
        )  # fmt: skip
        self._open_rows(rows, rejected, done)
        self.journal = SegmentJournal(
            folder / CALLS, self.ids.is_done, out=folder, unfinished=self.unfinished, disk=self._disk,
            on_sync_needed=self.sync_needed.set,
        )  # fmt: skip
        self._open_failures(folder / FAILURES, folder)
        self._count_done()
        self._reserve_space()
        self._disk.sync_folder(folder)

    def add_replays(self, row_id: str, calls: Iterable[SentCall]) -> None:
        """Add the journaled calls that came with a row. They are forgotten when the row has ended."""
        self.journal.add_replays(row_id, calls)

    def write_failed(self, failed: Failure) -> None:
        """Write a failed row to failures.jsonl, and forget the calls that came with it.

        Raises:
            StorageError: the line could not be written.
        """
        super().write_failed(failed)
        self.journal.forget(failed.row.id)

    def _mark_done(self, row_id: str) -> None:
        super()._mark_done(row_id)
        self.journal.forget(row_id)

    def close(self) -> None:
        """Sync and close all files and release the lock. The driver merges and removes them.

        Raises:
            StorageError: a file could not be saved; the message says how many calls are lost, if any are.
        """
        files = (self._rows, self._rejected_rows, self.failures.file, self._timeline)
        errors = self._close_files([self._free_space], *(file.close for file in files))
        self._disk.close(self._lock_fd)
        if errors:
            raise errors[0]

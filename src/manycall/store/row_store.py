"""The open files to which a session writes its rows and calls: those of a run, or those of one worker's segment.

Written lines survive the end of the process; synced lines survive a power cut. All files are synced at least once a
second, and after 1,000 lines or 8 MiB (group commit). `rows_synced` counts the synced rows.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from manycall.errors import RowRejected, StorageError
from manycall.records import Failure, Row, Success
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import write_error
from manycall.store.disk import Disk
from manycall.store.done_rows import DoneRows
from manycall.store.failures import FailureLog
from manycall.store.journal import Journal
from manycall.store.row_layout import RowLayout, encode_lines, row_line
from manycall.store.unfinished_rows import UnfinishedRows

RESERVED_BYTES = 4 << 20
"""Disk space that is reserved during a run, so that calls in flight can be saved when the disk is full."""
EncodedRow = tuple[str, list[bytes]]
"""The id of a finished row, and its lines."""


class RowStore:
    """What a scheduler needs of the files of its session. A subclass opens and closes them.

    Args:
        folder: the folder of the journal and the timeline.
        layout: the line format of the finished rows.

    Attributes:
        encode_row: returns the lines of a finished row (`RowLayout.encode`).
        ids: ids of the done rows, including the rejected ones.
        done_before: number of done rows when the files were opened, including the rejected ones.
        unfinished: the rows that were read from the input, or have calls in the journal, and are not done.
        rows_synced: number of done rows that would survive a power cut, with the rejected ones of earlier sessions and
            without those of this one.
        sync_needed: set when `sync` should run ahead of the once-a-second one.
        journal: the completed calls.
        failures: the failed rows.
    """

    journal: Journal

    def __init__(self, folder: Path, layout: RowLayout, disk: Disk) -> None:
        self.folder = folder
        self.sync_needed = asyncio.Event()
        self.unfinished = UnfinishedRows()
        self.encode_row = layout.encode
        self._layout, self._disk = layout, disk

    def _open_rows(self, rows: Path, rejected: Path, done: DoneRows) -> None:
        self._rows, self._rejected_rows = self._file(rows), self._file(rejected)
        self._timeline = self._file(self.folder / "timeline.jsonl")
        self._done, self.ids = done, done.ids

    def _count_done(self) -> None:
        self.rows_synced = self.done_before = self.ids.count_done()
        self._rows_before = self.done_before - self._rows.count

    def _open_failures(self, path: Path, out: Path) -> None:
        self.failures = FailureLog(
            path, self.ids.is_done, out=out, disk=self._disk, on_sync_needed=self.sync_needed.set
        )

    def _file(self, path: Path) -> AppendLog:
        return AppendLog(path, self._disk, self.sync_needed.set)

    def _reserve_space(self) -> None:
        with suppress(OSError):  # not every file system supports it
            fd = self._disk.create(self.folder / "spare")
            try:
                self._disk.reserve(fd, RESERVED_BYTES)
            finally:
                self._disk.close(fd)

    def _free_space(self) -> None:
        self._disk.remove(self.folder / "spare")

    def write_row(self, done: Success) -> None:
        """Write a finished row.

        Raises:
            StorageError: the row could not be written.
            TypeError, ValueError: the result cannot be encoded as JSON; nothing was written.
        """
        self.write_rows([(done.row.id, self.encode_row(done.row, done.output))])

    def write_rows(self, rows: Sequence[EncodedRow]) -> None:
        """Write finished rows with one write.

        Raises:
            StorageError: the rows could not be written. None of them is in the file.
        """
        if rows:
            self._rows.append(b"".join([line for _, lines in rows for line in lines]), len(rows))
        for row_id, lines in rows:
            self._done.add(row_id, lines)
            self._mark_done(row_id)

    def write_rejected(self, row: Row, rejection: RowRejected) -> None:
        """Write a rejected row to rejected.jsonl.

        Raises:
            StorageError: the row could not be written.
            TypeError, ValueError: the fields of the rejection cannot be encoded as JSON.
        """
        self.write_rejected_line(row.id, row_line(row, row.id, {**rejection.fields, "reason": str(rejection)}))

    def write_rejected_line(self, row_id: str, line: bytes) -> None:
        """Write a rejected row whose line exists.

        Raises:
            StorageError: the row could not be written.
        """
        self._rejected_rows.append(line)
        self._done.add_rejected(row_id)
        self._mark_done(row_id)

    def write_failed(self, failed: Failure) -> None:
        """Write a failed row to failures.jsonl.

        Raises:
            StorageError: the line could not be written.
        """
        self.failures.append(failed)

    def _mark_done(self, row_id: str) -> None:
        if self.failures.failed_before:
            self.failures.mark_done(row_id)
        self.unfinished.record_done(row_id)

    @property
    def rejected(self) -> int:
        """Number of rejected rows."""
        return self._done.rejected

    @property
    def output_rows(self) -> int:
        """Number of lines of finished rows."""
        return self._done.output_rows

    @property
    def truncated_rows(self) -> int:
        """Number of done rows whose answer is truncated."""
        return self._done.truncated

    def timeline(self, event: dict[str, Any]) -> None:
        """Append an event to timeline.jsonl."""
        self._timeline.append(encode_lines([event]))

    def mark(self) -> tuple[int, int]:
        """Return what a `sync` that starts now will make durable. Pass it to `synced` when the sync has finished."""
        return self.journal.file.sync_mark(), self._rows.sync_mark()

    def sync(self) -> None:
        """Write all files to the disk itself. Slow: call it from a thread.

        Raises:
            StorageError: a sync failed.
        """
        for file in (self.journal.file, self._rows, self._rejected_rows, self.failures.file, self._timeline):
            file.sync()

    def synced(self, mark: tuple[int, int]) -> None:
        """Record that everything before this mark is durable."""
        calls, rows = mark
        self.journal.synced(calls)
        self.rows_synced = self._rows_before + rows

    def _close_files(self, first: Iterable[Callable[[], object]], *rest: Callable[[], object]) -> list[StorageError]:
        """Take the first steps of closing, save the journal, and take the others, also if one of them fails.

        Returns:
            What failed. If calls are lost, the first error says how many.
        """
        errors: list[StorageError] = []
        for step in first:
            self._try(step, errors)
        if lost := self.journal.close():
            message = f"{lost} completed calls could not be saved to any file and are lost. They may have been billed."
            errors.insert(0, StorageError(message))
        for step in rest:
            self._try(step, errors)
        return errors

    def _try(self, step: Callable[[], object], errors: list[StorageError]) -> None:
        try:
            step()
        except StorageError as error:
            errors.append(error)
        except OSError as error:
            errors.append(write_error(self.folder, error))

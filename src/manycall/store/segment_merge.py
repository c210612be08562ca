"""Merge the rows of segments into the files of the run, each id once.

The driver of a run with several processes merges what its workers have added, once a second or more often. Nothing
records how far it has come: after a kill, the next session reads the segments from the start and leaves out the rows
that are done. Several failures of one row become one when failures.jsonl is closed.
"""

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from manycall.records import FailureKind
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import storage_errors
from manycall.store.disk import Disk
from manycall.store.journal_line import JournaledCall, decode_journaled
from manycall.store.jsonl import decode_lines
from manycall.store.row_layout import RowLayout
from manycall.store.row_store import RowStore
from manycall.store.segment_fold import fold_journals
from manycall.store.segment_folder import (
    CALLS,
    ROW_FILES,
    has_tag,
    lock_holder_of,
    make_folder,
    remove_segment,
    segment_numbers,
    segment_path,
    take_number,
    write_tag,
)
from manycall.store.segment_reader import SegmentReader

ROWS_PER_WRITE = 1000


class MergedRows(NamedTuple):
    """The rows that a merge has written to the files of the run.

    Attributes:
        done, rejected: ids of the rows.
        failed: ids and kinds of failure.
        recovered: ids of rows among `done` and `rejected` that had failed in another segment.
        truncated: number of rows among `done` whose answer is truncated.
    """

    done: list[str]
    rejected: list[str]
    failed: list[tuple[str, FailureKind]]
    recovered: list[str]
    truncated: int


class SegmentMerger:
    """The segments of a run, for its driver.

    Args:
        run: the open files of the run.
        out: the output.
        layout: the line format of the output.
        tag: names the rows that the run writes. Rows with another tag are not merged: they were decided by a session
            that wrote to other files, or with other settings. Their calls are in the journal.
    """

    def __init__(self, run: RowStore, out: Path, layout: RowLayout, tag: str, disk: Disk) -> None:
        self._run, self._out, self._layout, self._tag, self._disk = run, out, layout, tag, disk
        self._folder = run.folder
        self._readers: dict[int, SegmentReader] = {}
        self._journals: dict[int, int] = {}
        self._syncing = threading.Lock()
        self._failed: set[str] = set()

    def __repr__(self) -> str:
        return f"<SegmentMerger {sorted(self._readers)}>"

    def begin_segment(self) -> int:
        """Return the number of a new segment, for a worker that is about to start.

        Raises:
            StorageError: the number could not be recorded.
        """
        with storage_errors(self._folder):
            number = take_number(self._folder, self._disk)
            segment = segment_path(self._folder, number)
            make_folder(segment, self._disk)
            write_tag(segment, self._tag, self._disk)
        return number

    def merge(self, number: int) -> MergedRows:
        """Write the rows that a worker has added to its segment since the last merge.

        Raises:
            CorruptFile: a line of the segment cannot be decoded.
            StorageError: a row could not be written.
        """
        segment = segment_path(self._folder, number)
        if number not in self._readers:
            if not has_tag(segment, self._tag, self._disk):
                return MergedRows([], [], [], [], 0)
            self._readers[number] = SegmentReader(segment, self._layout, self._out, self._disk)
        reader, truncated = self._readers[number], self._run.truncated_rows
        done, rejected = self._merge_rows(reader), self._merge_rejected(reader)
        recovered = self._failed.intersection([*done, *rejected]) if self._failed else set[str]()
        self._failed -= recovered
        failed = self._merge_failed(reader)
        if done and number not in self._journals:
            with storage_errors(segment), self._syncing:
                self._journals[number] = self._disk.open(segment / CALLS)
        return MergedRows(done, rejected, failed, [*recovered], self._run.truncated_rows - truncated)

    def _merge_rows(self, reader: SegmentReader) -> list[str]:
        rows, is_done = reader.rows(), self._run.ids.is_done
        done = list[str]()
        while batch := list(islice(rows, ROWS_PER_WRITE)):
            new = {row_id: lines for row_id, lines in batch if not is_done(row_id)}
            self._run.write_rows([*new.items()])
            done += new
        return done

    def _merge_rejected(self, reader: SegmentReader) -> list[str]:
        rejected = []
        for line, row_id in reader.rejected.read():
            if not self._run.ids.is_done(row_id):
                self._run.write_rejected_line(row_id, line)
                rejected.append(row_id)
        return rejected

    def _merge_failed(self, reader: SegmentReader) -> list[tuple[str, FailureKind]]:
        new = []
        for line, failed in reader.failed.read():
            row_id = str(failed.id)
            if not (self._run.ids.is_done(row_id) or row_id in self._failed):
                self._run.failures.append_line(row_id, failed.error, line)
                self._failed.add(row_id)
                new.append((row_id, failed.kind))
        return new

    def calls(self, number: int) -> Iterator[JournaledCall]:
        """Yield the calls in a segment whose worker has ended.

        Raises:
            CorruptFile: a line cannot be decoded.
        """
        path = segment_path(self._folder, number) / CALLS
        return (call for _, _, call in decode_lines(path, decode_journaled, self._out, self._disk))

    def sync(self) -> None:
        """Make the calls of the merged rows durable. Call it before the rows are synced.

        Raises:
            StorageError: a sync failed.
        """
        with storage_errors(self._folder), self._syncing:
            for fd in self._journals.values():
                self._disk.sync(fd)

    def absorb(self, number: int) -> MergedRows:
        """Merge, fold and remove the segment of a worker that has ended; do nothing if it has not.

        Raises:
            CorruptFile: a line of the segment cannot be decoded.
            StorageError: a file could not be written. The next session absorbs the segment.
        """
        segment, journal = segment_path(self._folder, number), self._run.journal
        if lock_holder_of(segment, self._disk):
            return MergedRows([], [], [], [], 0)
        with storage_errors(segment):
            for name in ROW_FILES:
                if self._disk.exists(segment / name):
                    AppendLog(segment / name, self._disk).close()  # repairs a torn tail
            merged = self.merge(number)
            self._run.sync()
            folded_from = journal.file.end
            fold_journals(self._folder, [number], journal.file, self._disk)
            journal.read_from(folded_from)
            self._forget(number)
            remove_segment(segment, self._disk)
        return merged

    def absorb_all(self) -> None:
        """Absorb the segments of all workers that have ended.

        Raises:
            CorruptFile, StorageError: see `absorb`.
        """
        for number in segment_numbers(self._folder, self._disk):
            self.absorb(number)

    def adopt(self) -> None:
        """Absorb what an earlier session has left. The rows that failed in it will be tried again.

        Raises:
            CorruptFile, StorageError: see `absorb`.
        """
        self.absorb_all()
        self._failed.clear()

    def _forget(self, number: int) -> None:
        self._readers.pop(number, None)
        with self._syncing:
            if (fd := self._journals.pop(number, None)) is not None:
                self._disk.close(fd)

    def close(self) -> None:
        """Close the files. Segments whose workers have not ended are left to the next session."""
        for number in [*self._readers]:
            self._forget(number)

"""The run folder: lock, manifest, journal, output and failures, opened together.

`stories.jsonl` contains the finished rows. The folder `stories.jsonl.run/` next to it contains manifest.json,
calls.jsonl, failures.jsonl, rejected.jsonl, timeline.jsonl and the lock. All are plain text. The id of each finished
row is in the output exactly once. A failed row is in failures.jsonl until a later run finishes it. A row that the row
function rejected is in rejected.jsonl and counts as done.

Written lines survive the end of the process; synced lines survive a power cut. All files are synced at least once a
second, and after 1,000 lines or 8 MiB (group commit). `rows_synced` counts the synced rows.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from manycall.errors import RowRejected, StorageError, UsageError
from manycall.records import Row, Success
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import REMEDIES, write_error
from manycall.store.cache_writer import CacheWriter, SessionProgress
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.done_rows import DoneRows
from manycall.store.earlier_journal import take_over_calls
from manycall.store.earlier_run import resume_or_refuse, set_aside
from manycall.store.failures import FailureLog
from manycall.store.journal import Journal
from manycall.store.lock import Lock
from manycall.store.manifest import Manifest, real_output
from manycall.store.paths import run_folder_path
from manycall.store.resume_cache import CACHE, MIN_CACHED_ROWS, CachedFiles
from manycall.store.retried_rows import RETRIED, merge_retried
from manycall.store.row_layout import PlainLayout, RowLayout, encode_json, row_line
from manycall.store.row_parts import PartsLayout
from manycall.store.staged_output import finish_replacement, output_paths, replace_output, stage_output
from manycall.store.unfinished_rows import UnfinishedRows

EncodedRow = tuple[str, list[bytes]]
"""The id of a finished row and its lines in the output."""
RESERVED_BYTES = 4 << 20
"""Disk space that is reserved during a run, so that calls in flight can be saved when the disk is full."""


class RunFolder:
    """One output and its run folder, open for writing by this process only.

    Args:
        out: the output file.
        manifest: the settings and the source of the new run.
        overwrite: move the old output and its run folder to `<out>.old` (`.old2`, ...) and start over.
        expected: expected number of rows; None if it is unknown.
        truncated_suffix: the end of the output line of a truncated row; None if truncated rows cannot be recognized.
        retries_truncated: truncated rows are not done. Their new rows replace them when the run folder is closed.
        earlier: another output, whose calls a new output takes over; or the output itself, whose rows are then all
            decided again. They replace the old rows when the run folder is closed.
        layout: the line format of the output. Default: the row's fields and the result, in one line or in several.
        rows_may_split: with the default layout, an input row may become several output rows.
        keeps_rows_apart: the rows are in rows.jsonl in the run folder. The output is made from them when the run has
            finished.
        disk: replaced by a fake in tests.

    Attributes:
        folder: path of the run folder.
        ids: ids of the done rows, including the rejected ones.
        truncated: number of done rows whose answer is truncated.
        done_before: number of done rows when the run folder was opened, including the rejected ones.
        cached: what resume.cache said about the files when they were opened; None if it could not be used.
        unfinished: the rows that were read from the input, or have calls in the journal, and are not done.
        retried: number of rows that a session with `retries_truncated` has written.
        rows_synced: number of rows in the output that would survive a power cut.
        sync_needed: set when `sync` should run ahead of the once-a-second one.
        ended: every row of the input is done or failed.
        journal: the completed calls.
        failures: the failed rows.

    Raises:
        SettingsMismatch: the output was created with other settings, which the message lists as a diff.
        OutputLocked: another process is writing the output.
        CorruptFile: a file is damaged.
        StorageError: the disk is full.
        UsageError: the path cannot be written.
    """

    def __init__(
        self,
        out: Path,
        manifest: Manifest,
        *,
        overwrite: bool = False,
        expected: int | None = None,
        truncated_suffix: bytes | None = None,
        retries_truncated: bool = False,
        earlier: Path | None = None,
        layout: RowLayout | None = None,
        rows_may_split: bool = False,
        keeps_rows_apart: bool = False,
        disk: Disk = REAL_DISK,
    ) -> None:
        self.out = out = real_output(out)
        self.folder = run_folder_path(out)
        self.manifest = manifest
        self.sync_needed = asyncio.Event()
        self._disk = disk
        self._expected = expected or 0
        self._truncated_suffix, self._retries_truncated = truncated_suffix, retries_truncated
        self._earlier = None if earlier is None else real_output(earlier)
        self._is_staged = self._earlier is not None and self._earlier.resolve() == out.resolve()
        self._keeps_rows_apart = keeps_rows_apart
        self._paths = output_paths(out, keeps_rows_apart)
        self._layout: RowLayout = layout or (PartsLayout() if rows_may_split else PlainLayout())
        self.unfinished = UnfinishedRows()
        self._files = CachedFiles(
            self.folder, self._paths.rows, self._paths.rejected, self.folder / "calls.jsonl",
            layout=type(self._layout).__name__,
            truncated_suffix=None if truncated_suffix is None else truncated_suffix.decode(),
        )  # fmt: skip
        self._can_cache = self._layout.keeps_lines and not (retries_truncated or self._is_staged)
        self._cache_writer: CacheWriter | None = None
        self.ended = False
        self.retried = 0
        self._lock: Lock | None = None
        try:
            self._lock = Lock(out, disk)
            self._open(overwrite)
            if not keeps_rows_apart:
                self._lock.lock_output()  # it was created or replaced
        except BaseException as error:
            self._unlock()
            if not isinstance(error, OSError):
                raise
            if error.errno in REMEDIES:
                raise write_error(self.folder, error) from error
            raise UsageError(f"{error.filename or out} cannot be used as output: {error.strerror}.") from error

    def __repr__(self) -> str:
        return f"<RunFolder {self.out.name}, {self.done_before} rows done, {len(self.failures.failed_before)} failed>"

    def _open(self, overwrite: bool) -> None:
        if overwrite:
            set_aside(self.out, self._disk)
        finish_replacement(self.out, self._disk)  # if the last session was killed
        if self._is_staged:
            self._paths = stage_output(self.out, self.manifest, self._disk)
        else:
            if self._earlier is not None:
                take_over_calls(self.out, self._earlier, self.manifest, self._disk)
            resume_or_refuse(self.out, self.manifest, self._disk, self._retries_truncated)
        outputs = () if self._keeps_rows_apart else (self.out,)
        for path in (*outputs, self._paths.rows, self._files.journal):
            self._file(path).close()  # repairs a torn tail
        self._merge_retried()  # if the last session was killed
        self._rejected_rows = self._file(self._paths.rejected)
        cache = self._files.load(self._disk) if self._can_cache else None
        self._done = DoneRows(
            self._paths.rows, self._paths.rejected, self._layout, out=self.out, truncated_suffix=self._truncated_suffix,
            retries_truncated=self._retries_truncated, expected=self._expected, cache=cache, disk=self._disk,
        )  # fmt: skip
        self.ids, self.truncated = self._done.ids, self._done.truncated
        self._rows = self._file(self._retried_path if self._retries_truncated else self._paths.rows)
        self.cached = None if cache is None else cache.record
        self.rows_synced = self.done_before = self.ids.count_done()
        self.journal = Journal(
            self._files.journal,
            self.ids.is_done,
            out=self.out,
            unfinished=self.unfinished,
            read_to=0 if self.cached is None else self.cached.journal.size,
            kept_calls=() if self.cached is None else self.cached.unfinished_calls,
            disk=self._disk,
            on_sync_needed=self.sync_needed.set,
        )
        self.failures = FailureLog(
            self._paths.failures,
            self.ids.is_done,
            out=self.out,
            disk=self._disk,
            on_sync_needed=self.sync_needed.set,
        )
        self._timeline = self._file(self.folder / "timeline.jsonl")
        self._reserve_space()
        self.save_manifest()
        self._disk.sync_folder(self.out.parent)

    def _file(self, path: Path) -> AppendLog:
        return AppendLog(path, self._disk, self.sync_needed.set)

    def _reserve_space(self) -> None:
        with suppress(OSError):  # not every file system supports it
            fd = self._disk.create(self.folder / "spare")
            try:
                self._disk.reserve(fd, RESERVED_BYTES)
            finally:
                self._disk.close(fd)

    @property
    def rejected(self) -> int:
        """Number of rejected rows."""
        return self._done.rejected

    @property
    def output_rows(self) -> int:
        """Number of rows in the output."""
        return self._done.output_rows

    def encode_row(self, done: Success) -> EncodedRow:
        """Return a finished row as `write_rows` needs it.

        Raises:
            TypeError, ValueError: the result cannot be encoded as JSON.
        """
        return done.row.id, self._layout.encode(done.row, done.output)

    def write_row(self, done: Success) -> None:
        """Write a finished row to the output. Raises what `encode_row` and `write_rows` raise."""
        self.write_rows([self.encode_row(done)])

    def write_rows(self, rows: Sequence[EncodedRow]) -> None:
        """Write finished rows to the output, with one write.

        Raises:
            StorageError: the rows could not be written. None of them is in the output.
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
        self._rejected_rows.append(row_line(row, row.id, {**rejection.fields, "reason": str(rejection)}))
        self._done.add_rejected(row.id)
        self._mark_done(row.id)

    def _mark_done(self, row_id: str) -> None:
        self.failures.mark_done(row_id)
        self.unfinished.record_done(row_id)

    def timeline(self, event: dict[str, Any]) -> None:
        """Append an event to timeline.jsonl."""
        self._timeline.append(encode_json(event) + b"\n")

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
        self.rows_synced = self.done_before + rows

    def cache_with(
        self, progress: Callable[[], SessionProgress], min_rows: int = MIN_CACHED_ROWS
    ) -> CacheWriter | None:
        """Write resume.cache when the run folder is closed. Return what writes it earlier; None if it is not written.

        Args:
            progress: returns the figures of the session that are not in its files.
            min_rows: no cache is written for fewer done rows.
        """
        if self._can_cache:
            self._cache_writer = CacheWriter(
                self._files, self._rows, self._rejected_rows, self.journal.file, self._done, self.unfinished,
                progress, min_rows, self._disk,
            )  # fmt: skip
        return self._cache_writer

    def save_manifest(self) -> None:
        """Write the manifest to its file."""
        self.manifest.write(self._paths.manifest, self._disk)

    def start_session(self, session: dict[str, Any]) -> None:
        """Add a session to the manifest and write it, so that a killed session is recorded, too.

        Raises:
            StorageError: the manifest could not be written.
        """
        self.manifest.sessions.append(session)
        try:
            self.save_manifest()
        except OSError as error:
            raise write_error(self.folder, error) from error

    def mark_ended(self) -> None:
        """Record that every row of the input is done or failed. Call this before `close`."""
        self.ended = True

    @property
    def _retried_path(self) -> Path:
        return self.folder / RETRIED

    def _merge_retried(self) -> None:
        """Put the rows of a session that asked for truncated rows again into the output, and count them there."""
        if self._disk.exists(self._retried_path):
            self._disk.remove(self.folder / CACHE)  # its counts will be wrong
            self._disk.sync_folder(self.folder)
        self.retried = merge_retried(self.out, self._retried_path, self._disk)
        session = next((each for each in reversed(self.manifest.sessions) if "retry" in each), None)
        if self.retried and session is not None:
            session["retried"] = self.retried

    def _replace_output(self) -> None:
        """Replace the old rows, if all rows were decided again."""
        if self._is_staged and self.ended:
            replace_output(self.out, self.manifest, self._layout, self._disk)
            self._paths = output_paths(self.out)

    def _append_failed(self) -> None:
        if self.ended:
            self._layout.append_failed(self.out, self._paths.failures, self._disk)

    def close(self) -> None:
        """Sync and close all files, compact failures.jsonl, write the manifest and release the lock.

        Every step is tried even if an earlier one fails.

        Raises:
            StorageError: a step failed; the message says how many calls are lost, if any are.
        """
        self._disk.remove(self.folder / "spare")
        lost = self.journal.close()
        self.failures.forget(self._done.retrying)  # the old rows are still in the output
        self.truncated += len(self._done.retrying)
        errors: list[StorageError] = []
        files = (self._rows, self._rejected_rows, self.failures, self._timeline)
        closing = (file.close for file in files)
        for step in (*closing, self._merge_retried, self._replace_output, self._append_failed, self.save_manifest):
            try:
                step()
            except StorageError as error:
                errors.append(error)
            except OSError as error:
                errors.append(write_error(self.folder, error))
        if self._cache_writer is not None and self.journal.is_saved and not errors:
            self._cache_writer.write(self._cache_writer.snapshot())
        self._unlock()
        if lost:
            raise StorageError(
                f"{lost} completed calls could not be saved to any file and are lost. They may have been billed."
            )
        if errors:
            raise errors[0]
        self.rows_synced = self.done_before + self._rows.count

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

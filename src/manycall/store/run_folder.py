"""The run folder: lock, manifest, journal, output and failures, opened together.

`stories.jsonl` contains the finished rows. The folder `stories.jsonl.run/` next to it contains manifest.json,
calls.jsonl, failures.jsonl, rejected.jsonl, timeline.jsonl and the lock. All are plain text. The id of each finished
row is in the output exactly once. A failed row is in failures.jsonl until a later run finishes it. A row that the row
function rejected is in rejected.jsonl and counts as done.

Several processes may work on a run. Their rows and calls are in segments, until this process adds them to these files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from manycall.errors import UsageError
from manycall.store.atomic_write import REMEDIES, write_error
from manycall.store.cache_writer import CacheWriter, SessionProgress
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.done_rows import DoneRows
from manycall.store.earlier_journal import take_over_calls
from manycall.store.earlier_run import resume_or_refuse, set_aside
from manycall.store.journal import Journal
from manycall.store.lock import Lock
from manycall.store.manifest import Manifest, real_output
from manycall.store.paths import run_folder_path
from manycall.store.resume_cache import MIN_CACHED_ROWS, CachedFiles
from manycall.store.retried_rows import RETRIED, merge_retried
from manycall.store.row_layout import PlainLayout, RowLayout
from manycall.store.row_parts import PartsLayout
from manycall.store.row_store import RowStore
from manycall.store.segment_fold import fold_all
from manycall.store.segment_folder import require_ended
from manycall.store.segment_merge import SegmentMerger
from manycall.store.staged_output import OutputPaths, finish_replacement, output_paths, replace_output, stage_output


class RunFolder(RowStore):
    """One output and its run folder, open for writing by this process only.

    Args:
        out: the output file.
        manifest: the settings and the source of the new run.
        session: is added to the sessions of the manifest, so that a killed session is recorded, too.
        overwrite: move the old output and its run folder to `<out>.old` (`.old2`, ...) and start over.
        expected: expected number of rows; None if it is unknown.
        truncation_marks: bytes of which the lines of a truncated row have one; () if they cannot be recognized.
        retries_truncated: truncated rows are not done. Their new rows replace them when the run folder is closed.
        earlier: another output, whose calls a new output takes over; or the output itself, whose rows are then all
            decided again. They replace the old rows when the run folder is closed.
        layout: the line format of the output. Default: the row's fields and the result, in one line or in several.
        rows_may_split: with the default layout, an input row may become several output rows.
        keeps_rows_apart: the rows are in rows.jsonl in the run folder. The output is made from them when the run has
            finished.
        disk: replaced by a fake in tests.

    Attributes: in addition to those of RowStore
        truncated: number of done rows whose answer is truncated.
        cached: what resume.cache said about the files when they were opened; None if it could not be used.
        retried: number of rows that a session with `retries_truncated` has written.
        ended: every row of the input is done or failed.
        segments: the segments of workers.

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
        session: dict[str, Any] | None = None,
        overwrite: bool = False,
        expected: int | None = None,
        truncation_marks: tuple[bytes, ...] = (),
        retries_truncated: bool = False,
        earlier: Path | None = None,
        layout: RowLayout | None = None,
        rows_may_split: bool = False,
        keeps_rows_apart: bool = False,
        disk: Disk = REAL_DISK,
    ) -> None:
        self.out = out = real_output(out)
        super().__init__(run_folder_path(out), layout or (PartsLayout() if rows_may_split else PlainLayout()), disk)
        self.manifest, self._session = manifest, session
        self._truncation_marks, self._retries_truncated = truncation_marks, retries_truncated
        self._earlier = None if earlier is None else real_output(earlier)
        self._is_staged = self._earlier is not None and self._earlier.resolve() == out.resolve()
        self._keeps_rows_apart = keeps_rows_apart
        self._cache_writer: CacheWriter | None = None
        self.ended = False
        self._lock: Lock | None = None
        try:
            self._lock = Lock(out, disk)
            self._paths = self._begin(overwrite)
            self._open(expected or 0)
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

    def _begin(self, overwrite: bool) -> OutputPaths:
        """Finish what killed sessions have begun, and resume or refuse their output. Return the files to write."""
        if overwrite:
            set_aside(self.out, self._disk)
        require_ended(self.out, self._disk)
        finish_replacement(self.out, self._disk)
        fold_all(self.folder, self._disk)
        if self._is_staged:
            return stage_output(self.out, self.manifest, self._disk)
        if self._earlier is not None:
            take_over_calls(self.out, self._earlier, self.manifest, self._disk)
        resume_or_refuse(self.out, self.manifest, self._disk, self._retries_truncated)
        return output_paths(self.out, self._keeps_rows_apart)

    def _open(self, expected: int) -> None:
        paths, calls = self._paths, self.folder / "calls.jsonl"
        outputs = () if self._keeps_rows_apart else (self.out,)
        for path in dict.fromkeys((*outputs, paths.rows, paths.rejected, calls)):
            self._file(path).close()  # repairs a torn tail
        self.retried = merge_retried(self.out, self.manifest, self._disk)  # if the last session was killed
        self._files = CachedFiles.of(self.folder, paths.rows, paths.rejected, self._layout, self._truncation_marks)
        self._can_cache = self._layout.keeps_lines and not (self._retries_truncated or self._is_staged)
        cache = self._files.load(self._disk) if self._can_cache else None
        self.cached = None if cache is None else cache.record
        done = DoneRows(
            paths.rows, paths.rejected, self._layout, out=self.out, truncation_marks=self._truncation_marks,
            retries_truncated=self._retries_truncated, expected=expected, cache=cache, disk=self._disk,
        )  # fmt: skip
        self._open_rows(self.folder / RETRIED if self._retries_truncated else paths.rows, paths.rejected, done)
        self.journal = Journal(
            calls, self.ids.is_done, out=self.out, unfinished=self.unfinished,
            read_to=0 if self.cached is None else self.cached.journal.size,
            kept_calls=() if self.cached is None else self.cached.unfinished_calls,
            disk=self._disk, on_sync_needed=self.sync_needed.set,
        )  # fmt: skip
        self._open_failures(paths.failures, self.out)
        tag = self.manifest.settings_hash if self._is_staged else ""
        self.segments = SegmentMerger(self, self.out, self._layout, tag, self._disk)
        self.segments.adopt()
        self._count_done()
        self.truncated = self.truncated_rows
        self._reserve_space()
        if self._session is not None:
            self.manifest.sessions.append(self._session)
        self.save_manifest()
        self._disk.sync_folder(self.out.parent)

    def sync(self) -> None:
        """Write all files to the disk itself. Slow: call it from a thread.

        Raises:
            StorageError: a sync failed.
        """
        self.segments.sync()
        super().sync()

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

    def mark_ended(self) -> None:
        """Record that every row of the input is done or failed. Call this before `close`."""
        self.ended = True

    def _merge_retried(self) -> None:
        self.retried = merge_retried(self.out, self.manifest, self._disk)

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
        self.failures.forget(self._done.retrying)  # the old rows are still in the output
        self.truncated += len(self._done.retrying)
        files = (self._rows, self._rejected_rows, self.failures, self._timeline)
        errors = self._close_files(
            [self._free_space, self.segments.absorb_all],
            self.segments.close, *(file.close for file in files),
            self._merge_retried, self._replace_output, self._append_failed, self.save_manifest,
        )  # fmt: skip
        if self._cache_writer is not None and self.journal.is_saved and not errors:
            self._cache_writer.write(self._cache_writer.snapshot(is_final=True))
        self._unlock()
        if errors:
            raise errors[0]
        self.rows_synced = self._rows_before + self._rows.count

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

"""The run folder: lock, manifest, journal, output and failures, opened together.

`stories.jsonl` contains the finished rows. The folder `stories.jsonl.run/` next to it contains manifest.json,
calls.jsonl, failures.jsonl, rejected.jsonl, timeline.jsonl and the lock. All are plain text. The id of each finished
row is in the output exactly once. A failed row is in failures.jsonl until a later run finishes it. A row that the row
function rejected is in rejected.jsonl and counts as done.

Written lines survive the end of the process; synced lines survive a power cut. All files are synced at least once a
second, and after 1,000 lines or 8 MiB (group commit). `rows_synced` counts the synced rows.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import RowRejected, SettingsMismatch, StorageError, UsageError
from manycall.ids import IdTable, decode_row_id
from manycall.json_values import json_value
from manycall.option_flags import option
from manycall.records import Row, Success
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import REMEDIES, write_error
from manycall.store.batch_layout import OutputLayout, append_failed_lines, remove_failed_lines
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.failures import FailureLog
from manycall.store.journal import Journal
from manycall.store.jsonl import corrupt_file, decode_lines, read_lines
from manycall.store.lock import Lock
from manycall.store.manifest import Manifest, real_output
from manycall.store.paths import damaged_path, run_folder_path
from manycall.store.row_parts import PARTS, complete_rows, looks_like_part, part_id

RESERVED_BYTES = 4 << 20
"""Disk space that is reserved during a run, so that calls in flight can be saved when the disk is full."""
_encode = msgspec.json.Encoder(enc_hook=json_value).encode


class RunFolder:
    """One output and its run folder, open for writing by this process only.

    Args:
        out: the output file.
        manifest: the settings and the source of the new run.
        overwrite: move the old output and its run folder to `<out>.old` (`.old2`, ...) and start over.
        expected: expected number of rows; None if it is unknown.
        truncated_suffix: the end of the output line of a truncated row; None if truncated rows cannot be recognized.
        layout: the line format of the output; None: the row's fields and the result.
        rows_may_split: an input row may become several output rows (store/row_parts.py).
        disk: replaced by a fake in tests.

    Attributes:
        folder: path of the run folder.
        ids: ids of the done rows, including the rejected ones.
        truncated: number of done rows whose answer is truncated.
        rejected: number of rejected rows.
        output_rows: number of rows in the output, if `rows_may_split`; else the number that this process has written.
        rows_synced: number of rows in the output that would survive a power cut.
        on_sync_needed: called when `sync` should run ahead of the once-a-second one.
        ended: every row of the input is done or failed. Set it before `close`.
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
        layout: OutputLayout | None = None,
        rows_may_split: bool = False,
        disk: Disk = REAL_DISK,
    ) -> None:
        self.out = out = real_output(out)
        self.folder = run_folder_path(out)
        self.manifest = manifest
        self.on_sync_needed: Callable[[], None] = lambda: None
        self._disk = disk
        self._expected = expected or 0
        self._truncated_suffix, self._layout, self._rows_may_split = truncated_suffix, layout, rows_may_split
        self.ended = False
        self.truncated = self.rejected = self.output_rows = 0
        self._lock: Lock | None = None
        try:
            self._lock = Lock(out, disk)
            self._open(overwrite)
            self._lock.lock_output()  # it was created or replaced
        except BaseException as error:
            self._unlock()
            if not isinstance(error, OSError):
                raise
            if error.errno in REMEDIES:
                raise write_error(self.folder, error) from error
            raise UsageError(f"{error.filename or out} cannot be used as output: {error.strerror}.") from error

    def __repr__(self) -> str:
        return f"<RunFolder {self.out.name}, {len(self.ids)} rows done, {len(self.failures.failed_before)} failed>"

    def _open(self, overwrite: bool) -> None:
        if overwrite:
            self._set_aside()
        self._resume_or_refuse()
        if self._layout is not None:
            remove_failed_lines(self.out, self._layout, self._disk)
        self._rows = self._file(self.out)
        self._rejected_rows = self._file(self.folder / "rejected.jsonl")
        self.ids = self._read_done()
        self.rows_synced = len(self.ids)
        self._before = self.rows_synced
        self.journal = Journal(
            self.folder / "calls.jsonl", self._is_done, out=self.out, disk=self._disk, on_sync_needed=self._request_sync
        )
        self.failures = FailureLog(
            self.folder / "failures.jsonl",
            self._is_done,
            out=self.out,
            disk=self._disk,
            on_sync_needed=self._request_sync,
        )
        self._timeline = self._file(self.folder / "timeline.jsonl")
        self._reserve_space()
        self.save_manifest()
        self._disk.sync_folder(self.out.parent)

    def _file(self, path: Path) -> AppendLog:
        return AppendLog(path, self._disk, self._request_sync)

    def _request_sync(self) -> None:
        self.on_sync_needed()  # is assigned after the files were opened

    def _set_aside(self) -> None:
        """Rename the old files. Files with billed calls are never deleted."""
        disk = self._disk
        if not disk.exists(self.out) and not disk.exists(self.folder / "manifest.json"):
            return
        tails = (".old" if n == 1 else f".old{n}" for n in range(1, 1_000_000))
        names = (self.out.with_name(self.out.name + tail) for tail in tails)
        aside = next(a for a in names if not disk.exists(a) and not disk.exists(run_folder_path(a)))
        kept = run_folder_path(aside)
        disk.make_folder(kept)
        if disk.exists(self.out):
            disk.replace(self.out, aside)
        for path in disk.list_files(self.folder):
            if path.name != "lock":
                disk.replace(path, kept / path.name)
        disk.sync_folder(kept)
        disk.sync_folder(self.out.parent)  # makes the new name of the folder durable

    def _resume_or_refuse(self) -> None:
        """Resume from the existing manifest if its settings are the same."""
        path = self.folder / "manifest.json"
        old = Manifest.load(path, self._disk)
        if old is not None and self._has_answers():
            self.manifest.resume_from(old, self.out)
        elif old is None and self._has_lines(self.out) and not self._disk.exists(damaged_path(path)):
            raise SettingsMismatch(
                f"{self.out} already exists and was not created by manycall. Use another {option('out')}, or "
                f"{option('overwrite', True)} to start over (the file is moved to {self.out.name}.old)."
            )

    def _has_answers(self) -> bool:
        """Return whether any call was answered. If not (for example, a misspelled model), settings may change."""
        billed = (self.out, self.folder / "calls.jsonl", self.folder / "rescued.jsonl")
        return any(map(self._has_lines, billed))

    def _has_lines(self, path: Path) -> bool:
        return any(True for _ in read_lines(path, self._disk))

    def _read_done(self) -> IdTable:
        known = IdTable(self._expected)
        self._read_ids(self._rejected_rows.path, known)
        self.rejected = len(known)
        if not self._rows_may_split:
            self._read_ids(self.out, known)
            return known
        for offset, name, parts in complete_rows(self.out, self._disk):
            if not known.add_done(name):
                raise corrupt_file(self.out, offset, f"duplicate id {name!r}", self.out)
            self.output_rows += parts
        self._rows.close()  # the file may have been replaced
        self._rows = self._file(self.out)
        return known

    def _read_ids(self, path: Path, known: IdTable) -> None:
        for offset, line, name in decode_lines(path, decode_row_id, self.out, self._disk):
            if not known.add_done(name):
                raise corrupt_file(path, offset, f"duplicate id {name!r}", self.out)
            self.truncated += self._truncated_suffix is not None and line.endswith(self._truncated_suffix)

    def _reserve_space(self) -> None:
        with suppress(OSError):  # not every file system supports it
            fd = self._disk.create(self.folder / "spare")
            try:
                self._disk.reserve(fd, RESERVED_BYTES)
            finally:
                self._disk.close(fd)

    def _is_done(self, name: str) -> bool:
        return bool(self.ids.state(name))

    def write_row(self, done: Success) -> None:
        """Write a finished row to the output.

        Raises:
            StorageError: the row could not be written.
            TypeError, ValueError: the result cannot be encoded as JSON; nothing was written.
        """
        row, result = done.row, done.output
        if isinstance(result, list) or (self._rows_may_split and looks_like_part(row.id)):
            self._write_parts(row, result if isinstance(result, list) else [result])
        else:
            has_layout = self._layout is not None
            self._rows.append(_encode({"id": row.id, **result}) + b"\n" if has_layout else _line(row, row.id, result))
            self.output_rows += 1
        self.failures.mark_done(row.id)

    def _append_failed_rows(self) -> None:
        if self.ended and self._layout is not None:
            append_failed_lines(self.out, self.folder / "failures.jsonl", self._layout, self._disk)

    def _write_parts(self, row: Row, results: list[dict[str, Any]]) -> None:
        """Write the output rows of a split row with one write."""
        parts = [{**result, PARTS: len(results)} for result in results]
        self._rows.append(b"".join(_line(row, part_id(row.id, n), part) for n, part in enumerate(parts)))
        self.output_rows += len(results)

    def write_rejected(self, row: Row, rejection: RowRejected) -> None:
        """Write a rejected row to rejected.jsonl.

        Raises:
            StorageError: the row could not be written.
            TypeError, ValueError: the fields of the rejection cannot be encoded as JSON.
        """
        self._rejected_rows.append(_line(row, row.id, {**rejection.fields, "reason": str(rejection)}))
        self.rejected += 1
        self.failures.mark_done(row.id)

    def timeline(self, event: dict[str, Any]) -> None:
        """Append an event to timeline.jsonl."""
        self._timeline.append(_encode(event) + b"\n")

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
        self.rows_synced = self._before + rows

    def save_manifest(self) -> None:
        """Write the manifest to its file."""
        self.manifest.write(self.folder / "manifest.json", self._disk)

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

    def close(self) -> None:
        """Sync and close all files, compact failures.jsonl, write the manifest and release the lock.

        Every step is tried even if an earlier one fails.

        Raises:
            StorageError: a step failed; the message says how many calls are lost, if any are.
        """
        self._disk.remove(self.folder / "spare")
        lost = self.journal.close()
        errors: list[StorageError] = []
        files = (self._rows, self._rejected_rows, self.failures, self._timeline)
        for step in (*(file.close for file in files), self._append_failed_rows, self.save_manifest):
            try:
                step()
            except StorageError as error:
                errors.append(error)
            except OSError as error:
                errors.append(write_error(self.folder, error))
        self._unlock()
        if lost:
            raise StorageError(
                f"{lost} completed calls could not be saved to any file and are lost. They may have been billed."
            )
        if errors:
            raise errors[0]
        self.rows_synced = self._before + self._rows.count

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


def _line(row: Row, row_id: str, result: dict[str, Any]) -> bytes:
    """Return the output line of a row: its id, its own fields, its result."""
    own_id = row.fields.get("id")
    output_id = own_id if isinstance(own_id, int) and str(own_id) == row_id else row_id  # a numeric id stays a number
    line = {"id": output_id, **row.fields}
    if "id" in row.fields and own_id != output_id:  # it is a sample, or id_field is another field
        line.setdefault("original_id", own_id)
    line.update(result)
    line["id"] = output_id
    return _encode(line) + b"\n"

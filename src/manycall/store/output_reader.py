"""Read the rows of an output and the information about them in its run folder. A run may still be writing it."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import msgspec

from manycall.errors import StorageError, UsageError
from manycall.ids import HasId, decode_row_id
from manycall.option_flags import option, rerun
from manycall.records import DECODE_ERRORS, Fields
from manycall.store.journal_line import JournaledCall, decode_journaled
from manycall.store.jsonl import corrupt_file, decode_lines, first_line_offset
from manycall.store.manifest import NOT_FINISHED, Manifest
from manycall.store.paths import run_folder_path
from manycall.store.segment_fold import decode_journals
from manycall.terminal import sanitize_line


class _Rejected(HasId):
    reason: str = ""


class _Failed(HasId):
    kind: str
    row: Fields = msgspec.field(default_factory=dict)


_decode_fields = msgspec.json.Decoder(Fields).decode
_decode_rejected = msgspec.json.Decoder(_Rejected).decode
_decode_failed = msgspec.json.Decoder(_Failed).decode


class OutputReader:
    """The finished rows of a run, or any other file of rows.

    Args:
        path: the file.
        exclude: files of rejected or flagged rows; rows whose id is in one of them are skipped.

    Attributes:
        path: the file.
        folder: the run folder, which may not exist.
        manifest: the manifest of the run; None if manycall did not create the file.
        reads: every file that is read: the output, the excluded files, and the input file of the run.

    Raises:
        UsageError: a file does not exist, or is a folder.
        CorruptFile: the manifest or an excluded row cannot be decoded. The methods that read files raise it as well.
    """

    def __init__(self, path: str | Path, exclude: Iterable[str | Path] = ()) -> None:
        self.path, excluded_files = Path(path), [Path(each) for each in exclude]
        for each in (self.path, *excluded_files):
            if each.is_dir():
                raise UsageError(f"{each} is a folder. Pass a file in it.")
            if not each.is_file():
                raise UsageError(f"{each}: file not found.")
        self._stat = self.path.stat()
        self.folder = run_folder_path(self.path)
        self._ours = self.path if self.folder.is_dir() else None
        self._start = first_line_offset(self.path)
        self.manifest = Manifest.load(self.folder / "manifest.json")
        source = self.manifest.source if self.manifest is not None else {}
        self.reads = (self.path, *excluded_files, *([Path(source["input"])] if source.get("is_file") else []))
        self._excluded = {
            str(row.id): row.reason for each in excluded_files for _, _, row in decode_lines(each, _decode_rejected)
        }

    def __repr__(self) -> str:
        return f"<OutputReader {self.path.name}, {len(self._excluded)} rows excluded>"

    @property
    def settings(self) -> Fields:
        """The settings of the run: job, prompt, model, parameters; empty if there is no manifest."""
        return self.manifest.settings if self.manifest is not None else {}

    def require_manifest(self) -> Manifest:
        """Return the manifest.

        Raises:
            UsageError: there is no manifest.
        """
        if self.manifest is None:
            raise UsageError(
                f"{self.path}: {self.folder.name}/manifest.json not found. It says how the file was created."
            )
        return self.manifest

    def rows(self) -> Iterator[tuple[int, Fields]]:
        """Yield (offset in the file, row) for each row, in the order in which the rows finished."""
        read = decode_lines(self.path, _decode_fields, self._ours, start=self._start)
        return ((at, row) for at, _, row in read if str(row.get("id")) not in self._excluded)

    def row_offsets(self) -> Iterator[tuple[str, int]]:
        """Yield (row id, offset in the file) for each row."""
        return ((name, at) for name, at in self._named() if name not in self._excluded)

    def read_at(self, offsets: Iterable[int]) -> Iterator[Fields]:
        """Yield the rows at these offsets.

        Raises:
            CorruptFile: a row cannot be decoded.
            StorageError: the file was replaced after the offsets were read.
        """
        with self.path.open("rb") as file:
            if not os.path.samestat(os.fstat(file.fileno()), self._stat):
                raise StorageError(f"{self.path} was replaced while it was being read. {rerun().capitalize()}.")
            for offset in offsets:
                file.seek(offset)
                yield self._row(offset, file.readline())

    def _row(self, offset: int, line: bytes) -> Fields:
        try:
            return _decode_fields(line)
        except DECODE_ERRORS as error:
            raise corrupt_file(self.path, offset, error, self._ours) from None

    @property
    def has_excluded(self) -> bool:
        """Whether any row is excluded."""
        return bool(self._excluded)

    def is_excluded(self, row_id: object) -> bool:
        """Return whether the row with this id is excluded."""
        return str(row_id) in self._excluded

    def excluded_counts(self) -> Counter[str]:
        """Return the number of excluded rows by reason, up to the first colon of the reason."""
        named = self._named() if self._excluded else ()
        return Counter(self._excluded[name].partition(":")[0] for name, _ in named if name in self._excluded)

    def rejected_counts(self) -> Counter[str]:
        """Return the number of rows that the run rejected by reason, up to the first colon of the reason."""
        lines = decode_lines(self.folder / "rejected.jsonl", _decode_rejected, self.path)
        return Counter(row.reason.partition(":")[0] for _, _, row in lines)

    def _named(self) -> Iterator[tuple[str, int]]:
        return ((name, at) for at, _, name in decode_lines(self.path, decode_row_id, self._ours, start=self._start))

    @property
    def has_samples(self) -> bool:
        """Whether the row ids are those of samples, `id#k`, or of verdicts on such samples."""
        return self._depth > 0

    @cached_property
    def _depth(self) -> int:
        """How many `#k` suffixes an id has: one from this run, one from the run whose answers it judges, and so on."""
        depth, settings = 0, cast(Any, self.settings)
        while isinstance(settings, dict):
            depth, settings = depth + (settings.get("samples") is True), settings.get("answers")
        return depth

    def split_sample_id(self, row_id: str) -> tuple[str, int]:
        """Return (id of the input row, sample number): ("q", 2) for q#2 and for the fifth verdict on it, q#2#4."""
        number = 0
        for _ in range(self._depth):
            question, hash_mark, tail = row_id.rpartition("#")
            if hash_mark and tail.isdecimal():
                row_id, number = question, int(tail)
        return row_id, number

    def failed_rows(self) -> Iterator[tuple[str, str, Fields]]:
        """Yield (id, kind of failure, the row's own fields) for each failure.

        During a run or after a kill, some rows occur several times, and some may be done by now.
        """
        lines = decode_lines(self.folder / "failures.jsonl", _decode_failed, self.path)
        return ((str(failed.id), failed.kind, failed.row) for _, _, failed in lines)

    def failures(self) -> dict[str, str]:
        """Return the failed rows that are not done by now: id → kind of failure."""
        failed = {name: kind for name, kind, _ in self.failed_rows()}
        if failed and self.settings.get("job") != "batch":  # its output contains the failed rows as well
            for name, _ in self._named():
                failed.pop(name, None)
        return failed

    @cached_property
    def failure_counts(self) -> dict[str, int]:
        """Number of failed rows by kind of failure, as of the first access."""
        return dict(sorted(Counter(self.failures().values()).items()))

    @property
    def failed(self) -> int:
        """Number of failed rows."""
        return sum(self.failure_counts.values())

    @property
    def expected(self) -> int | None:
        """Number of rows that the last session had to process; None if it is unknown."""
        count = self.manifest.source.get("count") if self.manifest is not None else None
        return count if isinstance(count, int) else None

    def incomplete_message(self, done: int) -> str:
        """Return a message if some rows are neither done nor failed, else an empty string."""
        sessions = self.manifest.sessions if self.manifest is not None else []
        outcome = str(sessions[-1].get("outcome", "")) if sessions else ""
        open_rows = max(0, self.expected - done - self.failed) if self.expected is not None else None
        if self.manifest is None or open_rows == 0 or (open_rows is None and outcome == "finished"):
            return ""
        total = f" of {self.expected:,}" if self.expected is not None else ""
        return sanitize_line(
            f"Incomplete: {done + self.failed:,}{total} rows.{_last_session(outcome)} {rerun().capitalize()} to finish."
        )

    @property
    def retry_notes(self) -> list[str]:
        """A sentence for each session that asked for truncated rows again."""
        sessions = self.manifest.sessions if self.manifest is not None else []
        return [
            f"{session['retried']:,} rows were answered with {name}={value:,} ({option('retry', 'truncated')})."
            for session in sessions
            if session.get("retried")
            for name, value in session["retry"].items()
        ]

    def calls(self) -> Iterator[JournaledCall]:
        """Yield every stored call, including those of killed sessions."""
        return (call for _, _, call in decode_journals(self.folder, decode_journaled, self.path))

    def responses(self) -> Iterator[bytes]:
        """Yield every stored response, including those of killed sessions."""
        return (call.body for call in self.calls())


def _last_session(outcome: str) -> str:
    """Return a sentence about how the last session ended, with a space before it; "" if it finished."""
    if outcome in ("", "finished"):
        return ""
    if outcome == NOT_FINISHED:
        return " The last session was killed or is still running."
    return f" The last session ended with: {outcome.removesuffix('.')}."

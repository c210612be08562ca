"""The done rows of an output: their ids and their counts, from the lines or, as far as possible, from resume.cache."""

from contextlib import suppress
from pathlib import Path

from manycall.ids import IdTable, decode_row_id
from manycall.records import DECODE_ERRORS
from manycall.store.disk import Disk
from manycall.store.jsonl import corrupt_file, decode_lines, read_lines
from manycall.store.paths import run_folder_path
from manycall.store.resume_cache import ResumeCache
from manycall.store.row_layout import RowLayout


def read_done_ids(out: Path, layout: RowLayout, unwanted: tuple[bytes, ...]) -> IdTable:
    """Return the ids of the done rows of an output, including the rejected ones. No file is changed.

    Args:
        unwanted: ends of the lines of rows that do not count as done.
    """
    known = IdTable()
    for _, line in read_lines(out):
        if not line.endswith(unwanted):
            with suppress(*DECODE_ERRORS):  # the run reports damaged lines
                if not layout.is_failed(line):
                    known.add_done(layout.identify(line)[0])
    for _, line in read_lines(run_folder_path(out) / "rejected.jsonl"):
        with suppress(*DECODE_ERRORS):
            known.add_done(decode_row_id(line))
    return known


class DoneRows:
    """The done rows of an output and of its rejected.jsonl.

    Args:
        rows, rejected: the files, without a torn tail.
        layout: the line format of the output.
        out: the output, which an error message about damage names.
        truncation_marks: bytes of which the lines of a truncated row have one; () if they cannot be recognized.
        retries_truncated: truncated rows are not done.
        expected: expected number of rows; 0 if it is unknown.
        cache: describes the beginning of the files, whose lines are then not read; None: all lines are read.

    Attributes:
        ids: ids of the done rows, including the rejected ones.
        retrying: ids of the truncated rows that are not done because of `retries_truncated`.
        truncated: number of done rows whose answer is truncated, as the output shows it.
        rejected: number of rejected rows.
        output_rows: number of rows in the output.

    Raises:
        CorruptFile: a line cannot be decoded, or a row is there twice.
    """

    def __init__(
        self,
        rows: Path,
        rejected: Path,
        layout: RowLayout,
        *,
        out: Path,
        truncation_marks: tuple[bytes, ...],
        retries_truncated: bool,
        expected: int,
        cache: ResumeCache | None,
        disk: Disk,
    ) -> None:
        self._rows_path, self._rejected_path, self._layout = rows, rejected, layout
        self._out, self._disk = out, disk
        self._ends = tuple(mark for mark in truncation_marks if mark.endswith(b"\n"))
        self._marks = tuple(mark for mark in truncation_marks if mark not in self._ends)
        self._retries_truncated = retries_truncated
        self.retrying: set[str] = set()
        self.ids = IdTable(expected) if cache is None else cache.ids
        self.truncated = self.rejected = self.output_rows = 0
        read_to = rejected_read_to = 0
        if cache is not None:
            record = cache.record
            self.truncated, self.rejected, self.output_rows = (
                record.truncated, record.rejected_rows, record.output_rows,
            )  # fmt: skip
            read_to, rejected_read_to = record.output.size, record.rejected.size
        self._read_rejected(rejected_read_to)
        self._read_output(read_to)

    def __repr__(self) -> str:
        return f"<DoneRows {len(self.ids)}>"

    def add(self, row_id: str, lines: list[bytes]) -> None:
        """Count a row that was written."""
        self.ids.add_done(row_id)
        self.truncated += self._is_truncated(lines[0] if len(lines) == 1 else b"".join(lines))
        if row_id in self.retrying:
            self.retrying.remove(row_id)
        else:
            self.output_rows += len(lines)

    def add_rejected(self, row_id: str) -> None:
        """Count a rejected row that was written."""
        self.ids.add_done(row_id)
        self.rejected += 1

    def _read_rejected(self, start: int) -> None:
        for offset, _, name in decode_lines(self._rejected_path, decode_row_id, self._out, self._disk, start):
            self._add_new(name, self._rejected_path, offset)
            self.rejected += 1

    def _read_output(self, start: int) -> None:
        for row in self._layout.done_rows(self._rows_path, self._out, self._disk, start):
            self.output_rows += row.line_count
            is_truncated = self._is_truncated(row.lines)
            if is_truncated and self._retries_truncated:
                self.retrying.add(row.row_id)
            else:
                self._add_new(row.row_id, self._rows_path, row.offset)
                self.truncated += is_truncated

    def _is_truncated(self, lines: bytes) -> bool:
        return lines.endswith(self._ends) or (bool(self._marks) and any(lines.find(mark) >= 0 for mark in self._marks))

    def _add_new(self, name: str, path: Path, offset: int) -> None:
        if not self.ids.add_done(name):
            raise corrupt_file(path, offset, f"duplicate id {name!r}", self._out)

"""failures.jsonl: one line for each failed row, until a later run finishes the row."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from manycall.ids import IdTable, decode_row_id
from manycall.records import Failure
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.jsonl import decode_lines

MAX_DISTINCT_ERRORS, MAX_COUNTED_CHARACTERS = 1000, 300
"""Errors that are counted separately, and their longest text."""
_encode = msgspec.json.Encoder().encode


class FailureLog:
    """The failed rows of one output.

    Args:
        path: the file; created if it does not exist.
        is_done: returns whether a row is done in spite of an earlier failure.
        out: the output, for the message about damage.
        on_sync_needed: called when the file should be synced early (see AppendLog).

    Attributes:
        file: the open file.
        failed_before: ids of rows that failed in earlier runs, or in another process of this one, and were not done
            then.
        error_counts: first 300 characters of each error of this run → number of rows.

    Raises:
        CorruptFile: a line cannot be decoded.
    """

    def __init__(
        self,
        path: Path,
        is_done: Callable[[str], bool],
        *,
        out: Path,
        disk: Disk = REAL_DISK,
        on_sync_needed: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._out, self._disk = path, out, disk
        self._recovered: set[str] = set()
        self.error_counts: Counter[str] = Counter()
        AppendLog(path, disk).close()  # repairs the file after a crash
        self._compact(is_done)
        self.failed_before = {name for _, _, name in self._lines()}
        self.file = AppendLog(path, disk, on_sync_needed)

    def __repr__(self) -> str:
        return f"<Failures: {len(self.failed_before)} before, {self.error_counts.total()} now>"

    def append(self, failed: Failure) -> None:
        """Record a failed row.

        Raises:
            StorageError: the line could not be written.
        """
        self._count(failed.error)
        line = {
            "id": failed.row.id,
            "kind": failed.kind,
            "error": failed.error.encode("utf-8", "replace").decode(),
            "attempts": failed.attempts,
            "status": failed.status,
            "last_text": failed.last_text,
            "row": failed.row.fields,
        }
        self.file.append(_encode(line) + b"\n")

    def append_line(self, name: str, error: str, line: bytes) -> None:
        """Record a row that failed in another process. Unlike other rows that fail, it may still be done by a third.

        Raises:
            StorageError: the line could not be written.
        """
        self._count(error)
        self.failed_before.add(name)
        self.file.append(line)

    def _count(self, error: str) -> None:
        counted = error[:MAX_COUNTED_CHARACTERS]
        if len(self.error_counts) < MAX_DISTINCT_ERRORS or counted in self.error_counts:
            self.error_counts[counted] += 1

    def mark_done(self, name: str) -> None:
        """Record that a row is done, which may have failed in an earlier run."""
        if name in self.failed_before:
            self._recovered.add(name)

    def forget(self, names: Iterable[str]) -> None:
        """Remove the failures of these rows when the file is closed, because the output has an older row of each."""
        self._recovered.update(names)

    def close(self) -> None:
        """Close the file and remove the rows that are done by now."""
        self.file.close()
        self._compact(self._recovered.__contains__)

    def _compact(self, is_done: Callable[[str], bool]) -> None:
        """Keep the last line of each row that is still failed. Only ids and offsets are held in memory, not lines."""
        seen, last, is_any_done = IdTable(), dict[str, int](), False
        for offset, _, name in self._lines():
            if is_done(name):
                is_any_done = True
            elif not seen.add_done(name):
                last[name] = offset
        if is_any_done or last:
            kept = (
                line for offset, line, name in self._lines() if last.get(name, offset) == offset and not is_done(name)
            )
            replace_file(self._path, kept, self._disk)

    def _lines(self) -> Iterator[tuple[int, bytes, str]]:
        """Yield (offset, line, row id) for each line."""
        return decode_lines(self._path, decode_row_id, self._out, self._disk)

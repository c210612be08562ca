"""The rows that were given up: one line each in failures.jsonl, until a later run finishes them."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from manycall.ids import IdTable, row_name
from manycall.records import Failure
from manycall.store.disk import DISK, Disk
from manycall.store.lines import LineFile, write_whole
from manycall.store.reading import parsed

MOST_REASONS = 1000
_encode = msgspec.json.Encoder().encode


class Failures:
    """The failures of one output.

    Args:
        path: the file; made if it is not there.
        is_done: whether a row is finished after all.
        out: the output that it belongs to, for the sentence about damage.
        full: called when so much was appended that it should be synced now.

    Attributes:
        file: the open file.
        before: the ids that earlier runs gave up, and did not finish.
        reasons: why this run gave rows up, and how often.

    Raises:
        StoreCorrupt: a line of it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        is_done: Callable[[str], bool],
        *,
        out: Path,
        disk: Disk = DISK,
        full: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._out, self._disk = path, out, disk
        self._recovered: set[str] = set()
        self.reasons: Counter[str] = Counter()
        LineFile(path, disk).close()  # mends what a crash has left
        self._tidy(is_done)
        self.before = {name for _, _, name in self._lines()}
        self.file = LineFile(path, disk, full)

    def __repr__(self) -> str:
        return f"<Failures: {len(self.before)} before, {self.reasons.total()} now>"

    def append(self, failed: Failure) -> None:
        """Note a row that was given up.

        Raises:
            StoreError: the disk would not take it.
        """
        if len(self.reasons) < MOST_REASONS or failed.error[:100] in self.reasons:
            self.reasons[failed.error[:100]] += 1
        line = {
            "id": failed.row.id,
            "verdict": failed.verdict,
            "error": failed.error.encode("utf-8", "replace").decode(),
            "attempts": failed.attempts,
            "status": failed.status,
            "raw": failed.raw,
            "row": failed.row.fields,
        }
        self.file.append(_encode(line) + b"\n")

    def done(self, name: str) -> None:
        """This row is finished, and may have been given up before."""
        if name in self.before:
            self._recovered.add(name)

    def close(self) -> None:
        """Close, and take out the rows that were finished after all."""
        self.file.close()
        self._tidy(self._recovered.__contains__)

    def _tidy(self, is_done: Callable[[str], bool]) -> None:
        """Keep one line for each row that is still failed, its last. In memory are ids and offsets, never the lines."""
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
            write_whole(self._path, kept, self._disk)

    def _lines(self) -> Iterator[tuple[int, bytes, str]]:
        """(offset, line, id) of each."""
        return parsed(self._path, row_name, self._out, self._disk)

"""Outputs with a line format of their own that also contain the failed rows (OpenAI Batch files).

The lines of failed rows are appended when all rows have finished, and removed when the output is opened again. So while
a run is active, every row in the output is done, as in any other output, and failed rows are tried again.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from manycall.ids import decode_row_id
from manycall.records import Row, RowOutput
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import Disk
from manycall.store.jsonl import decode_lines, read_lines
from manycall.store.row_layout import DoneRow, encode_lines


class OutputLayout(NamedTuple):
    """The line format of such an output. A row function returns the whole line except the `id`.

    Attributes:
        failed: converts a line of failures.jsonl to the output line of the failed row.
        is_failed: returns whether an output line is that of a failed row.
    """

    failed: Callable[[dict[str, Any]], dict[str, Any]]
    is_failed: Callable[[bytes], bool]

    @property
    def keeps_lines(self) -> bool:
        """False: the lines of failed rows are removed."""
        return False

    def done_rows(self, rows: Path, out: Path, disk: Disk, start: int = 0) -> Iterator[DoneRow]:
        """Remove the lines of failed rows and yield the row of each other line. The file is replaced atomically."""
        if any(self.is_failed(line) for _, line in read_lines(rows, disk)):
            replace_file(rows, (line for _, line in read_lines(rows, disk) if not self.is_failed(line)), disk)
        return (DoneRow(*each) for each in decode_lines(rows, decode_row_id, out, disk, start))

    def identify(self, line: bytes) -> tuple[str, int]:
        """Return the id of the row of a line, and 1."""
        return decode_row_id(line), 1

    def encode(self, row: Row, result: RowOutput) -> list[bytes]:
        """Return the line of the row: its id and the result, without the row's own fields."""
        assert isinstance(result, dict)
        return [encode_lines([{"id": row.id, **result}])]

    def append_failed(self, out: Path, failures: Path, disk: Disk) -> None:
        """Append one line for each failed row to the output."""
        file = AppendLog(out, disk)
        for _, line in read_lines(failures, disk):
            file.append(encode_lines([self.failed(msgspec.json.decode(line))]))
        file.close()

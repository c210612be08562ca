"""Outputs with a line format of their own that also contain the failed rows (OpenAI Batch files).

The lines of failed rows are appended when all rows have finished, and removed when the output is opened again. So while
a run is active, every row in the output is done, as in any other output, and failed rows are tried again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import Disk
from manycall.store.jsonl import read_lines


class OutputLayout(NamedTuple):
    """The line format of such an output. A row function returns the whole line except the `id`.

    Attributes:
        failed: converts a line of failures.jsonl to the output line of the failed row.
        is_failed: returns whether an output line is that of a failed row.
    """

    failed: Callable[[dict[str, Any]], dict[str, Any]]
    is_failed: Callable[[bytes], bool]


def append_failed_lines(out: Path, failures: Path, layout: OutputLayout, disk: Disk) -> None:
    """Append one line for each failed row to the output.

    Raises:
        StorageError: a line could not be written.
    """
    file = AppendLog(out, disk)
    for _, line in read_lines(failures, disk):
        file.append(msgspec.json.encode(layout.failed(msgspec.json.decode(line))) + b"\n")
    file.close()


def remove_failed_lines(out: Path, layout: OutputLayout, disk: Disk) -> None:
    """Remove the lines of failed rows from the output. The file is replaced atomically."""
    if not disk.exists(out):
        return
    AppendLog(out, disk).close()  # repairs the file after a crash
    if any(layout.is_failed(line) for _, line in read_lines(out, disk)):
        replace_file(out, (line for _, line in read_lines(out, disk) if not layout.is_failed(line)), disk)

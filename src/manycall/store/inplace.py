"""An output of another shape than the row's fields with the answer among them, where failed rows have a line too.

Such a line is put in when all rows have ended, and taken out when the output is opened again: so as long as a run goes
on, a row whose line stands in the output is done, here as everywhere, and failed rows are tried again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from manycall.store.disk import Disk
from manycall.store.lines import LineFile, write_whole
from manycall.store.reading import read_lines


class Shape(NamedTuple):
    """The lines of such an output. What its row functions return is the whole line, but for the `id`.

    Attributes:
        failed: makes the line of a row that was given up from that in failures.jsonl.
        is_failed: tells such a line.
    """

    failed: Callable[[dict[str, Any]], dict[str, Any]]
    is_failed: Callable[[bytes], bool]


def put_in(out: Path, failures: Path, shape: Shape, disk: Disk) -> None:
    """One line for each row that is given up.

    Raises:
        StoreError: the disk would not take it.
    """
    file = LineFile(out, disk)
    for _, line in read_lines(failures, disk):
        file.append(msgspec.json.encode(shape.failed(msgspec.json.decode(line))) + b"\n")
    file.close()


def take_out(out: Path, shape: Shape, disk: Disk) -> None:
    """Leave only the rows that are done; in one step, so that a crash leaves the old file or the new one."""
    if not disk.exists(out):
        return
    LineFile(out, disk).close()  # mends what a crash has left
    if any(shape.is_failed(line) for _, line in read_lines(out, disk)):
        write_whole(out, (line for _, line in read_lines(out, disk) if not shape.is_failed(line)), disk)

"""Write rows to the file type that a suffix names: JSON lines, CSV, Parquet or Arrow."""

import csv
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from manycall.dataset.arrow_table import ArrowTable
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields
from manycall.render import as_text
from manycall.store.atomic_write import replace_file

Rows = Callable[[], Iterable[Fields]]
Write = tuple[Callable[[Path, Iterable[Fields]], None], list[str]]
"""(a function that writes rows to a file, notes on fields that cannot be written unchanged)."""


def writer_for(path: Path, rows: Rows, columns: list[str]) -> Write:
    """Return the function that writes rows to files of this type.

    Args:
        rows: All rows. Parquet and Arrow infer the types of the columns from them.
        columns: Names of all columns, in order.

    Raises:
        UsageError: pyarrow is needed and not installed.
    """
    return WRITERS[path.suffix](rows, columns)


def check_suffix(path: Path) -> None:
    """Check that the file type can be written.

    Raises:
        UsageError: It cannot.
    """
    if path.suffix not in WRITERS:
        raise UsageError(f"{option('out', str(path))} must end in {', '.join(WRITERS)}.")


def _jsonl(rows: Rows, columns: list[str]) -> Write:
    encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
    return lambda path, selected: replace_file(path, (encode(row) + b"\n" for row in selected)), []


def _csv(rows: Rows, columns: list[str]) -> Write:
    """Write texts unchanged and other values as JSON; a missing value or null is an empty cell."""
    other = {name for row in rows() for name, value in row.items() if isinstance(value, list | dict)}
    notes = [f"{name} (written as JSON text)" for name in columns if name in other]
    return lambda path, selected: replace_file(path, _csv_lines(columns, selected)), notes


def _csv_lines(columns: list[str], rows: Iterable[Fields]) -> Iterator[bytes]:
    buffer = StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(columns)
    for row in rows:
        values = (row.get(name) for name in columns)
        table.writerow(["" if value is None else as_text(value) for value in values])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _parquet(rows: Rows, columns: list[str]) -> Write:
    table = ArrowTable(rows())
    return table.write_parquet, table.notes


def _arrow(rows: Rows, columns: list[str]) -> Write:
    table = ArrowTable(rows())
    return table.write_arrow, table.notes


WRITERS: dict[str, Callable[[Rows, list[str]], Write]] = {
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
}

"""The rows of an output or of any other file of rows, in one order, as often as they are needed."""

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from manycall.data.row_files import read_rows
from manycall.dataset.input_order import offsets_in_input_order
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields
from manycall.store.jsonl import corrupt_file
from manycall.store.output_reader import OutputReader

NamedRow = tuple[str, Fields]
"""What messages call a row, "Row 'a'" or "Row at train.csv, line 7", and its fields."""


class DatasetRows:
    """Rows to iterate over several times. `in_order` takes 22 bytes per row.

    Args:
        path: An output, or a file of rows: JSON lines, a JSON array, CSV, TSV, Parquet or Arrow.
        exclude: Files of flagged rows. Rows whose id is in one of them are left out.
        in_order: Sort the rows of an output by the order of the input. Other files have only one order.

    Attributes:
        output: Reader for the settings of the run; empty for other files.

    Raises:
        UsageError: A file does not exist, or the order of the input is not known.
        CorruptFile: While iterating, a row of an output cannot be decoded or has no id.
    """

    def __init__(self, path: str | Path, exclude: Iterable[str | Path] = (), *, in_order: bool = False) -> None:
        self.output = OutputReader(path, exclude)
        self._is_output = self.output.folder.is_dir()
        self._offsets = array("Q", offsets_in_input_order(self.output)) if in_order and self._is_output else None

    def __repr__(self) -> str:
        return f"<DatasetRows {self.output.path.name}>"

    def __iter__(self) -> Iterator[NamedRow]:
        if not self._is_output:
            return self._rows_of_file()
        if self._offsets is None:
            return (self._named(at, row) for at, row in self.output.rows())
        return map(self._named, self._offsets, self.output.read_at(self._offsets))

    def _named(self, offset: int, row: Fields) -> NamedRow:
        if "id" not in row:
            raise corrupt_file(self.output.path, offset, "the row has no id", self.output.path)
        return f"Row {row['id']!r}", row

    def _rows_of_file(self) -> Iterator[NamedRow]:
        path, has_excluded = self.output.path, self.output.has_excluded
        for location, row in read_rows(path):
            if has_excluded and "id" not in row:
                raise UsageError(f"{path}, {location}: the row has no id, so {option('exclude')} cannot find it.")
            if not has_excluded or not self.output.is_excluded(row["id"]):
                yield (f"Row {row['id']!r}" if "id" in row else f"Row at {path}, {location}"), row

    def excluded(self) -> int:
        """Return the number of rows that are left out."""
        if self._is_output:
            return self.output.excluded_counts().total()
        if not self.output.has_excluded:
            return 0
        return sum(self.output.is_excluded(row.get("id")) for _, row in read_rows(self.output.path))

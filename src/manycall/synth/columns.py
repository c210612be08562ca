"""Rows to Parquet, a row group at a time: first the type of each field over all rows, then the rows themselves.

A field that is a text in one row and a number in another, or that Parquet cannot hold, becomes JSON text in all.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from manycall.errors import UsageError
from manycall.records import Fields

GROUP_ROWS = 5_000
"""Rows that are held in memory at once."""


class Columns:
    """The columns of a table.

    Args:
        rows: all of them, to see what each field holds.

    Raises:
        UsageError: pyarrow is not installed.
    """

    def __init__(self, rows: Iterable[Fields]) -> None:
        try:
            import pyarrow
        except ImportError:
            raise UsageError("Parquet needs the extra: pip install 'manycall[parquet]'") from None
        self._arrow = pyarrow
        self._unfit = (pyarrow.ArrowException, ValueError, TypeError, OverflowError)
        self._types: dict[str, Any] = {}  # None: JSON text
        for group in _groups(rows):
            self._learn(group)

    def __repr__(self) -> str:
        return f"<Columns {', '.join(self._types)}>"

    def _learn(self, group: list[Fields]) -> None:
        for name in {name: None for row in group for name in row}:
            kind = self._kind([row.get(name) for row in group])
            self._types[name] = self._both(self._types[name], kind) if name in self._types else kind

    def _kind(self, values: list[Any]) -> Any:
        try:
            kind = self._arrow.array(values).type
        except self._unfit:
            return None
        return None if "struct<>" in str(kind) else kind  # an object without a field, which Parquet does not know

    def _both(self, one: Any, other: Any) -> Any:
        """The type that holds both."""
        if one is None or other is None:
            return None
        schemas = [self._arrow.schema([("x", kind)]) for kind in (one, other)]
        try:
            return self._arrow.unify_schemas(schemas, promote_options="permissive").field("x").type
        except self._unfit:
            return None

    def write(self, path: Path, rows: Iterable[Fields]) -> None:
        """A file of some of the rows."""
        from pyarrow import parquet

        text = self._arrow.string()
        schema = self._arrow.schema([(name, kind or text) for name, kind in self._types.items()])
        with parquet.ParquetWriter(path, schema) as file:
            for group in _groups(rows):
                columns = [self._column(name, group) for name in self._types]
                file.write_table(self._arrow.table(columns, schema=schema))

    def _column(self, name: str, group: list[Fields]) -> Any:
        kind = self._types[name]
        values = [row.get(name) for row in group]
        if kind is None:
            values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        return self._arrow.array(values, type=kind or self._arrow.string())


def _groups(rows: Iterable[Fields]) -> Iterator[list[Fields]]:
    each = iter(rows)
    while group := list(islice(each, GROUP_ROWS)):
        yield group

"""Rows to Parquet, a row group at a time: first the type of each field over all rows, then the rows themselves.

A field that is a text in one row and a number in another, or that Parquet cannot hold, becomes text in all: a text
stays as it is, anything else is written as JSON.
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
KINDS = {str: "a text", int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}


class Columns:
    """The columns of a table.

    Args:
        rows: all of them, to see what each field holds.

    Attributes:
        notes: the fields that have become text, and why.

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
        self._types: dict[str, Any] = {}  # None: text
        self._first: dict[str, str] = {}  # what the first row that has it holds
        self.notes: list[str] = []
        for number, group in enumerate(_groups(rows)):
            self._learn(group, 1 + number * GROUP_ROWS)

    def __repr__(self) -> str:
        return f"<Columns {', '.join(self._types)}>"

    def _learn(self, group: list[Fields], start: int) -> None:
        for name in {name: None for row in group for name in row}:
            values = [row.get(name) for row in group]
            kind, known = self._kind(values), self._types.get(name, True)
            self._types[name] = kind if known is True else self._both(known, kind)
            why = self._odd(name, values, start)
            if known is not None and self._types[name] is None:
                self.notes.append(f"{name} (a text in all rows, and JSON where it is none: {why})")

    def _odd(self, name: str, values: list[Any], start: int) -> str:
        """The first row that holds something else than those before."""
        for number, value in enumerate(values, start):
            said = KINDS.get(type(value))
            if said is not None and self._first.setdefault(name, said) != said:
                return f"row {number} is {said}"
        return "Parquet has no type for all of them"

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
            values = [value if value is None or isinstance(value, str) else _json(value) for value in values]
        return self._arrow.array(values, type=kind or self._arrow.string())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _groups(rows: Iterable[Fields]) -> Iterator[list[Fields]]:
    each = iter(rows)
    while group := list(islice(each, GROUP_ROWS)):
        yield group

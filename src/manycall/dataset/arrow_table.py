"""Write rows as Parquet or Arrow, one group at a time, in two passes: one finds the column types, the other writes.

A field that is a string in one row and a number in another, or that Parquet cannot represent, becomes a string column.
Strings are written unchanged, other values as JSON.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from manycall.errors import UsageError
from manycall.records import Fields

GROUP_ROWS = 5_000
"""Rows per row group, which are in memory at the same time."""
GROUP_VECTOR_BYTES = 16 << 20
"""Bytes of vectors per row group; a row group has fewer rows if they are long."""
MAX_EXACT_INTEGER = 2**53
"""All integers up to this one are exact as 64-bit floats."""
TYPE_NAMES = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class ArrowTable:
    """Column types of a table, and the writers for it.

    Args:
        rows: All rows, from which the column types are inferred.
        vectors: Names of columns of vectors, which come last, with the length of the vectors. The values are
            little-endian 32-bit floats as bytes.

    Attributes:
        notes: Fields that became string columns, with the reason.

    Raises:
        UsageError: pyarrow is not installed.
    """

    def __init__(self, rows: Iterable[Fields], vectors: Mapping[str, int] | None = None) -> None:
        try:
            import pyarrow
        except ImportError:
            raise UsageError("Parquet and Arrow need the extra: pip install 'manycall[parquet]'") from None
        self._arrow = pyarrow
        self._conversion_errors = (pyarrow.ArrowException, ValueError, TypeError, OverflowError)
        self._types: dict[str, Any] = {}  # None: string column
        self._first_types: dict[str, str] = {}  # field -> type of its first value
        self._large_integers: set[str] = set()
        self.notes: list[str] = []
        for number, group in enumerate(_groups(rows, GROUP_ROWS)):
            self._update_types(group, 1 + number * GROUP_ROWS)
        self._vectors = {} if vectors is None else dict(vectors)
        row_bytes = 4 * sum(self._vectors.values())
        self._group_rows = max(1, min(GROUP_ROWS, GROUP_VECTOR_BYTES // row_bytes)) if row_bytes else GROUP_ROWS
        for name, length in self._vectors.items():
            self._types[name] = pyarrow.list_(pyarrow.float32(), length)

    def __repr__(self) -> str:
        return f"<ArrowTable {', '.join(self._types)}>"

    def _update_types(self, group: list[Fields], start: int) -> None:
        for name in {name: None for row in group for name in row}:
            values = [row.get(name) for row in group]
            kind, known = self._infer_type(values), self._types.get(name, True)
            if "int64" in str(kind) and any(map(_has_large_integer, values)):
                self._large_integers.add(name)
            self._types[name] = kind if known is True else self._common_type(name, known, kind)
            reason = self._conflict(name, values, start)
            if known is not None and self._types[name] is None:
                self.notes.append(f"{name} (written as text, with other values as JSON: {reason})")

    def _conflict(self, name: str, values: list[Any], start: int) -> str:
        """Describe the first row whose type differs from earlier rows."""
        for number, value in enumerate(values, start):
            type_name = TYPE_NAMES.get(type(value))
            if type_name is not None and self._first_types.setdefault(name, type_name) != type_name:
                return f"row {number} is {type_name}"
        return "Parquet has no type for all of them"

    def _infer_type(self, values: list[Any]) -> Any:
        try:
            kind = self._arrow.array(values).type
        except self._conversion_errors:
            return None
        return None if "struct<>" in str(kind) else kind  # Parquet has no objects without fields

    def _common_type(self, name: str, one: Any, other: Any) -> Any:
        """Return a type for both, or None. An integer that a float cannot represent does not become a float."""
        if one is None or other is None:
            return None
        schemas = [self._arrow.schema([("x", kind)]) for kind in (one, other)]
        try:
            common = self._arrow.unify_schemas(schemas, promote_options="permissive").field("x").type
        except self._conversion_errors:
            return None
        makes_floats = any(self._makes_floats(kind, common) for kind in (one, other))
        return None if name in self._large_integers and makes_floats else common

    def _makes_floats(self, kind: Any, common: Any) -> bool:
        """Return whether integers of a type, which may be nested, become floats in the common type."""
        of = self._arrow.types
        if of.is_list(kind) and of.is_list(common):
            return self._makes_floats(kind.value_type, common.value_type)
        if of.is_struct(kind) and of.is_struct(common):
            return any(self._makes_floats(each.type, common.field(each.name).type) for each in kind)
        return bool(of.is_integer(kind) and of.is_floating(common))

    def write_parquet(self, path: Path, rows: Iterable[Fields]) -> None:
        """Write rows to a Parquet file."""
        from pyarrow import parquet

        self._write(parquet.ParquetWriter(path, self._schema()), rows)

    def write_arrow(self, path: Path, rows: Iterable[Fields]) -> None:
        """Write rows to an Arrow file in the stream format, which `datasets` reads."""
        with path.open("wb") as file:
            self._write(self._arrow.ipc.new_stream(file, self._schema()), rows)

    def _schema(self) -> Any:
        text = self._arrow.string()
        return self._arrow.schema([(name, kind or text) for name, kind in self._types.items()])

    def _write(self, opened: Any, rows: Iterable[Fields]) -> None:
        schema = self._schema()
        with opened as file:
            for group in _groups(rows, self._group_rows):
                columns = [self._column(name, group) for name in self._types]
                file.write_table(self._arrow.table(columns, schema=schema))

    def _column(self, name: str, group: list[Fields]) -> Any:
        kind = self._types[name]
        if name in self._vectors:
            buffer = self._arrow.py_buffer(b"".join([row[name] for row in group]))
            numbers = len(group) * self._vectors[name]
            floats = self._arrow.Array.from_buffers(self._arrow.float32(), numbers, [None, buffer])
            return self._arrow.FixedSizeListArray.from_arrays(floats, self._vectors[name])
        values = [row.get(name) for row in group]
        if kind is None:
            values = [value if value is None or isinstance(value, str) else _json(value) for value in values]
        return self._arrow.array(values, type=kind or self._arrow.string())


def _has_large_integer(value: Any) -> bool:
    """Return whether a value contains an integer that a float may not represent."""
    if isinstance(value, list | dict):
        return any(map(_has_large_integer, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _groups(rows: Iterable[Fields], size: int) -> Iterator[list[Fields]]:
    each = iter(rows)
    while group := list(islice(each, size)):
        yield group

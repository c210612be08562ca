"""Values of a row as a table shows them: flat names, short texts. Rows of other programs may hold anything."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from manycall.records import DECODE_ERRORS

MAX_SHOWN_CHARACTERS, MAX_CELL_CHARACTERS = 300, 200
"""How much of a text the index has, and a table of rows: more than a cell of 1,300 pixels can show."""
MAX_SQL_INTEGER = 2**63 - 1
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def decode_row(line: bytes) -> dict[str, Any] | None:
    """Return a line as a row; None if it is not a JSON object."""
    try:
        return _decode(line)
    except DECODE_ERRORS:
        pass
    try:  # json allows what others write: NaN, lone surrogates
        row = json.loads(line)
        return row if isinstance(row, dict) else None
    except DECODE_ERRORS:
        return None


def flat_values(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) for each field, and for each field of a nested object: `score.strict-match`."""
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def flat_value(row: Mapping[str, Any], name: str) -> Any:
    """Return the value with a flat name; None if there is none."""
    if name in row:
        return row[name]
    outer, _, inner = name.partition(".")
    while inner:
        if isinstance(nested := row.get(outer), dict) and inner in nested:
            return nested[inner]
        head, _, inner = inner.partition(".")
        outer = f"{outer}.{head}"
    return None


def storable(value: Any) -> str | int | float | None:
    """Return a value as SQLite can store it: texts are shortened, nested values become JSON."""
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return (
            int(value)
            if abs(value) <= MAX_SQL_INTEGER
            else float(f"{value:.17g}" if value.bit_length() < 1024 else "inf")
        )
    return shown_text(value)[:MAX_SHOWN_CHARACTERS]


def shown_cell(value: Any) -> tuple[Any, int | None]:
    """Return a value for a list of rows, and the length of its text if that was shortened."""
    if value is None or isinstance(value, bool | float):
        return value, None
    if isinstance(value, int) and abs(value) <= 1 << 53:  # exact in JavaScript
        return value, None
    text = shown_text(value)
    return text[:MAX_CELL_CHARACTERS], len(text) if len(text) > MAX_CELL_CHARACTERS else None


def shown_text(value: Any) -> str:
    """Return any value as text that can be encoded."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        text = "nested too deeply to be shown"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def leaf_strings(value: Any) -> Iterator[str]:
    """Yield every text in a value, but no keys."""
    stack = [value]
    while stack:
        match stack.pop():
            case str(text):
                yield text
            case dict(items):
                stack.extend(items.values())
            case list(items):
                stack.extend(items)

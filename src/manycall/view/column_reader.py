"""Read the small columns out of lines. The fast way decodes only the fields that are needed."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from manycall.records import DECODE_ERRORS
from manycall.view.row_columns import Column, Derivation
from manycall.view.row_values import MAX_SHOWN_CHARACTERS, MAX_SQL_INTEGER, decode_row, flat_value, storable

Values = tuple[Any, ...]


class _UsageCounts(msgspec.Struct):
    prompt_tokens: Any = None
    completion_tokens: Any = None


class _EndedChoice(msgspec.Struct):
    finish_reason: Any = None


class _ReplyBody(msgspec.Struct):
    usage: _UsageCounts | None = None
    choices: list[_EndedChoice] = []


_decode_body = msgspec.json.Decoder(_ReplyBody).decode


def reply_summary(body: Any) -> tuple[Any, Any, Any]:
    """Return the finish reason, the prompt tokens and the completion tokens of a stored reply; None where unknown."""
    try:
        reply = _decode_body(body)
    except (*DECODE_ERRORS, TypeError):
        return None, None, None
    usage = reply.usage or _UsageCounts()
    ending = reply.choices[0].finish_reason if reply.choices else None
    return ending, usage.prompt_tokens, usage.completion_tokens


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str) else None


def _is_flipped(replies: Any) -> bool | None:
    """Return whether a judge's verdict changed with the order of the answers; None if it saw one order only."""
    read = [each for each in replies if isinstance(each, dict)] if isinstance(replies, list) else []
    if len({bool(each.get("swapped")) for each in read}) < 2:
        return None
    return len({str(each.get("verdict")) for each in read}) > 1


DERIVE: dict[Derivation, Callable[[Any], Any]] = {
    "value": lambda value: value,
    "length": _length,
    "ending": lambda body: reply_summary(body)[0],
    "prompt_tokens": lambda body: reply_summary(body)[1],
    "completion_tokens": lambda body: reply_summary(body)[2],
    "flipped": _is_flipped,
}


class ColumnReader:
    """Reads some columns of lines.

    Args:
        columns: at least one.
        names: the flat names of all known fields, which say whether `a.b` is a field or one in a nested object.
    """

    def __init__(self, columns: Sequence[Column], names: Iterable[str]) -> None:
        self._columns = columns
        outer = {name.partition(".")[0] for name in names if "." in name}
        tops: dict[str, list[str]] = {}
        for column in columns:
            top, _, inner = column.source.partition(".")
            nests = bool(inner) and top in outer and column.source in set(names)
            tops.setdefault(top if nests else column.source, []).extend([inner] if nests else [])
        self._decode, attributes = _decoder(tops)
        self._getters = [attrgetter(attributes[column.source]) for column in columns]

    def read(self, lines: Sequence[bytes]) -> list[Values]:
        """Return the values of each line, as SQLite can store them; only None for a line that cannot be decoded."""
        if not self._columns:
            return [()] * len(lines)
        try:
            rows = list(map(self._decode, lines))
            values = [self._column(rows, number) for number in range(len(self._columns))]
        except (*DECODE_ERRORS, AttributeError):
            return [self._slow_values(line) for line in lines]
        return list(zip(*values, strict=True))

    def _column(self, rows: Sequence[Any], number: int) -> list[Any]:
        values = list(map(self._getters[number], rows))
        derivation = self._columns[number].derivation
        if derivation == "length":
            return [len(value) if type(value) is str else None for value in values]
        if derivation != "value":
            values = list(map(DERIVE[derivation], values))
        return [  # in line, because a call for each value would take longer than all of this
            value
            if (kind := type(value)) is float
            or value is None
            or (kind is str and len(value) <= MAX_SHOWN_CHARACTERS)
            or (kind is int and -MAX_SQL_INTEGER <= value <= MAX_SQL_INTEGER)
            else storable(value)
            for value in values
        ]

    def _slow_values(self, line: bytes) -> Values:
        row = decode_row(line)
        if row is None:
            return (None,) * len(self._columns)
        return tuple(storable(DERIVE[each.derivation](flat_value(row, each.source))) for each in self._columns)


def _decoder(tops: dict[str, list[str]]) -> tuple[Callable[[bytes], Any], dict[str, str]]:
    """Return a decoder of the fields, and the attribute of each flat name.

    Args:
        tops: name of a field → names of the fields in it that are needed; none: the field itself.
    """
    fields: list[Any] = []
    rename, attributes = {}, {}
    for number, (top, inner) in enumerate(tops.items()):
        attribute = f"f{number}"
        rename[attribute] = top
        if not inner:
            attributes[top] = attribute
            fields.append((attribute, Any, None))
            continue
        inner_rename = {f"g{k}": name for k, name in enumerate(dict.fromkeys(inner))}
        nested = msgspec.defstruct(
            "Nested", [(name, Any, None) for name in inner_rename], rename=inner_rename, gc=False
        )
        attributes |= {
            f"{top}.{name}": f"{attribute}.{inner_attribute}" for inner_attribute, name in inner_rename.items()
        }
        fields.append((attribute, nested, msgspec.field(default_factory=nested)))
    return msgspec.json.Decoder(msgspec.defstruct("Line", fields, rename=rename, gc=False)).decode, attributes

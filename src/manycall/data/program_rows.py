"""Mappings of the user's program as rows."""

from collections.abc import Mapping
from typing import Any

import msgspec

from manycall.data.nesting import TOO_DEEP, is_too_deep
from manycall.json_values import has_infinity, json_value
from manycall.records import Fields

_encode = msgspec.json.Encoder(enc_hook=json_value).encode


def row_from_mapping(fields: Any) -> Fields:
    """Convert a mapping to the row that a file with the same JSON would contain.

    Raises:
        ValueError: it is not a mapping, cannot be written as JSON, or is nested too deep. The message continues the
            location of the row: ", field 'NAME': reason" or ": reason".
    """
    if not isinstance(fields, Mapping):
        advice = " For example: [{'text': text} for text in rows]." if isinstance(fields, str) else ""
        raise ValueError(f": a row must be a mapping with fields, not {type(fields).__name__}.{advice}")
    try:
        text = _encode(dict(fields))
        decoded: Fields = msgspec.json.decode(text)
        if text.find(b"null") >= 0 and has_infinity(fields):
            raise ValueError("infinity is not a JSON number")
    except RecursionError:
        raise ValueError(f": {TOO_DEEP}") from None
    except (TypeError, ValueError) as error:
        reason = f"cannot be written as JSON: {error}. Convert the value first."
        raise ValueError(f"{_unusable_field(fields)}: {reason}") from None
    if is_too_deep(decoded, text):
        raise ValueError(f": {TOO_DEEP}")
    return decoded


def _unusable_field(fields: Mapping[str, Any]) -> str:
    """Return ", field 'NAME'" for the first field whose value has no JSON form; "" if it is a field's name."""
    for name, value in fields.items():
        try:
            _encode(value)
        except (TypeError, ValueError, RecursionError):
            return f", field {name!r}"
        if has_infinity(value):
            return f", field {name!r}"
    return ""

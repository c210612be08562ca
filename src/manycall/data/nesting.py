"""Limit on the nesting of JSON values. Recursive code would exceed Python's recursion limit on deeper ones."""

from typing import Any

MAX_NESTING = 200
"""Maximum number of nested arrays and objects in a row and in the result of a row function."""
TOO_DEEP = f"nested more than {MAX_NESTING} levels deep. Flatten it."


def is_too_deep(value: Any, text: str | bytes) -> bool:
    """Return whether a value is nested more than MAX_NESTING levels deep.

    Args:
        text: the value as JSON text. If it has at most MAX_NESTING brackets, the value is not searched.
    """
    if is_flat(value):
        return False
    brackets = text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")
    if brackets <= MAX_NESTING:
        return False
    level = [value]
    for _ in range(MAX_NESTING):
        level = [each for outer in level for each in (outer.values() if isinstance(outer, dict) else outer)]
        level = [each for each in level if isinstance(each, dict | list)]
    return bool(level)


def is_flat(value: Any) -> bool:
    """Return whether a value is an object without arrays and objects, as most rows are. Much faster than a search."""
    if not isinstance(value, dict):
        return False
    for each in value.values():  # noqa: SIM110 (on the path of every row; a generator takes three times as long)
        if isinstance(each, dict | list):
            return False
    return True

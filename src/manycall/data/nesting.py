"""Limit on the nesting of JSON values. Recursive code would exceed Python's recursion limit on deeper ones."""

from typing import Any

MAX_NESTING = 200
"""Maximum number of nested arrays and objects in a row and in the result of a row function."""
_CONTAINERS = (dict, list)
TOO_DEEP = f"nested more than {MAX_NESTING} levels deep. Flatten it."


def is_flat(value: dict[str, Any]) -> bool:
    """Return whether no value of an object is a list or an object."""
    for each in value.values():  # noqa: SIM110 (for each row; a generator takes twice as long)
        if type(each) is not str and isinstance(each, _CONTAINERS):
            return False
    return True


def is_too_deep(value: dict[str, Any], text: str | bytes) -> bool:
    """Return whether an object is nested more than MAX_NESTING levels deep.

    Args:
        text: the object as JSON text. If it has at most MAX_NESTING brackets, the object is not searched.
    """
    if is_flat(value):  # as most rows are; counting the brackets of 1 KB takes 0.4 µs
        return False
    brackets = text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")
    if brackets <= MAX_NESTING:
        return False
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [each for outer in level for each in (outer.values() if isinstance(outer, dict) else outer)]
        level = [each for each in level if isinstance(each, dict | list)]
    return bool(level)

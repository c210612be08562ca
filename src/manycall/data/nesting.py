"""How deep JSON values may be nested. Code that walks through deeper ones would hit Python's recursion limit."""

from typing import Any

MAX_NESTING = 200
"""Levels of arrays and objects within each other, in a row and in what a row function returns."""
TOO_DEEP = f"nested more than {MAX_NESTING} levels deep: flatten it"


def is_too_deep(value: Any, text: str | bytes) -> bool:
    """Whether a value is nested too deeply.

    Args:
        text: the same as JSON. A value with at most MAX_NESTING brackets need not be searched.
    """
    brackets = text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")
    if brackets <= MAX_NESTING:
        return False
    level = [value]
    for _ in range(MAX_NESTING):
        level = [each for outer in level for each in (outer.values() if isinstance(outer, dict) else outer)]
        level = [each for each in level if isinstance(each, dict | list)]
    return bool(level)

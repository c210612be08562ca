"""Values of other libraries as JSON values: numpy scalars, data-frame cells, dates, paths."""

import math
from os import PathLike, fspath
from typing import Any


def json_value(value: Any) -> Any:
    """Return a value that JSON has in place of one that it does not. An encoder calls it for unknown types only.

    Raises:
        TypeError: there is none.
    """
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    if type(value).__name__ in ("NAType", "NaTType"):  # missing values of pandas
        return None
    if hasattr(value, "isoformat"):  # dates of any library
        return value.isoformat()
    if isinstance(value, PathLike):
        return fspath(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def json_cell(value: Any) -> Any:
    """Return a data frame's cell as a JSON value; a missing number (NaN) is None."""
    return None if isinstance(value, float) and math.isnan(value) else value


def has_infinity(value: Any) -> bool:
    """Whether a value that can be written as JSON contains an infinity, which the encoder would write as null."""
    pending = [value]
    while pending:  # not recursive, because the encoder accepts deeper values than Python's stack
        value = pending.pop()
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, float) and math.isinf(value):
            return True
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            pending.extend(value)
    return False

"""Identify a Python function across processes, for the settings of a run."""

import re
from collections.abc import Callable
from hashlib import blake2b
from types import CodeType
from typing import Any


def function_identity(function: Callable[..., Any]) -> str:
    """Return a text that identifies a function: its name and a hash of its bytecode, without file, line or comments."""
    name = getattr(function, "__qualname__", type(function).__name__)
    code = getattr(function, "__code__", None)
    return f"function {name} {blake2b(_bytecode(code), digest_size=8).hexdigest()}" if code else f"function {name}"


def is_function_identity(text: object) -> bool:
    """Return whether a setting identifies a function, so that the function itself is not known."""
    return isinstance(text, str) and re.fullmatch(r"function \S+( [0-9a-f]{16})?", text) is not None


def _bytecode(code: CodeType) -> bytes:
    return b"\0".join([code.co_code, *map(_constant, code.co_consts), *(name.encode() for name in code.co_names)])


def _constant(value: Any) -> bytes:
    if isinstance(value, CodeType):
        return _bytecode(value)
    if isinstance(value, frozenset):  # its order differs between processes
        return b"\0".join(sorted(map(_constant, value)))
    return repr(value).encode("utf-8", "surrogatepass")

"""Types of the arguments of jobs. Python does not check them, and a wrong one would fail somewhere inside."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import signature
from numbers import Integral, Real
from os import PathLike
from typing import Any, TypeVar, cast

from manycall.errors import UsageError
from manycall.option_flags import option

F = TypeVar("F", bound=Callable[..., Any])
Kind = tuple[tuple[type, ...], str]
"""Types that a value may have, and what a message calls them."""

_TEXT: Kind = (str,), "a text"
_WHOLE_NUMBER: Kind = (Integral,), "a whole number"
_NUMBER: Kind = (Real,), "a number"
_MAPPING: Kind = (Mapping,), "a mapping of names to values"
ARGUMENT_TYPES: dict[str, Kind] = {
    "model": _TEXT,
    "params": _MAPPING,
    "random_vars": _MAPPING,
    "grid_vars": _MAPPING,
    "scale": ((str,), 'a text such as "1-5"'),
    "requests": ((str, PathLike), "the path of a file"),
    "steps": ((str, PathLike, Sequence), "a list of steps or the path of a file"),
    **dict.fromkeys(("timeout", "idle_timeout", "temperature", "max_cost"), _NUMBER),
    **dict.fromkeys(("concurrency", "max_tokens", "limit", "max_total_tokens"), _WHOLE_NUMBER),
    **dict.fromkeys(("samples", "reask", "seed", "dimensions", "batch_size"), _WHOLE_NUMBER),
}
"""The types by name of the argument. None is allowed everywhere, and means the default."""


def check_types(values: Mapping[str, object], spelled: Callable[[str], str] = option) -> None:
    """Check the values of arguments that are in the table. The command line has checked them already.

    Args:
        spelled: returns how a message names an argument.

    Raises:
        UsageError: one has another type, for example "8" or 8.0 for a whole number.
    """
    for name, (types, expected) in ARGUMENT_TYPES.items():
        value = values.get(name)
        if value is not None and (not isinstance(value, types) or isinstance(value, bool)):
            raise UsageError(f"{spelled(name)} must be {expected}, not {value!r:.100}.")


def with_checked_types(function: F) -> F:
    """Let a function check the types of its arguments first."""
    parameters = signature(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        check_types(parameters.bind(*args, **kwargs).arguments)
        return function(*args, **kwargs)

    return cast(F, call)

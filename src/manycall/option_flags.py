"""How options are declared, and how messages refer to them: `base_url=` in Python, `--base-url` on the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

_SINGULAR = {
    "params": "param", "random_vars": "random-var", "grid_vars": "grid-var", "benchmarks": "benchmark",
    "images": "image",
}  # fmt: skip
"""A repeatable flag is the singular of the Python mapping or list."""


@dataclass(frozen=True)
class Flag:
    """The declaration of one option, as metadata of its type: `limit: Annotated[int | None, Flag("…")] = None`.

    Attributes:
        help: one or two sentences, shown by `--help` and in the docstrings.
        short: a one-letter flag, "-u".
        metavar: what `--help` shows in place of the value.
        parse_as: the type that the command line parses, if it differs from the option's own.
        hidden: the option exists in Python only.
    """

    help: str
    short: str = ""
    metavar: str | None = None
    parse_as: Any = None
    hidden: bool = False


def flag_name(name: str) -> str:
    """Return the long flag of an option: `max_cost` → `--max-cost`, `params` → `--param`, `from_` → `--from`."""
    return f"--{_SINGULAR.get(name, name).rstrip('_').replace('_', '-')}"


class _Spelling:
    is_command_line = False


@contextmanager
def spelled_as_flags() -> Iterator[None]:
    """Let messages name options by their flags inside the `with` block. Only the command line does this."""
    before = _Spelling.is_command_line
    _Spelling.is_command_line = True
    try:
        yield
    finally:
        _Spelling.is_command_line = before


def is_command_line() -> bool:
    """Return whether messages name options by their flags."""
    return _Spelling.is_command_line


def option(name: str, value: object = None) -> str:
    """Return an option as the user of this process writes it, alone or with a value.

    `option("max_cost")` is `--max-cost` or `max_cost=`; `option("limit", 5)` is `--limit 5` or `limit=5`;
    `option("overwrite", True)` is `--overwrite` or `overwrite=True`.
    """
    if not _Spelling.is_command_line:
        shown = str(value) if isinstance(value, PurePath) else value
        return f"{name}=" if value is None else f"{name}={shown!r}"
    flag = flag_name(name)
    return flag if value is None or value is True else f"{flag} {value}"


def spelled(command: str, call: str) -> str:
    """Return the text for the command line or the one for Python, whichever the user of this process uses."""
    return command if _Spelling.is_command_line else call


def rerun() -> str:
    """Return how to run a job again: "rerun the same command" or "make the same call again"."""
    return spelled("rerun the same command", "make the same call again")


def quoted_option(name: str, value: str) -> str:
    """Return an option with a value in quotes, at most 200 characters of it: `--base-url 'x'` or `base_url='x'`."""
    return f"{flag_name(name)} {value!r:.200}" if _Spelling.is_command_line else f"{name}={value!r:.200}"

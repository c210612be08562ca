"""How options are declared, and how messages refer to them: `base_url=` in Python, `--base-url` on the command line."""

from dataclasses import dataclass
from typing import Any

_SINGULAR = {"params": "param", "random_vars": "random-var", "grid_vars": "grid-var", "benchmarks": "benchmark"}
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
    """Return the long flag of an option: `max_cost` → `--max-cost`, `params` → `--param`."""
    return f"--{_SINGULAR.get(name, name).replace('_', '-')}"


class _Spelling:
    is_command_line = False


def spell_as_flags() -> None:
    """Let messages name options by their flags from now on. Only the command line calls this, when it starts."""
    _Spelling.is_command_line = True


def option(name: str, value: object = None) -> str:
    """Return an option as the user of this process writes it, alone or with a value.

    `option("max_cost")` is `--max-cost` or `max_cost=`; `option("limit", 5)` is `--limit 5` or `limit=5`;
    `option("overwrite", True)` is `--overwrite` or `overwrite=True`.
    """
    if not _Spelling.is_command_line:
        return f"{name}=" if value is None else f"{name}={value!r}"
    flag = flag_name(name)
    return flag if value is None or value is True else f"{flag} {value}"

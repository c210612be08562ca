"""Flags that several verbs share. Those of every verb that makes calls are generated from `RunOptions`."""

import json
from collections.abc import Callable, Collection
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from manycall.data.config_files import read_text
from manycall.errors import UsageError
from manycall.option_flags import Flag, flag_name
from manycall.run.options import declared_options

Command = Callable[..., None]


def typer_option(name: str, default: Any, flag: Flag) -> Any:
    """Return what Typer needs to know of a declared option."""
    long = flag_name(name)
    names = [flag.short, f"{long}/--no-{long[2:]}" if default is True else long]
    return typer.Option(*filter(None, names), help=flag.help, metavar=flag.metavar)


_DECLARED = {name: typer_option(name, default, flag) for name, _, default, flag in declared_options()}
RUN_PARAMETERS = [
    Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if default is msgspec.NODEFAULT else default,
        annotation=Annotated[flag.parse_as or kind, _DECLARED[name]],
    )
    for name, kind, default, flag in declared_options()
    if not flag.hidden
]
"""The Typer parameters of all run options that have a flag."""

Price = Annotated[str | None, _DECLARED["price"]]
OptionalModel = Annotated[str | None, _DECLARED["model"]]
Samples = Annotated[int | None, typer.Option("-n", "--samples", help="Number of samples per row.")]
System = Annotated[str | None, typer.Option("-s", "--system", help="A template for the system message.")]
TextField = Annotated[
    str | None, typer.Option("--text-field", help="The field with the answer. Default: the one that generate wrote.")
]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="FIELD",
        help="Show the image in this field: a path (relative to the file of the rows), a URL, or bytes. Repeatable.",
    ),
]
Exclude = Annotated[
    list[Path] | None, typer.Option("--exclude", metavar="FILE", help="Leave out the rows listed in this file.")
]
RandomVars = Annotated[
    list[str] | None,
    typer.Option(
        "--random-var",
        metavar="NAME=VALUES",
        help="A variable chosen at random for each row: NAME=a,b,c, NAME=FILE.txt, NAME=FILE.jsonl:FIELD or FILE.toml.",
    ),
]
GridVars = Annotated[
    list[str] | None,
    typer.Option(
        "--grid-var", metavar="NAME=VALUES", help="Repeat each row for every value (every combination of several)."
    ),
]
Reask = Annotated[int, typer.Option("--reask", help="How often to ask again after an invalid answer.")]
Scorer = Annotated[
    str | None,
    typer.Option(
        "--scorer",
        help="TASK, TASK/FILTER, FILE.py:task, exact, numeric, choice, boxed, last-integer or regex:PATTERN. "
        "Default: the task that wrote the output.",
    ),
]
NoAnswer = Annotated[
    Literal["wrong", "exclude"],
    typer.Option("--no-answer", help="Score rows without an answer as wrong, or exclude them from the scores."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        callback=lambda path: path and _check_report(path),
        help="Write a report: .html or .md (Markdown).",
    ),
]
Data = Annotated[
    Path | None, typer.Option("--data", help="A local file of questions, instead of the one that is downloaded.")
]
FewshotData = Annotated[
    Path | None,
    typer.Option("--fewshot-data", help="A local file of solved examples, instead of the one that is downloaded."),
]
FailUnder = Annotated[
    float | None,
    typer.Option(
        "--fail-under",
        callback=lambda least: least if least is None else _check_fraction(least),
        help="Exit with code 4 if no score reaches this value, from 0 to 1. Of several runs, each needs such a score.",
    ),
]


def _check_fraction(least: float) -> float:
    """Check the threshold before any call is paid for."""
    if not 0 <= least <= 1:
        raise UsageError(f"--fail-under must be from 0 to 1, as scores are, not {least:g}")
    return least


def _check_report(path: Path) -> Path:
    """Check the path before any call is paid for."""
    from manycall.reports.page import check_report_path

    return check_report_path(path)


def with_run_flags(*, exclude: Collection[str] = ()) -> Callable[[Command], Command]:
    """Add the flags of `RunOptions` to a verb, which gets their values as its own `**options`.

    Typer reads a verb's flags from its signature. The new one lists the required run options first, then the verb's
    own parameters, then the other run options, and the verb's keyword-only parameters last.

    Args:
        exclude: run options that the verb does not take, or declares itself.
    """

    def decorator(verb: Command) -> Command:
        own = [each for each in signature(verb).parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        shared = [each for each in RUN_PARAMETERS if each.name not in exclude]
        order = [
            *(each for each in shared if each.default is Parameter.empty),
            *(each for each in own if each.kind is not Parameter.KEYWORD_ONLY),
            *(each for each in shared if each.default is not Parameter.empty),
            *(each for each in own if each.kind is Parameter.KEYWORD_ONLY),
        ]

        @wraps(verb)
        def command(**given: Any) -> None:
            verb(**{**given, "params": parse_params(given["params"] or [])})

        command.__signature__ = Signature(  # type: ignore[attr-defined]
            [each.replace(kind=Parameter.KEYWORD_ONLY) for each in order]
        )
        return command

    return decorator


def parse_params(given: list[str]) -> dict[str, Any]:
    """Parse `name=value` pairs. A value is JSON if it can be read so, else text; `@FILE` is the content of a file.

    Raises:
        UsageError: a pair without "=", or a file that cannot be read. The message does not repeat the pair, because it
            may contain a key.
    """
    params: dict[str, Any] = {}
    for number, pair in enumerate(given, 1):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            which = f" number {number}" if len(given) > 1 else ""
            raise UsageError(f"--param{which} is not valid. Expected NAME=VALUE, for example --param top_p=0.9.")
        if value.startswith("@"):
            value = read_text(Path(value[1:]), f"--param {name}")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def parse_variable_flags(given: list[str] | None) -> dict[str, Any] | None:
    """Parse the values of --random-var or --grid-var.

    Raises:
        UsageError: a variable without values, or a file of variables that cannot be read.
    """
    from manycall.data.variable_values import parse_variable_args

    return parse_variable_args(given) if given else None

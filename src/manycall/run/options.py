"""The options of every job that makes calls, each declared once.

The flags of the command line, the keywords' documentation in Python and docs/cli.md follow from `RunOptions`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import Flag, option
from manycall.providers.prices import GivenPrice
from manycall.records import Secret
from manycall.run.argument_types import check_types
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS

Reasoning = Literal["separate", "inline", "drop"]
"""Where thinking text is written. Scorers, judges, schemas and `parse` never get it."""
Retry = Literal["truncated"]
"""Finished rows that are asked for again. Failed rows always are."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What every job takes."""

    model: Annotated[
        str, Flag("The model's name at the endpoint. Default: that of the endpoint in endpoints.toml.", short="-m")
    ] = ""
    out: Annotated[
        str | PathLike[str],
        Flag(
            "The output file. The same command resumes it. A folder OUT.run is created next to it.",
            short="-o",
            metavar="PATH",
            parse_as=str,  # a Path drops a trailing slash
        ),
    ]
    base_url: Annotated[
        str | Sequence[str] | None,
        Flag(
            "The endpoint, for example http://localhost:8000/v1, or a provider, for example deepseek, or both, for "
            "example vllm=http://gpu1:8000/v1; several form one pool. 'sim' is the simulated endpoint "
            "(sim:latency=0.2,slots=8 sets its options). Default: OPENAI_BASE_URL, endpoints.toml, OpenAI.",
            short="-u",
            metavar="URL",
            parse_as=list[str] | None,
        ),
    ] = None
    endpoint: Annotated[
        str | None,
        Flag(
            "The name in endpoints.toml of the endpoints to use. Default: the endpoints without a name, or those with "
            "the first name if all have one.",
            metavar="NAME",
        ),
    ] = None
    api_key: Annotated[
        Secret | None, Flag('The API key. Default: the variable of the provider; "" sends no key.', hidden=True)
    ] = None
    plain_http: Annotated[bool, Flag("Allow the key to be sent unencrypted (http) to another machine.")] = False
    concurrency: Annotated[
        int | None, Flag("Number of concurrent calls. Default: chosen and adjusted automatically.", short="-j")
    ] = None
    timeout: Annotated[float, Flag("Seconds for one attempt.")] = DEFAULT_TIMEOUT_SECONDS
    idle_timeout: Annotated[float, Flag("Seconds without a byte after which a streamed response fails.")] = (
        DEFAULT_IDLE_TIMEOUT_SECONDS
    )
    temperature: Annotated[float | None, Flag("Sampling temperature.")] = None
    max_tokens: Annotated[int | None, Flag("Maximum length of an answer, in tokens.")] = None
    params: Annotated[
        Mapping[str, Any] | None,
        Flag(
            "Any other parameter of the calls, for example top_p=0.9.", metavar="NAME=VALUE", parse_as=list[str] | None
        ),
    ] = None
    drop: Annotated[
        str | Sequence[str] | None,
        Flag(
            "Do not send this parameter. May be repeated.",
            metavar="NAME",
            parse_as=list[str] | None,
        ),
    ] = None
    thinking: Annotated[
        str | int | None,
        Flag(
            "Thinking of the model: on, off, low, medium, high, or the maximum number of thinking tokens, translated "
            "into the provider's parameter. Default: the model's own.",
            metavar="VALUE",
            parse_as=str | None,
        ),
    ] = None
    reasoning: Annotated[
        Reasoning,
        Flag(
            "Thinking text of the model: separate writes it to the field OUTPUT_FIELD_reasoning, inline writes it "
            "before the answer in <think> tags, drop does not write it."
        ),
    ] = "separate"
    limit: Annotated[int | None, Flag("Take only the first N input rows.")] = None
    id_field: Annotated[str | None, Flag("The field with a row's id. Default: id or custom_id.")] = None
    max_total_tokens: Annotated[
        int | None, Flag("Stop when prompts and answers have used this many tokens, over all sessions of the output.")
    ] = None
    max_cost: Annotated[
        float | None, Flag("Stop when the output has cost this much, over all sessions. Requires a price.")
    ] = None
    price: Annotated[
        GivenPrice | None,
        Flag(
            "Dollars per million tokens of prompts and of answers: 0.15/0.60. With cached prompt tokens: "
            "0.15/0.015/0.60.",
            metavar="IN[/CACHED]/OUT",
            parse_as=str | None,
        ),
    ] = None
    prices: Annotated[
        str | Path | None,
        Flag("Prices of models: a JSON file in the form of LiteLLM's table.", metavar="FILE", parse_as=Path | None),
    ] = None
    max_time: Annotated[
        str | float | None,
        Flag("Start no new call after this time: 90s, 30m, 2h.", metavar="TIME", parse_as=str | None),
    ] = None
    from_: Annotated[
        str | PathLike[str] | None,
        Flag(
            "Decide the rows with the journaled answers of this output; only missing calls are made. If it is OUT "
            "itself, the new rows replace the old ones when all are done.",
            metavar="OUTPUT",
            parse_as=Path | None,
        ),
    ] = None
    dry_run: Annotated[bool, Flag("Show the first requests and the estimated cost; make no call.")] = False
    retry: Annotated[
        Retry | None,
        Flag("truncated: ask again for rows whose answer was truncated, with a larger --max-tokens."),
    ] = None
    processes: Annotated[
        int | str | None,
        Flag(
            "Number of processes that make the calls; auto starts more while this machine is the limit. Default: this "
            "process does it.",
            metavar="N|auto",
            parse_as=str | None,
        ),
    ] = None
    cluster: Annotated[
        str | None,
        Flag(
            "Make the calls on a Ray cluster: auto for the one of this machine or of RAY_ADDRESS, or HOST:PORT of its "
            "head. --processes is the number of workers.",
            metavar="auto|HOST:PORT",
        ),
    ] = None
    overwrite: Annotated[bool, Flag("Start over. An existing output is moved to OUT.old.")] = False
    progress: Annotated[bool, Flag("Show a status line.")] = True

    def __post_init__(self) -> None:
        check_choice("reasoning", self.reasoning, Reasoning)
        if self.retry is not None:
            check_choice("retry", self.retry, Retry)
        check_types(msgspec.structs.asdict(self))


CONNECTION_OPTIONS = (
    "model", "base_url", "endpoint", "api_key", "plain_http", "concurrency", "timeout", "idle_timeout", "drop",
    "thinking", "processes", "cluster",
)  # fmt: skip
"""Options that belong to a client; a job on an existing client does not take them."""


def declared_options() -> Iterator[tuple[str, Any, Any, Flag]]:
    """Yield (name, type, default, declaration) of each option; `msgspec.NODEFAULT` where it is required."""
    hints = get_type_hints(RunOptions, include_extras=True)
    for field in msgspec.structs.fields(RunOptions):
        annotated = hints[field.name]
        yield field.name, annotated.__origin__, field.default, annotated.__metadata__[0]


def check_choice(name: str, value: object, choices: Any) -> None:
    """Check the value of an option that has a few possible values. The command line has checked it already.

    Args:
        choices: a `Literal` of the values.

    Raises:
        UsageError: it has another value.
    """
    if value not in get_args(choices):
        raise UsageError(f"{option(name, value)} is not valid. Expected {' or '.join(get_args(choices))}.")


def wrap_api_key(key: str | Secret | None) -> Secret | None:
    """Hide a key first of all: a traceback may be printed with the values of variables."""
    return None if key is None else Secret(key)


DOCS_MARKER = "(run options): see `manycall.run.options.RunOptions`."
F = TypeVar("F", bound=Callable[..., Any])


def document_run_options(function: F) -> F:
    """Replace the marker line in a docstring by a line for each run option that the function takes."""
    doc = function.__doc__ or ""
    indent = next(line for line in doc.splitlines() if line.endswith(DOCS_MARKER)).removesuffix(DOCS_MARKER)
    names = function.__annotations__
    lines = [f"{name}: {flag.help}" for name, _, _, flag in declared_options() if name in names]
    function.__doc__ = doc.replace(DOCS_MARKER, f"\n{indent}".join(lines))
    return function

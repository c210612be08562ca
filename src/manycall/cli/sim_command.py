"""The verb that starts the simulated endpoint. Its flags are generated from `SimSettings`."""

from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from manycall.cli.flags import typer_option
from manycall.option_flags import Flag
from manycall.sim.sim_settings import SimSettings, declared_settings

_OWN = (
    ("host", str, "127.0.0.1", Flag("Address to listen on.")),
    ("port", int, 8399, Flag("Port; 0: any free port.")),
    ("answer_key", str | None, None, Flag("Known answers: wordmath, or a file of rows with question and answer.")),
)


def sim(**given: Any) -> None:
    """Start a simulated OpenAI-compatible endpoint. Prints its URL first and its statistics at the end."""
    from manycall.cli.user_code import load_answer_key
    from manycall.sim.asgi import serve

    settings = SimSettings(**{name: given[name] for name in SimSettings.__struct_fields__})
    serve(
        settings, load_answer_key(given["answer_key"]), host=given["host"], port=given["port"],
        until_stdin_closes=given["until_stdin_closes"],
    )  # fmt: skip


def _parameters() -> list[Parameter]:
    hidden = Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)]
    return [
        *(
            Parameter(
                name,
                Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[kind, typer_option(name, default, flag)],
            )
            for name, kind, default, flag in (*_OWN, *declared_settings())
        ),
        Parameter("until_stdin_closes", Parameter.KEYWORD_ONLY, default=False, annotation=hidden),
    ]


sim.__signature__ = Signature(_parameters())  # type: ignore[attr-defined]

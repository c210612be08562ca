"""The verb for an endpoint to practise on."""

from typing import Annotated, Literal

import typer

Dialect = Literal["openai", "anthropic", "litellm", "none"]


def sim(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any free one.")] = 8399,
    slots: Annotated[int, typer.Option(help="Calls it works on at once.")] = 256,
    latency: Annotated[float, typer.Option(help="Seconds that every call takes at least.")] = 0.02,
    token_latency: Annotated[float, typer.Option(help="Seconds for each token of output.")] = 0.001,
    batch_latency: Annotated[float, typer.Option(help="Seconds that each call at once adds to that.")] = 0.0,
    prefill_latency: Annotated[float, typer.Option(help="Seconds for each token of a prompt.")] = 0.0,
    network: Annotated[float, typer.Option(help="Seconds on the way, outside of any slot.")] = 0.0,
    tokens: Annotated[float, typer.Option(help="Mean tokens of an answer.")] = 60.0,
    spread: Annotated[float, typer.Option(help="Standard deviation of their logarithm.")] = 0.5,
    follow: Annotated[
        float, typer.Option(help="Tokens of an answer for each token of its prompt, not --tokens.")
    ] = 0.0,
    memory: Annotated[int | None, typer.Option(help="Tokens of prompts and answers that it holds at once.")] = None,
    cache: Annotated[int, typer.Option(help="Tokens of prompts that it remembers the beginnings of.")] = 0,
    rpm: Annotated[int | None, typer.Option(help="Requests it takes a minute; more get 429.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens it takes a minute.")] = None,
    burst: Annotated[float, typer.Option(help="Seconds' worth of these that may come at once.")] = 1.0,
    dialect: Annotated[
        Dialect,
        typer.Option(metavar="DIALECT", help="Whose headers tell of these: openai, anthropic, litellm; or none."),
    ] = "openai",
    key: Annotated[str | None, typer.Option(help="Answer key: wordmath, or a file with question and answer.")] = None,
    accuracy: Annotated[float, typer.Option(help="Fraction of the key that it answers right.")] = 0.75,
    error_rate: Annotated[float, typer.Option(help="Fraction of calls that get a 500.")] = 0.0,
    drop_rate: Annotated[float, typer.Option(help="Fraction of replies cut off in the middle.")] = 0.0,
    slow_rate: Annotated[float, typer.Option(help="Fraction of calls that take ten times as long.")] = 0.0,
    invalid_rate: Annotated[float, typer.Option(help="Fraction of answers that do not fit their schema.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
    until_stdin_closes: Annotated[bool, typer.Option("--until-stdin-closes", hidden=True)] = False,
) -> None:
    """An OpenAI-compatible endpoint to practise on. Prints its URL first and its counts at the end."""
    from manycall.cli.load import load_key
    from manycall.sim.http import serve
    from manycall.sim.model import Behaviour

    behaviour = Behaviour(**{name: ctx.params[name] for name in Behaviour.__struct_fields__})
    serve(behaviour, load_key(key), host=host, port=port, until_stdin_closes=until_stdin_closes)

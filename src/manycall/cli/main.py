"""The verbs: generate, steps, eval, run, score, repair, sim."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from manycall._version import __version__
from manycall.cli import words
from manycall.cli.options import (
    Cross,
    Deadline,
    Draw,
    DryRun,
    Fresh,
    IdField,
    InFlight,
    Json,
    Limit,
    MaxCost,
    MaxTokens,
    MaxTokensTotal,
    Min,
    Model,
    Out,
    Param,
    PlainHttp,
    Price,
    Quiet,
    Reask,
    Samples,
    Temperature,
    Timeout,
    Url,
    common,
    variables,
)  # fmt: skip
from manycall.errors import ManycallError, RunStopped
from manycall.plain import plain, plain_json

app = typer.Typer(
    name="manycall",
    help="Make many LLM calls: fast, resumable, scored.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

SOME_FAILED = 3
BELOW_MIN = 4


@app.command()
def generate(
    ctx: typer.Context,
    model: Model,
    out: Out,
    prompt: Annotated[
        str,
        typer.Option(
            "-p", "--prompt", help="A Jinja template over a row's fields, or its file (.j2, .txt, .md; .toml: turns)."
        ),
    ],
    rows: Annotated[
        Path | None, typer.Argument(help="Rows: .jsonl, .json, .csv, .tsv, .parquet. Without: the prompt alone.")
    ] = None,
    system: Annotated[str | None, typer.Option("-s", "--system", help="A template for the system message.")] = None,
    samples: Samples = None,
    field: Annotated[str, typer.Option("--field", help="The field that takes the answer.")] = "text",
    schema: Annotated[
        Path | None, typer.Option("--schema", help="A JSON schema (.json, .toml) that each answer must fit.")
    ] = None,
    reask: Reask = 2,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send the prompt to /completions as it is, without a chat template.")
    ] = False,
    draw: Draw = None,
    cross: Cross = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws: the same seed gives the same prompts.")] = 0,
    url: Url = None,
    concurrency: InFlight = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    param: Param = None,
    limit: Limit = None,
    max_tokens_total: MaxTokensTotal = None,
    max_cost: MaxCost = None,
    price: Price = None,
    deadline: Deadline = None,
    id_field: IdField = None,
    timeout: Timeout = 600.0,
    plain_http: PlainHttp = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """One text for each row (or -n texts for a prompt alone)."""
    from manycall.synth.generate import generate as job

    report = job(
        prompt, rows, samples=samples, system=system, field=field, schema=schema, raw=raw, reask=reask, seed=seed,
        **variables(ctx), **common(ctx),
    )  # fmt: skip
    _end(report, json)


@app.command()
def steps(
    ctx: typer.Context,
    chain: Annotated[Path, typer.Argument(help="A file of steps (.toml, .json): generate, evolve, judge, keep, set.")],
    model: Model,
    out: Out,
    rows: Annotated[Path | None, typer.Argument(help="Rows. Without: rows with nothing but an id, -n of them.")] = None,
    samples: Samples = None,
    reask: Reask = 2,
    draw: Draw = None,
    cross: Cross = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draws. Default: the file's, or 0.")] = None,
    url: Url = None,
    concurrency: InFlight = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    param: Param = None,
    limit: Limit = None,
    max_tokens_total: MaxTokensTotal = None,
    max_cost: MaxCost = None,
    price: Price = None,
    deadline: Deadline = None,
    id_field: IdField = None,
    timeout: Timeout = 600.0,
    plain_http: PlainHttp = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Several steps for each row: generate, evolve, judge, keep; rejects go to a file of their own."""
    from manycall.synth.steps import steps as job

    _end(job(chain, rows, samples=samples, reask=reask, seed=seed, **variables(ctx), **common(ctx)), json)


@app.command("eval")
def evaluate(
    ctx: typer.Context,
    task: Annotated[str, typer.Argument(help="gsm8k, gsm8k_cot_zeroshot or wordmath.")],
    model: Model,
    out: Out,
    data: Annotated[Path | None, typer.Option("--data", help="A local file of questions.")] = None,
    shots: Annotated[Path | None, typer.Option("--shots", help="A local file of solved examples.")] = None,
    samples: Samples = None,
    min: Min = None,
    url: Url = None,
    concurrency: InFlight = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    param: Param = None,
    limit: Limit = None,
    max_tokens_total: MaxTokensTotal = None,
    max_cost: MaxCost = None,
    price: Price = None,
    deadline: Deadline = None,
    timeout: Timeout = 600.0,
    plain_http: PlainHttp = False,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Ask the questions of a benchmark and score the answers."""
    from manycall.evals.evaluate import evaluate as job

    result = job(task, data=data, shots=shots, samples=samples, **common(ctx))
    _end(result, json, failed=result.failed, below=_below(result, min))


@app.command()
def run(
    ctx: typer.Context,
    function: Annotated[str, typer.Argument(help="FILE.py:function, an async function of (row, llm).")],
    rows: Annotated[Path, typer.Argument(help="Rows: .jsonl, .json, .csv, .tsv, .parquet.")],
    model: Model,
    out: Out,
    samples: Samples = None,
    url: Url = None,
    concurrency: InFlight = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    param: Param = None,
    limit: Limit = None,
    max_tokens_total: MaxTokensTotal = None,
    max_cost: MaxCost = None,
    price: Price = None,
    deadline: Deadline = None,
    id_field: IdField = None,
    timeout: Timeout = 600.0,
    plain_http: PlainHttp = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Your own async function for each row, with as many calls as it likes."""
    from manycall.cli.load import load_function
    from manycall.engine.map import map as job

    _end(job(load_function(function), rows, samples=samples, **common(ctx)), json)


@app.command()
def score(
    out: Annotated[Path, typer.Argument(help="What `manycall eval` wrote.")],
    as_: Annotated[str | None, typer.Option("--as", help="TASK or TASK/FILTER. Default: its own task.")] = None,
    min: Min = None,
    json: Json = False,
) -> None:
    """Score an output again, with no call."""
    from manycall.evals.evaluate import score as job

    result = job(out, as_=as_)
    _end(result, json, below=_below(result, min))


@app.command()
def repair(
    out: Annotated[Path, typer.Argument(help="The output of a run that says it is damaged.")],
) -> None:
    """Move damaged lines of an output and its run directory aside, so that the same command goes on."""
    from manycall.store.repair import repair as job

    print("\n".join(job(out)))


@app.command()
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
    follow: Annotated[float, typer.Option(help="Tokens of an answer for each of its prompt, instead.")] = 0.0,
    memory: Annotated[int | None, typer.Option(help="Tokens of prompts and answers that it holds at once.")] = None,
    cache: Annotated[int, typer.Option(help="Tokens of prompts that it remembers the beginnings of.")] = 0,
    rpm: Annotated[int | None, typer.Option(help="Requests it takes a minute; more get 429.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens it takes a minute.")] = None,
    burst: Annotated[float, typer.Option(help="Seconds' worth of these that may come at once.")] = 1.0,
    dialect: Annotated[str, typer.Option(help="How it tells of them: openai, anthropic, litellm, none.")] = "openai",
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


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"manycall {__version__}")
        raise typer.Exit


def _below(result: Any, least: float | None) -> bool:
    return least is not None and max(score.value for score in result.scores) < least


def _end(result: Any, as_json: bool, *, failed: int | None = None, below: bool = False) -> None:
    """Print what came out, and end with the code that says how it went."""
    if as_json:
        import msgspec

        print(plain_json(msgspec.json.encode(result, enc_hook=str).decode()))
    else:
        print(result)
    failed = getattr(result, "failed", 0) if failed is None else failed
    if below:
        raise typer.Exit(BELOW_MIN)
    if failed:
        raise typer.Exit(SOME_FAILED)


def main() -> None:
    """The command. Every error is one sentence on stderr, and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the screen cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        words.check(sys.argv[1:])
        app()
    except ManycallError as error:
        print(plain(f"manycall: {error}"), file=sys.stderr)
        if isinstance(error, RunStopped):
            again = words.again(sys.argv[1:])
            print(plain(f"{error.done} rows are on disk; {error.remedy}: {again}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # somebody piped us into `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)

"""The verbs that call, and those that look at scores; datasets.py has those for datasets."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from manycall._version import __version__
from manycall.cli import datasets, words
from manycall.cli.datasets import show
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
    OwnModel,
    Param,
    PlainHttp,
    Price,
    Quiet,
    Reask,
    Report,
    Samples,
    Temperature,
    Timeout,
    Url,
    common,
    variables,
)  # fmt: skip
from manycall.errors import ManycallError, RunStopped
from manycall.plain import plain

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
    duplicates: Annotated[bool, typer.Option("--duplicates", help="Count duplicates in the status line.")] = False,
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
        duplicates=duplicates, **variables(ctx), **common(ctx),
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
    task: Annotated[
        str, typer.Argument(help="gsm8k, wordmath, ...; or your own: rows (.jsonl, .csv, ...) or FILE.py:task.")
    ],
    model: Model,
    out: Out,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="For your own rows: a Jinja template. Default: the question.")
    ] = None,
    match: Annotated[
        str | None, typer.Option("--match", help="For your own rows: exact, numeric, choice, boxed, regex:PATTERN.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="A local file of questions.")] = None,
    shots: Annotated[Path | None, typer.Option("--shots", help="A local file of solved examples.")] = None,
    samples: Samples = None,
    min: Min = None,
    report: Report = None,
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
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Ask the questions of a benchmark and score the answers."""
    from manycall.cli.load import load_task
    from manycall.evals.evaluate import evaluate as job

    named = load_task(task)
    result = job(named, data=data, shots=shots, prompt=prompt, match=match, samples=samples, **common(ctx))
    _end(result, json, failed=result.failed, below=_below(result, min), report=report)


@app.command()
def run(
    ctx: typer.Context,
    function: Annotated[
        str,
        typer.Argument(help="FILE.py:function, an async function of (row, llm); or a file of OpenAI Batch requests."),
    ],
    out: Out,
    rows: Annotated[Path | None, typer.Argument(help="A function's rows: .jsonl, .json, .csv, .tsv, .parquet.")] = None,
    model: OwnModel = None,
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
    """Your own async function for each row, with as many calls as it likes; or the requests of an OpenAI Batch file."""
    from manycall.cli.load import load_function
    from manycall.engine.map import map as job
    from manycall.synth.batch import batch

    if rows is None:
        _end(batch(function, samples=samples, **common(ctx)), json)
    else:
        _end(job(load_function(function), rows, samples=samples, **common(ctx)), json)


@app.command()
def score(
    out: Annotated[Path, typer.Argument(help="What `manycall eval` wrote, or lm-eval's samples.")],
    as_: Annotated[
        str | None,
        typer.Option("--as", help="TASK, TASK/FILTER, FILE.py:task, or as --match. Default: its own task."),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="FIELD", help="Also the scores of rows apart in which this differs.")
    ] = None,
    min: Min = None,
    report: Report = None,
    json: Json = False,
) -> None:
    """Score an output again, with no call."""
    from manycall.cli.load import load_task
    from manycall.evals.evaluate import score as job

    result = job(out, as_=as_ and load_task(as_), by=by)
    _end(result, json, below=_below(result, min), report=report)


@app.command()
def judge(
    ctx: typer.Context,
    answers: Annotated[Path, typer.Argument(help="What `manycall eval` or `generate` wrote, or any rows.")],
    rubric: Annotated[
        str, typer.Option("--rubric", help="A Jinja template over a row's fields, or its file (.j2, .txt, .md).")
    ],
    model: Model,
    out: Out,
    scale: Annotated[str | None, typer.Option("--scale", help="Whole numbers, as 1-10. Default: 1-5.")] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Verdicts instead: good,bad, or with numbers: right=1,wrong=0.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Another output with the same ids: which answer is better?")
    ] = None,
    one_order: Annotated[
        bool, typer.Option("--one-order", help="Show the two in one order, by chance, instead of in both.")
    ] = False,
    samples: Samples = None,
    system: Annotated[str | None, typer.Option("-s", "--system", help="A template for the system message.")] = None,
    field: Annotated[str, typer.Option("--field", help="The field that takes the verdict.")] = "judge",
    report: Report = None,
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
    fresh: Fresh = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """A model judges answers: by a rubric, or two runs' answers against each other."""
    from manycall.evals.judge import judge as job

    result = job(
        answers, rubric, against=against, scale=scale, labels=labels, both_orders=not one_order, samples=samples,
        system=system, field=field, **common(ctx),
    )  # fmt: skip
    _end(result, json, report=report)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="What `manycall eval` or `judge` wrote; the first is the base.")],
    by: Annotated[
        str | None, typer.Option("--by", help="The score: a filter, or a field (judge.score). Default: all in common.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the rows that changed go.")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare different protocols all the same.")] = False,
    report: Report = None,
    json: Json = False,
) -> None:
    """How much better is one run than another, on the same rows, and on which rows?"""
    from manycall.evals.compare import compare as job

    _end(job(*runs, by=by, anyway=anyway, out=out), json, report=report)


@app.command("lm-eval")
def lm_eval(
    out: Annotated[Path, typer.Argument(help="What `manycall eval` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Where to: what lm-eval calls --output_path.")],
    as_: Annotated[
        str | None, typer.Option("--as", help="TASK, FILE.py:task, or as --match. Default: its own task.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The local file of questions that were asked.")] = None,
    shots: Annotated[Path | None, typer.Option("--shots", help="The local file of solved examples.")] = None,
) -> None:
    """Write an output as lm-evaluation-harness would have: results_*.json and samples_*.jsonl."""
    from manycall.cli.load import load_task
    from manycall.evals.export import export as job

    for path in job(out, folder, as_=as_ and load_task(as_), data=data, shots=shots):
        print(path)


for verb in (datasets.quality, datasets.export, datasets.card):
    app.command()(verb)


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


def _end(
    result: Any, as_json: bool, *, failed: int | None = None, below: bool = False, report: Path | None = None
) -> None:
    """Print what came out, and end with the code that says how it went."""
    if report is not None:
        from manycall.evals.reports.contents import write_report

        write_report(result, report)
    show(result, as_json)
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

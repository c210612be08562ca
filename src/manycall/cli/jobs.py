"""The verbs that call."""

from pathlib import Path
from typing import Annotated, Any

import typer

from manycall.cli.calling import calling, variables
from manycall.cli.ending import end
from manycall.cli.options import (
    Cross,
    Data,
    Draw,
    Json,
    Min,
    Model,
    Out,
    OwnModel,
    Reask,
    Report,
    Samples,
    Shots,
    System,
)
from manycall.errors import UsageError

TEMPLATE = "A Jinja template over a row's fields, or its file (.j2, .txt, .md; .toml: turns)."


@calling()
def generate(
    model: Model,
    out: Out,
    prompt: Annotated[str, typer.Option("-p", "--prompt", help=TEMPLATE)],
    rows: Annotated[
        Path | None, typer.Argument(help="Rows: .jsonl, .json, .csv, .tsv, .parquet. Without: the prompt alone.")
    ] = None,
    system: System = None,
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
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """One text for each row (or -n texts for a prompt alone)."""
    from manycall.synth.generate import generate as job

    report = job(
        prompt, rows, model=model, out=out, system=system, samples=samples, field=field, schema=schema, reask=reask,
        raw=raw, draw=variables(draw), cross=variables(cross), seed=seed, **options,
    )  # fmt: skip
    end(report, json)


@calling()
def steps(
    chain: Annotated[Path, typer.Argument(help="A file of steps (.toml, .json): generate, evolve, judge, keep, set.")],
    model: Model,
    out: Out,
    rows: Annotated[Path | None, typer.Argument(help="Rows. Without: rows with nothing but an id, -n of them.")] = None,
    samples: Samples = None,
    reask: Reask = 2,
    draw: Draw = None,
    cross: Cross = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draws. Default: the file's, or 0.")] = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Several steps for each row: generate, evolve, judge, keep; rejects go to a file of their own."""
    from manycall.synth.steps import steps as job

    report = job(
        chain, rows, model=model, out=out, samples=samples, reask=reask,
        draw=variables(draw), cross=variables(cross), seed=seed, **options,
    )  # fmt: skip
    end(report, json)


@calling()
def evaluate(
    task: Annotated[
        str, typer.Argument(help="gsm8k, wordmath, ...; or your own: rows (.jsonl, .csv, ...) or FILE.py:task.")
    ],
    model: Model,
    out: Out,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="For your own rows: a Jinja template. Default: the question.")
    ] = None,
    match: Annotated[
        str | None,
        typer.Option("--match", help="For your own rows: exact, numeric, choice, boxed, vllm, regex:PATTERN."),
    ] = None,
    data: Data = None,
    shots: Shots = None,
    samples: Samples = None,
    min: Min = None,
    report: Report = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Ask the questions of a benchmark and score the answers."""
    from manycall.cli.load import load_task
    from manycall.evals.evaluate import evaluate as job

    result = job(
        load_task(task), model=model, out=out, prompt=prompt, match=match, data=data, shots=shots, samples=samples,
        **options,
    )  # fmt: skip
    end(result, json, least=min, report=None if options["dry_run"] else report)


@calling()
def run(
    function: Annotated[
        str,
        typer.Argument(help="FILE.py:function, an async function of (row, llm); or a file of OpenAI Batch requests."),
    ],
    out: Out,
    rows: Annotated[Path | None, typer.Argument(help="A function's rows: .jsonl, .json, .csv, .tsv, .parquet.")] = None,
    model: OwnModel = None,
    samples: Samples = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Your own async function for each row, with as many calls as it likes; or the requests of an OpenAI Batch file."""
    from manycall.cli.load import load_function
    from manycall.engine.map import map as job
    from manycall.synth.batch import batch

    if rows is None:
        end(batch(function, model=model, out=out, samples=samples, **options), json)
    elif model is None:
        raise UsageError("the model is missing that the function is to call: -m names it")
    else:
        end(job(load_function(function), rows, model=model, out=out, samples=samples, **options), json)


@calling(without={"dry_run"})
def judge(
    answers: Annotated[Path, typer.Argument(help="What `manycall eval` or `generate` wrote, or any rows.")],
    rubric: Annotated[str, typer.Option("--rubric", help=TEMPLATE)],
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
    system: System = None,
    field: Annotated[str, typer.Option("--field", help="The field that takes the verdict.")] = "judge",
    report: Report = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """A model judges answers: by a rubric, or two runs' answers against each other."""
    from manycall.evals.judge import judge as job

    result = job(
        answers, rubric, model=model, out=out, scale=scale, labels=labels, against=against,
        both_orders=not one_order, samples=samples, system=system, field=field, **options,
    )  # fmt: skip
    end(result, json, report=report)

"""The verbs for what has been written: they call nothing."""

from pathlib import Path
from typing import Annotated

import typer

from manycall.cli.ending import end, say, show
from manycall.cli.options import Data, Json, Min, Price, Report, Shots, TextField, Without


def score(
    out: Annotated[Path, typer.Argument(help="What `manycall eval` wrote, or lm-eval's samples.")],
    as_: Annotated[
        str | None,
        typer.Option("--as", help="TASK, TASK/FILTER, FILE.py:task, or as eval's --match. Default: its own task."),
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
    from manycall.evals.score import score as job

    result = job(out, as_=as_ and load_task(as_), by=by)
    end(result, json, least=min, report=report)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="What `manycall eval` or `judge` wrote; the first is the base.")],
    by: Annotated[
        str | None, typer.Option("--by", help="The score: a filter, or a field (judge.score). Default: all in common.")
    ] = None,
    as_: Annotated[
        str | None, typer.Option("--as", help="What scores the answers, as for `score`. Default: the task of each run.")
    ] = None,
    across: Annotated[
        list[str] | None,
        typer.Option("--across", metavar="NAME", help="What may differ between the runs: prompt, shots, ..."),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where the rows that changed go.")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare whatever differs, other questions too.")] = False,
    report: Report = None,
    json: Json = False,
) -> None:
    """How much better is one run than another, on the same rows, and on which rows?"""
    from manycall.cli.load import load_task
    from manycall.evals.compare import compare as job

    task = as_ and load_task(as_)
    end(job(*runs, as_=task, by=by, across=across or (), anyway=anyway, out=out), json, report=report)


def lm_eval(
    out: Annotated[Path, typer.Argument(help="What `manycall eval` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Where to: what lm-eval calls --output_path.")],
    as_: Annotated[
        str | None, typer.Option("--as", help="TASK, FILE.py:task, or as eval's --match. Default: its own task.")
    ] = None,
    data: Data = None,
    shots: Shots = None,
) -> None:
    """Write an output as lm-evaluation-harness would have: results_*.json and samples_*.jsonl."""
    from manycall.cli.load import load_task
    from manycall.evals.export import export as job

    say("\n".join(map(str, job(out, folder, as_=as_ and load_task(as_), data=data, shots=shots))))


def quality(
    out: Annotated[Path, typer.Argument(help="What `manycall generate` or `run` wrote.")],
    field: TextField = None,
    near: Annotated[
        float | None,
        typer.Option("--near", help="Near duplicates too: this share of five-word pieces in common, e.g. 0.8."),
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option("--against", metavar="FILE", help="Look for pieces of this benchmark.")
    ] = None,
    words: Annotated[
        int, typer.Option("--words", help="Words in a row that count as a piece; 13 are 30 Chinese characters.")
    ] = 13,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="Where the rows go that this speaks against, with the reason.")
    ] = None,
    json: Json = False,
) -> None:
    """Count duplicates, variety, and pieces of benchmarks in an output."""
    from manycall.synth.quality import quality as job

    show(job(out, field=field, near=near, against=against or (), words=words, rejects=rejects), json)


def export(
    out: Annotated[Path, typer.Argument(help="What `manycall generate` or `run` wrote.")],
    to: Annotated[Path, typer.Option("-o", "--out", help="The new file: .jsonl or .parquet.")],
    shape: Annotated[
        str, typer.Option("--as", metavar="SHAPE", help="rows, messages, sharegpt, alpaca or dpo.")
    ] = "rows",
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="The field with what was asked. Default: the run's own template.")
    ] = None,
    field: TextField = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="FIELD", help="Also write this field of the row. Can be repeated."),
    ] = None,
    in_order: Annotated[bool, typer.Option("--in-order", help="In the order of the input.")] = False,
    without: Without = None,
    shard_rows: Annotated[
        int | None, typer.Option("--shard-rows", help="So many rows in a file: data-00000-of-00010.parquet, ...")
    ] = None,
    json: Json = False,
) -> None:
    """Write an output anew, for training: another shape, format, order; in one file or many."""
    from manycall.synth.export import export as job

    made = job(
        out,
        to,
        shape=shape,
        prompt=prompt,
        field=field,
        keep=keep or (),
        in_order=in_order,
        without=without or (),
        shard_rows=shard_rows,
    )
    show(made, json)


def card(
    out: Annotated[Path, typer.Argument(help="What `manycall generate` or `run` wrote.")],
    to: Annotated[Path | None, typer.Option("-o", "--out", help="The card, e.g. README.md. Default: print it.")] = None,
    field: TextField = None,
    without: Without = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="PATTERN", help="The data files beside it: 'data-*.parquet'")
    ] = None,
    price: Price = None,
    json: Json = False,
) -> None:
    """A dataset card for the hub: model, prompt, counts, tokens, duplicates, failures."""
    from manycall.synth.card import card as job
    from manycall.synth.card import save

    made = job(out, field=field, without=without or (), data=data, price=price)
    if to is not None:
        save(made, out, to)
    if to is None or json:
        show(made, json)


def repair(
    out: Annotated[Path, typer.Argument(help="The output of a run that says it is damaged.")],
) -> None:
    """Move damaged lines of an output and its run directory aside, so that the same command goes on."""
    from manycall.store.repair import repair as job

    say("\n".join(job(out)))

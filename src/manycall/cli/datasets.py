"""The verbs for what has been made: quality, export, card. They call nothing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from manycall.cli.options import Json, Price, TextField, Without
from manycall.plain import plain, plain_json


def show(result: Any, as_json: bool) -> None:
    """Print what came out, as text or as JSON."""
    if as_json:
        import msgspec

        print(plain_json(msgspec.json.encode(result, enc_hook=str).decode()))
    else:
        print(plain(str(result)))


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
    words: Annotated[int, typer.Option("--words", help="So many of its words in a row are a piece.")] = 13,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="Write the rows that this speaks against there, and why.")
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
    in_order: Annotated[bool, typer.Option("--in-order", help="In the order of the input.")] = False,
    without: Without = None,
    shard_rows: Annotated[
        int | None, typer.Option("--shard-rows", help="So many in a file: data-00000-of-00010.parquet, ...")
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
    if to is None:
        show(made, json)
    else:
        save(made, out, to)

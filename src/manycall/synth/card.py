"""Counts what a dataset card says: where the rows come from and how many there are.

Every figure is counted from the files: the output, failures.jsonl, rejected.jsonl and calls.jsonl.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from manycall.control.budget import Price
from manycall.data.templates import as_one_text
from manycall.engine.allowance import read_price
from manycall.errors import UsageError
from manycall.records import Fields
from manycall.store.lines import write_whole, writing
from manycall.store.manifest import NOT_ENDED, Manifest
from manycall.store.output import Output, may_write
from manycall.synth.answers import Answers
from manycall.synth.card_page import Card, Shown
from manycall.synth.duplicates import Duplicates
from manycall.synth.quality import added
from manycall.wire import batch, openai


def card(
    out: str | Path,
    *,
    field: str | None = None,
    without: Sequence[str | Path] = (),
    data: str | None = None,
    price: str | tuple[float, float] | None = None,
) -> Card:
    """Count what there is to say of an output.

    Args:
        out: what `generate` or `run` wrote.
        field: that in which duplicates are counted (default: see `Answers`).
        without: files of rejects (see `quality`), whose rows are left out and counted apart.
        data: where the data files will be, beside the card: "data-*.parquet"; the hub finds most by itself.
        price: dollars per million tokens of prompts and of answers (default: the one that the last session was given).

    Raises:
        UsageError: it is not from manycall, or a file that cannot be read.
    """
    output = Output(out, without)
    manifest = output.made_by()
    figures = {**_made(manifest), **_rows(output, field), **_spent(output, _price(manifest, price))}
    return Card(name=output.path.stem, left_out=dict(output.left_out()), data=data, **figures)


def _made(manifest: Manifest) -> dict[str, Any]:
    """What ran, and when."""
    identity, sessions = manifest.identity, manifest.sessions
    cut_off = sum(each.get("ending") == NOT_ENDED for each in sessions)
    return {
        "job": identity.get("job", ""),
        "model": identity.get("model", ""),
        "params": identity.get("params", {}),
        "asked": [Shown(what, text, _digest(text)) for what, text in _asked(identity)],
        "drawn": identity.get("draw", {}).get("variables", []),
        "source": Path(manifest.source.get("rows", "")).name,
        "endpoints": sorted({url for each in sessions for url in each.get("endpoints", [])}),
        "versions": sorted({f"manycall {each.get('version', manifest.version)}" for each in sessions}),
        "sessions": len(sessions) - cut_off,
        "cut_off": cut_off,
        "seconds": sum(each.get("seconds", 0.0) for each in sessions),
    }


def _asked(identity: Fields) -> Iterator[tuple[str, str]]:
    """(what, text) of all that rows were asked."""
    for what, name in (("The prompt", "prompt"), ("The system prompt", "system")):
        if identity.get(name) is not None:
            yield what, as_one_text(identity[name])
    steps = identity.get("steps", [])
    for number, step in enumerate(steps, 1):
        settings = step.get("generate", step)
        said = {name: value for name, value in settings.items() if value not in (None, {})}
        yield (
            f"Step {number} of {len(steps)}",
            "\n".join(
                f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
                for name, value in said.items()
            ),
        )


def _rows(output: Output, field: str | None) -> dict[str, Any]:
    """The rows that are done, and those that are not."""
    rows, truncated, failures, answers = 0, None, output.failures(), Answers(output, field)
    duplicates: Duplicates | None = Duplicates()
    models, is_batch = Counter[str](), output.identity.get("job") == "batch"
    for _, row in output.rows():
        if is_batch and batch.unanswered(row):
            continue
        if is_batch:
            models[str(row["response"]["body"].get("model", "not told"))] += 1
        rows += 1
        failures.pop(str(row.get("id")), None)  # done by now
        truncated = added(truncated, answers.is_cut(row))
        try:
            if duplicates is not None:
                duplicates.add(answers.text(row))
        except UsageError:
            if field is not None:
                raise
            duplicates = None  # who knows which field is the answer?
    return {
        **({"model": ", ".join(f"{name} ({count:,})" for name, count in models.most_common())} if models else {}),
        "rows": rows,
        "rejected": dict(output.rejected()),
        "truncated": truncated,
        "failures": dict(Counter(failures.values())),
        "duplicates": None if duplicates is None else duplicates.count,
        "duplicate_rate": round(duplicates.count / rows, 6) if duplicates is not None and rows else None,
    }


def _spent(output: Output, price: Price | None) -> dict[str, Any]:
    """All that was paid for."""
    replies, used = openai.total_usage(output.replies())
    cost = None if price is None else price.of(used.prompt_tokens, used.completion_tokens)
    return {
        "replies": replies,
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "cost": cost,
    }


def _price(manifest: Manifest, price: str | tuple[float, float] | None) -> Price | None:
    """The one given, or else that of the last session that had one."""
    if price is not None:
        return read_price(price)
    noted = [each["price"] for each in manifest.sessions if each.get("price")]
    return Price(*noted[-1]) if noted else None


def save(made: Card, out: str | Path, to: str | Path) -> None:
    """Write the card of an output; one that is there is replaced.

    Raises:
        UsageError: something else would be overwritten.
        StoreError: the disk would not take it.
    """
    path = may_write(to, Output(out).reads)
    with writing(path):
        write_whole(path, [str(made).encode("utf-8", "replace")])


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

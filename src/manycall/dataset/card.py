"""Dataset card: collect the provenance and the figures of an output.

Every figure is counted from the files: the output, failures.jsonl, rejected.jsonl and calls.jsonl.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from manycall.data.content_parts import messages_as_text
from manycall.dataset.answer_reader import AnswerReader
from manycall.dataset.card_markdown import DatasetCard, PromptRecord
from manycall.dataset.check_data import add_if_known
from manycall.dataset.duplicates import Duplicates
from manycall.errors import UsageError
from manycall.providers import batch_lines
from manycall.providers.parameter_lesson import change_sentences, recorded_changes
from manycall.providers.price_book import PriceBook, PricedEndpoint, make_price_book, recorded_price_book
from manycall.providers.prices import GivenPrice, parse_price
from manycall.records import Fields
from manycall.store.atomic_write import replace_file, storage_errors
from manycall.store.manifest import NOT_FINISHED, Manifest
from manycall.store.output_reader import OutputReader
from manycall.store.paths import check_writable


def dataset_card(
    output: str | Path,
    *,
    out: str | Path | None = None,
    text_field: str | None = None,
    exclude: Sequence[str | Path] = (),
    data_files: str | None = None,
    price: GivenPrice | None = None,
) -> DatasetCard:
    """Build the dataset card of an output.

    Args:
        output: Output of `generate` or `map`.
        out: File for the card, for example README.md. Default: the card is not written.
        text_field: Field in which duplicates are counted. Default: the answer, see `AnswerReader`.
        exclude: Files of flagged rows (see `check_data`). These rows are left out and counted separately.
        data_files: Pattern of the data files relative to the card, such as "data-*.parquet". The Hugging Face hub
            usually finds them without it.
        price: Dollars per million tokens, see `RunOptions`. Default: the prices of the last session that had any.

    Raises:
        UsageError: The output has no manifest, or a file cannot be read.
    """
    reader = OutputReader(output, exclude)
    manifest = reader.require_manifest()
    figures = {
        **_provenance(manifest),
        **_row_figures(reader, text_field),
        **_token_figures(reader, _price_book(manifest, price)),
    }
    card = DatasetCard(name=reader.path.stem, excluded=dict(reader.excluded_counts()), data=data_files, **figures)
    if out is not None:
        save(card, output, out)
    return card


def _provenance(manifest: Manifest) -> dict[str, Any]:
    """Return the settings and the sessions of the run."""
    settings, sessions = manifest.settings, manifest.sessions
    unfinished = sum(session.get("outcome") == NOT_FINISHED for session in sessions)
    return {
        "job": settings.get("job", ""),
        "model": settings.get("model", ""),
        "params": settings.get("params", {}),
        "drop": settings.get("drop", []),
        "thinking": settings.get("thinking", ""),
        "parameter_changes": change_sentences(recorded_changes(sessions)),
        "prompts": [PromptRecord(label, text, _digest(text)) for label, text in _prompts(settings)],
        "random_vars": settings.get("random_vars", {}).get("variables", []),
        "source": Path(manifest.source.get("input", "")).name,
        "endpoints": sorted({url for session in sessions for url in session.get("endpoints", [])}),
        "versions": sorted(
            {f"manycall {session.get('manycall_version', manifest.manycall_version)}" for session in sessions}
        ),
        "sessions": len(sessions) - unfinished,
        "unfinished_sessions": unfinished,
        "seconds": sum(session.get("seconds", 0.0) for session in sessions),
    }


def _prompts(settings: Fields) -> Iterator[tuple[str, str]]:
    """Yield (label, text) of the prompts of the run."""
    names = (("The prompt", "prompt"), ("The field with the messages", "messages"), ("The system prompt", "system"))
    for label, name in names:
        if settings.get(name) is not None:
            yield label, messages_as_text(settings[name])
    steps = settings.get("steps", [])
    for number, step in enumerate(steps, 1):
        step_settings = step.get("generate", step)
        shown = {name: value for name, value in step_settings.items() if value not in (None, {})}
        yield (
            f"Step {number} of {len(steps)}",
            "\n".join(
                f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
                for name, value in shown.items()
            ),
        )


def _row_figures(output: OutputReader, field: str | None) -> dict[str, Any]:
    """Count finished, failed, rejected, truncated and duplicate rows."""
    rows, truncated, failures, answers = 0, None, output.failures(), AnswerReader(output, field)
    duplicates: Duplicates | None = Duplicates()
    models, is_batch = Counter[str](), output.settings.get("job") == "batch"
    for _, row in output.rows():
        if is_batch and batch_lines.is_failed_line(row):
            continue
        if is_batch:
            models[str(row["response"]["body"].get("model", "not recorded"))] += 1
        rows += 1
        truncated = add_if_known(truncated, answers.is_truncated(row))
        try:
            if duplicates is not None:
                duplicates.add(answers.text(row))
        except UsageError:
            if field is not None:
                raise
            duplicates = None  # the field with the answer is not known
    return {
        **({"model": ", ".join(f"{name} ({count:,})" for name, count in models.most_common())} if models else {}),
        "rows": rows,
        "rejected": dict(output.rejected_counts()),
        "truncated": truncated,
        "failures": dict(Counter(failures.values())),
        "duplicates": None if duplicates is None else duplicates.count,
        "duplicate_rate": round(duplicates.count / rows, 6) if duplicates is not None and rows else None,
    }


def _token_figures(output: OutputReader, book: PriceBook | None) -> dict[str, Any]:
    """Count the replies and tokens in the journal, and compute their cost."""
    replies = prompt = completion = 0
    cost = 0.0
    known = book or PriceBook("", [], lambda endpoint, model: None)
    for call in output.calls():
        bill = known.bill(*call)
        replies, cost = replies + 1, cost + bill.cost
        prompt, completion = prompt + bill.usage.prompt_tokens, completion + bill.usage.completion_tokens
    return {
        "replies": replies,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cost": cost if known.is_complete or (book is None and cost) else None,
        "currency": known.currency,
    }


def _price_book(manifest: Manifest, price: GivenPrice | None) -> PriceBook | None:
    """Return the price passed by the user, or else those of the last session that had any."""
    model = str(manifest.settings.get("model", ""))
    if price is not None:
        return make_price_book(model, [PricedEndpoint("")], parse_price(price))
    return recorded_price_book(model, manifest.sessions)


def save(card: DatasetCard, output: str | Path, path: str | Path) -> None:
    """Write the card of an output to a file. An earlier card is replaced.

    Raises:
        UsageError: The path is an output of a run or one of its inputs.
        StorageError: The file cannot be written.
    """
    path = check_writable(path, OutputReader(output).reads)
    with storage_errors(path):
        replace_file(path, [str(card).encode("utf-8", "replace")])


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

"""A dataset card: where the rows come from and how many there are, for people and for the Hugging Face hub.

Every figure is counted from the files: the output, failures.jsonl and calls.jsonl.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from manycall.control.budget import Price, dollars
from manycall.engine.allowance import read_price
from manycall.engine.report import table
from manycall.store.lines import write_whole, writing
from manycall.store.manifest import NOT_ENDED, Manifest
from manycall.store.output import Output, may_write
from manycall.synth.duplicates import Duplicates
from manycall.synth.quality import share, text_of
from manycall.wire import batch, openai

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}


class Card(msgspec.Struct, kw_only=True):
    """What the card says. `str` of it is the README.md.

    Attributes:
        rows: in the output, without those that were left out.
        failures: rows given up, by verdict; truncated: rows whose answer was cut at max_tokens.
        left_out: rows of the output that were rejected, by the first words of the reason.
        duplicates: rows whose text came before, but for case, white space and punctuation; None if there is no text.
        replies: all that were paid for; prompt_tokens, completion_tokens: theirs, as the servers counted them.
        cost: in dollars, where a price was given.
        prompt_sha256: of the template's text, as it stands in `prompt`; so with `system`.
        sessions: that came to their end, and the seconds that they took together; cut_off: those that did not: killed,
            or still going on.
    """

    name: str
    job: str
    model: str
    endpoints: list[str]
    params: dict[str, Any]
    source: str
    prompt: str | None
    prompt_sha256: str | None
    system: str | None
    system_sha256: str | None
    rows: int
    failures: dict[str, int]
    truncated: int
    left_out: dict[str, int]
    duplicates: int | None
    duplicate_rate: float | None
    replies: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    sessions: int
    cut_off: int
    seconds: float
    versions: list[str]
    data: str | None = None

    def header(self) -> dict[str, Any]:
        """What the hub reads."""
        size = next((size for most, size in SIZES.items() if self.rows < most), "10M<n<100M")
        header: dict[str, Any] = {
            "pretty_name": self.name,
            "tags": ["synthetic", "manycall"],
            "size_categories": [size],
        }
        if self.data is not None:
            files = [{"split": "train", "path": self.data}]
            header["configs"] = [{"config_name": "default", "data_files": files}]
        return header

    def lines(self) -> list[tuple[str, str]]:
        """The figures, as (what, how much)."""
        lines = [
            ("model", self.model),
            ("endpoint", ", ".join(self.endpoints) or "not noted"),
            ("parameters", json.dumps(self.params, ensure_ascii=False) if self.params else "the endpoint's own"),
            ("made by", f"{self.job}; {', '.join(self.versions)}"),
            ("from", self.source),
            ("rows", f"{self.rows:,}"),
            ("failed", _counted(self.failures)),
            ("truncated", f"{share(self.truncated, self.rows)} were cut at max_tokens"),
            ("left out", _counted(self.left_out)),
            ("replies", f"{self.replies:,}"),
            ("tokens", f"{self.prompt_tokens:,} in, {self.completion_tokens:,} out"),
            ("time", self._time()),
        ]
        if self.duplicates is not None:
            lines.insert(8, ("duplicates", share(self.duplicates, self.rows)))
        if self.cost is not None:
            lines.append(("cost", dollars(self.cost)))
        return lines

    def _time(self) -> str:
        cut_off = f" ({self.cut_off} more did not end)" if self.cut_off else ""
        return f"{self.seconds:,.0f} s in {self.sessions} sessions{cut_off}"

    def __str__(self) -> str:
        yaml = "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in self.header().items())
        parts = [f"---\n{yaml}\n---\n", f"# {self.name}\n", table(("", ""), self.lines()) + "\n"]
        for what, text, digest in (
            ("prompt", self.prompt, self.prompt_sha256),
            ("system prompt", self.system, self.system_sha256),
        ):
            if text is not None:
                parts.append(f"The {what} (SHA-256 `{digest}`):\n\n{_fenced(text)}\n")
        parts.append(
            "Duplicates are rows whose text came before, but for case, white space and punctuation. Tokens are those "
            "of all replies, as the servers counted them, retries and failed rows included.\n"
        )
        return "\n".join(parts)


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
        field: the text in which duplicates are counted (default: the one that `generate` wrote).
        without: files of rejects (see `quality`), whose rows are left out and counted apart.
        data: where the data files will be, beside the card: "data-*.parquet"; the hub finds most by itself.
        price: dollars per million tokens of prompts and of answers (default: the one that the last session was given).

    Raises:
        UsageError: it is not from manycall, or a file that cannot be read.
    """
    output = Output(out, without)
    manifest = output.made_by()
    field = field or output.identity.get("field")
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
        "prompt": identity.get("prompt"),
        "prompt_sha256": _digest(identity.get("prompt")),
        "system": identity.get("system"),
        "system_sha256": _digest(identity.get("system")),
        "source": Path(manifest.source.get("rows", "")).name,
        "endpoints": sorted({url for each in sessions for url in each.get("endpoints", [])}),
        "versions": sorted({f"manycall {each.get('version', manifest.version)}" for each in sessions}),
        "sessions": len(sessions) - cut_off,
        "cut_off": cut_off,
        "seconds": sum(each.get("seconds", 0.0) for each in sessions),
    }


def _rows(output: Output, field: str | None) -> dict[str, Any]:
    """The rows that are done, and those that are not."""
    rows, truncated, duplicates, failures = 0, 0, Duplicates(), output.failures()
    failures_in_place = output.identity.get("job") == "batch"
    for _, row in output.rows():
        if failures_in_place and batch.unanswered(row):
            continue
        rows += 1
        failures.pop(str(row.get("id")), None)  # done by now
        truncated += row.get(f"{field}_finish_reason") == "length"
        if field is not None:
            duplicates.add(text_of(row, field))
    return {
        "rows": rows,
        "truncated": truncated,
        "failures": dict(Counter(failures.values())),
        "duplicates": None if field is None else duplicates.count,
        "duplicate_rate": round(duplicates.count / rows, 6) if field is not None and rows else None,
    }


def _spent(output: Output, price: Price | None) -> dict[str, Any]:
    """All that was paid for."""
    replies = prompt = completion = 0
    for body in output.replies():
        used = openai.usage(body)
        replies, prompt, completion = replies + 1, prompt + used.prompt_tokens, completion + used.completion_tokens
    cost = None if price is None else price.of(prompt, completion)
    return {"replies": replies, "prompt_tokens": prompt, "completion_tokens": completion, "cost": cost}


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


def _digest(text: str | None) -> str | None:
    return None if text is None else sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _counted(counts: dict[str, int]) -> str:
    each = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
    return f"{sum(counts.values()):,}" + (f" ({each})" if each else "")


def _fenced(text: str) -> str:
    """A text in a fence that is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"

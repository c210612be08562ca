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

from manycall._version import __version__
from manycall.control.budget import Price, dollars
from manycall.engine.allowance import read_price
from manycall.engine.report import table
from manycall.store.lines import write_whole
from manycall.store.manifest import KILLED
from manycall.store.output import Output
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
        sessions: that ended, and the seconds that they took together; killed: those that did not end by themselves.
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
    killed: int
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
        killed = f" ({self.killed} more were killed)" if self.killed else ""
        return f"{self.seconds:,.0f} s in {self.sessions} sessions{killed}"

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
    output = Output(Path(out), tuple(map(Path, without)))
    manifest = output.made_by()
    identity, last = manifest.identity, manifest.sessions[-1] if manifest.sessions else {}
    field = field or identity.get("field")
    rows, truncated, duplicates, failures = 0, 0, Duplicates(), output.failures()
    in_place = identity.get("job") == "batch"
    for row in output.rows():
        if in_place and batch.unanswered(row):
            continue
        rows += 1
        failures.pop(str(row["id"]), None)
        truncated += row.get(f"{field}_finish_reason") == "length"
        if field is not None:
            duplicates.add(text_of(row, field))
    replies, prompt_tokens, completion_tokens = _spent(output)
    paid = read_price(price) if price is not None else Price(*last["price"]) if last.get("price") else None
    killed = sum(each.get("ending") == KILLED for each in manifest.sessions)
    system, prompt = identity.get("system"), identity.get("prompt")
    return Card(
        name=output.path.stem, job=identity.get("job", ""), model=identity.get("model", ""),
        endpoints=sorted({each for session in manifest.sessions for each in session.get("endpoints", [])}),
        params=identity.get("params", {}), source=Path(manifest.source.get("rows", "")).name,
        prompt=prompt, prompt_sha256=_digest(prompt), system=system, system_sha256=_digest(system),
        rows=rows, failures=dict(Counter(failures.values())), truncated=truncated,
        left_out=dict(Counter(reason.partition(":")[0] for reason in output.rejects.values())),
        duplicates=duplicates.count if field is not None else None,
        duplicate_rate=round(duplicates.count / rows, 6) if field is not None and rows else None,
        replies=replies, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens,
        cost=paid.of(prompt_tokens, completion_tokens) if paid is not None else None,
        sessions=len(manifest.sessions) - killed, killed=killed,
        seconds=sum(each.get("seconds", 0.0) for each in manifest.sessions),
        versions=sorted({f"manycall {each.get('version', __version__)}" for each in manifest.sessions}),
        data=data,
    )  # fmt: skip


def save(made: Card, out: str | Path, to: str | Path) -> None:
    """Write the card of an output; one that is there is replaced.

    Raises:
        UsageError: something else would be overwritten.
    """
    write_whole(Output(Path(out)).may_write(Path(to)), [str(made).encode("utf-8", "replace")])


def _spent(output: Output) -> tuple[int, int, int]:
    """(replies, tokens of prompts, tokens of answers) of all that was paid for."""
    replies = prompt = completion = 0
    for body in output.replies():
        used = openai.usage(body)
        replies, prompt, completion = replies + 1, prompt + used.prompt_tokens, completion + used.completion_tokens
    return replies, prompt, completion


def _digest(text: str | None) -> str | None:
    return None if text is None else sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _counted(counts: dict[str, int]) -> str:
    each = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
    return f"{sum(counts.values()):,}" + (f" ({each})" if each else "")


def _fenced(text: str) -> str:
    """A text in a fence that is longer than any in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"

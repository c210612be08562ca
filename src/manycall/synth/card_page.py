"""A dataset card as it is read, by people and by the Hugging Face hub."""

import json
from collections import Counter
from typing import Any

import msgspec

from manycall.control.budget import dollars
from manycall.engine.report import Printable, table
from manycall.markdown import fenced, inline
from manycall.plain import plain_json
from manycall.synth.quality import share

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}

MOST_KINDS = 5
"""Reasons that are counted separately."""
MAX_REASON_LENGTH = 80
"""Characters of a reason that are shown: a function, or a model, may have written a page."""


class Shown(msgspec.Struct):
    """A prompt, a system prompt, or a step with all its settings: what it is, and the text with its SHA-256."""

    what: str
    text: str
    sha256: str


class Card(Printable, msgspec.Struct, kw_only=True):
    """What the card says. `str` of it is the README.md.

    Attributes:
        rows: in the output, without those that were left out.
        failures: rows given up, by verdict; truncated: rows whose answer was cut at max_tokens; None if
            none tells.
        rejected: rows that a step, or a function, did not want, by the first words of the reason.
        left_out: rows of the output that were passed over (`without`), in the same way.
        duplicates: rows whose answer came before, but for case, white space and punctuation; None if it is not known
            which field that is.
        replies: all that were paid for; prompt_tokens, completion_tokens: theirs, as the servers counted them.
        cost: in dollars, where a price was given.
        model: of a batch those that the servers say they are, with how many rows each answered.
        asked: the prompts, or the steps. drawn: the names of the variables that were drawn.
        sessions: that came to their end, and the seconds that they took together; cut_off: those that did not: killed,
            or still going on.
    """

    name: str
    job: str
    model: str
    endpoints: list[str]
    params: dict[str, Any]
    source: str
    asked: list[Shown]
    drawn: list[str]
    rows: int
    failures: dict[str, int]
    rejected: dict[str, int]
    truncated: int | None
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
            ("parameters", _json(self.params) if self.params else "the endpoint's own"),
            ("made by", f"{self.job}; {', '.join(self.versions)}"),
            ("from", self.source),
            ("rows", f"{self.rows:,}"),
            ("failed", _counted(self.failures)),
            ("rejected", _counted(self.rejected)),
            ("cut at max_tokens", share(self.truncated, self.rows)),
            ("left out", _counted(self.left_out)),
            ("replies", f"{self.replies:,}"),
            ("tokens", f"{self.prompt_tokens:,} in, {self.completion_tokens:,} out"),
            ("time", self._time()),
        ]
        if self.duplicates is not None:
            lines.insert(9, ("duplicates", share(self.duplicates, self.rows)))
        if self.drawn:
            lines.insert(5, ("drawn", ", ".join(self.drawn)))
        if self.cost is not None:
            lines.append(("cost", dollars(self.cost)))
        return lines

    def _time(self) -> str:
        cut_off = f" ({self.cut_off} more did not end)" if self.cut_off else ""
        return f"{self.seconds:,.0f} s in {self.sessions} sessions{cut_off}"

    def _table(self) -> str:
        return table(("", ""), [(what, inline(figure)) for what, figure in self.lines()])

    def __str__(self) -> str:
        yaml = "\n".join(f"{name}: {_json(value)}" for name, value in self.header().items())
        parts = [f"---\n{yaml}\n---\n", f"# {inline(self.name)}\n", self._table() + "\n"]
        parts += [f"{each.what} (SHA-256 `{each.sha256}`):\n\n{fenced(each.text)}\n" for each in self.asked]
        parts.append(
            "Duplicates are rows whose answer came before, but for case, white space and punctuation. Tokens are those "
            "of all replies, as the servers counted them, retries and failed rows included.\n"
        )
        return "\n".join(parts)


def _json(value: Any) -> str:
    return plain_json(json.dumps(value, ensure_ascii=False))


def _counted(counts: dict[str, int]) -> str:
    """All together, and the most frequent by what they are."""
    each = [f"{count:,} {what[:MAX_REASON_LENGTH]}" for what, count in Counter(counts).most_common(MOST_KINDS)]
    if len(counts) > MOST_KINDS:
        each.append("others")
    return f"{sum(counts.values()):,}" + (f" ({', '.join(each)})" if each else "")

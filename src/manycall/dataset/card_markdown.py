"""Dataset card as a README.md with the YAML header of the Hugging Face hub."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from manycall.markdown import fenced, inline
from manycall.render import format_money, format_share, markdown_table
from manycall.run.result_views import ResultViews
from manycall.terminal import escape_json_controls

SIZE_CATEGORIES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
}

MAX_CATEGORIES = 5
"""Number of reasons that are listed separately."""
MAX_REASON_LENGTH = 80
"""Number of characters shown of a reason. A user's function or a model may return a very long one."""


class PromptRecord(msgspec.Struct):
    """A prompt, a system prompt, or a step with its settings.

    Attributes:
        what: Kind of the text, such as "The prompt".
        text: The text.
        sha256: SHA-256 of the text.
    """

    what: str
    text: str
    sha256: str


class DatasetCard(ResultViews, msgspec.Struct, kw_only=True):
    """Figures of a dataset card. `str()` returns the README.md.

    Attributes:
        name: Name of the output without its suffix.
        job: Kind of the run.
        model: Model of the run. For a batch, the models named in the responses, with the number of rows of each.
        endpoints: URLs of the endpoints.
        params: Parameters of the calls.
        drop: Parameters that were not sent.
        thinking: Value of the option `thinking`; "" if it was not given.
        parameter_changes: Sentences about parameters that an endpoint did not accept.
        source: Name of the input file.
        prompts: The prompts or the steps.
        random_vars: Names of the random variables.
        rows: Number of rows, without the excluded ones.
        failures: Number of failed rows by kind.
        rejected: Number of rows rejected by a step or a function, by the first words of the reason.
        truncated: Rows whose answer was truncated at max_tokens; None if no row has a finish reason.
        excluded: Number of rows left out by `exclude`, by the first words of the reason.
        duplicates: Rows whose answer equals an earlier one, ignoring case, white space and punctuation; None if the
            field with the answer is not known.
        duplicate_rate: `duplicates` / `rows`.
        replies: Number of responses in the journal, including those of retries and failed rows.
        prompt_tokens: Prompt tokens of these responses, as counted by the servers.
        completion_tokens: Completion tokens of these responses, as counted by the servers.
        cost: Cost; None without a price.
        currency: Currency of the cost.
        sessions: Number of finished sessions.
        unfinished_sessions: Number of sessions that were killed or are still running.
        seconds: Total duration of the sessions.
        versions: Versions of manycall.
        data: Pattern of the data files for the hub.
    """

    name: str
    job: str
    model: str
    endpoints: list[str]
    params: dict[str, Any]
    drop: list[str]
    thinking: str
    parameter_changes: list[str]
    source: str
    prompts: list[PromptRecord]
    random_vars: list[str]
    rows: int
    failures: dict[str, int]
    rejected: dict[str, int]
    truncated: int | None
    excluded: dict[str, int]
    duplicates: int | None
    duplicate_rate: float | None
    replies: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    sessions: int
    unfinished_sessions: int
    seconds: float
    versions: list[str]
    data: str | None = None
    currency: str = "USD"

    def header(self) -> dict[str, Any]:
        """Return the YAML header for the Hugging Face hub."""
        size = next((size for limit, size in SIZE_CATEGORIES.items() if self.rows < limit), "10M<n<100M")
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
        """Return the figures as (label, value) pairs."""
        duplicates = [] if self.duplicates is None else [("duplicates", format_share(self.duplicates, self.rows))]
        return [
            ("model", self.model),
            ("endpoint", ", ".join(self.endpoints) or "not recorded"),
            ("parameters", _json(self.params) if self.params else "defaults of the endpoint"),
            *self._parameter_lines(),
            ("created with", f"{self.job}; {', '.join(self.versions)}"),
            ("input", self.source),
            *([("random variables", ", ".join(self.random_vars))] if self.random_vars else []),
            ("rows", f"{self.rows:,}"),
            ("failed", _counted(self.failures)),
            ("rejected", _counted(self.rejected)),
            ("truncated at max_tokens", format_share(self.truncated, self.rows)),
            *duplicates,
            ("excluded", _counted(self.excluded)),
            ("replies", f"{self.replies:,}"),
            ("tokens", f"{self.prompt_tokens:,} in, {self.completion_tokens:,} out"),
            ("time", self._time()),
            *([] if self.cost is None else [("cost", format_money(self.cost, self.currency))]),
        ]

    def _parameter_lines(self) -> Iterator[tuple[str, str]]:
        """Yield what was sent other than the parameters say."""
        if self.thinking:
            yield "thinking", self.thinking
        if self.drop:
            yield "parameters not sent", ", ".join(self.drop)
        for sentence in self.parameter_changes:
            yield "parameter changes", sentence

    def _time(self) -> str:
        unfinished = f" ({self.unfinished_sessions} more did not finish)" if self.unfinished_sessions else ""
        return f"{self.seconds:,.0f} s in {self.sessions} sessions{unfinished}"

    def _table(self) -> str:
        return markdown_table(("", ""), [(label, inline(figure)) for label, figure in self.lines()])

    def __str__(self) -> str:
        yaml = "\n".join(f"{name}: {_json(value)}" for name, value in self.header().items())
        parts = [f"---\n{yaml}\n---\n", f"# {inline(self.name)}\n", self._table() + "\n"]
        parts += [f"{prompt.what} (SHA-256 `{prompt.sha256}`):\n\n{fenced(prompt.text)}\n" for prompt in self.prompts]
        parts.append(
            "Duplicates are rows whose answer equals an earlier one, ignoring case, white space and punctuation. Token "
            "counts are those reported by the servers for all replies, including retries and failed rows.\n"
        )
        return "\n".join(parts)


def _json(value: Any) -> str:
    return escape_json_controls(json.dumps(value, ensure_ascii=False))


def _counted(counts: dict[str, int]) -> str:
    """Return the total and the most frequent reasons: "12 (10 duplicate, 2 truncated)"."""
    parts = [f"{count:,} {reason[:MAX_REASON_LENGTH]}" for reason, count in Counter(counts).most_common(MAX_CATEGORIES)]
    if len(counts) > MAX_CATEGORIES:
        parts.append("others")
    return f"{sum(counts.values()):,}" + (f" ({', '.join(parts)})" if parts else "")

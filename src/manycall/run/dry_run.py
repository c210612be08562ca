"""Dry run: show the first requests and estimate the cost of all, without making a call.

The tokens per call are averages over the output's journal if it contains calls (`--limit 5` makes some). Otherwise they
are estimated from the requests, and the result says so.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from manycall.client.requests import LLM, ModelReply
from manycall.control.token_estimate import BYTES_PER_TOKEN, DEFAULT_OUTPUT_TOKENS, text_size
from manycall.data.images import without_image_data
from manycall.data.row_source import RowSource
from manycall.ids import IdTable
from manycall.option_flags import option
from manycall.providers import openai
from manycall.providers.prices import DEFAULT_CURRENCY, Price
from manycall.records import DECODE_ERRORS, Completion, Request, Usage
from manycall.render import format_money
from manycall.run.run_result import RunResult
from manycall.run.scheduler import RowFunction
from manycall.store.journal import decode_response
from manycall.store.jsonl import read_lines
from manycall.store.paths import run_folder_path
from manycall.store.row_parts import input_row_ids

SHOWN_ROWS, SAMPLED_ROWS = 2, 100
"""Number of rows whose requests are shown; number of rows whose requests are measured."""
MAX_JOURNAL_CALLS = 1000
"""Number of journaled calls that the estimate uses."""
ADVISED_ROWS = 5
"""Number of rows to run first for a better estimate."""
ASSUMED_IN_FLIGHT = 64
ASSUMED_BASE_SECONDS, ASSUMED_TOKENS_PER_SECOND = 1.0, 50.0
"""Assumed duration of a call without its output, and assumed output speed of one call, for a typical server."""
PLACEHOLDER = "(what the model says to request {})"
PLACEHOLDER_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # a digit might pass for a score


class CallForecast(NamedTuple):
    """Expected values: calls per row; prompt tokens, answer tokens and seconds per call; the basis of the estimate."""

    calls: float
    prompt: float
    answer: float
    seconds: float
    basis: str


class DryRunResult(RunResult, kw_only=True, frozen=True):
    """The result of a dry run. `print` shows it as text.

    Attributes:
        requests: the bodies of the first rows' requests, as they would be sent, without the data of images.
        calls, prompt_tokens, completion_tokens, cost, seconds: estimates for all remaining rows.
        estimate_basis: what the estimate is based on.
    """

    requests: list[dict[str, Any]] = msgspec.field(default_factory=list)
    estimate_basis: str = ""

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the table as (label, value)."""
        total = "an unknown number" if self.total_rows is None else f"{self.total_rows:,}"
        done = f", {self.done:,} of them done" if self.done else ""
        if self.total_rows is None:
            return [("rows", total), ("estimate based on", self.estimate_basis)]
        tokens = self.prompt_tokens + self.completion_tokens
        return [
            ("rows", f"{total}{done}"),
            ("calls", f"about {self.calls:,}"),
            ("tokens", f"about {tokens:,} ({self.prompt_tokens:,} in, {self.completion_tokens:,} out)"),
            (
                "cost",
                f"unknown; pass {option('price', 'IN/OUT')}"
                if self.cost is None
                else f"about {format_money(self.cost, self.currency)}",
            ),
            ("time", f"about {_time(self.seconds)}"),
            ("estimate based on", self.estimate_basis),
        ]

    def __str__(self) -> str:
        shown = [msgspec.json.format(msgspec.json.encode(each), indent=2).decode() for each in self.requests]
        return "\n\n".join([*shown, super().__str__(), "Dry run: no calls were made."])


class RecordingLLM(LLM):
    """An `llm` that records requests. It returns truncated placeholder answers, so that no row asks again."""

    def __init__(self, model: str, params: dict[str, Any]) -> None:
        super().__init__(model, params)
        self.requests: list[Request] = []

    async def _call(self, request: Request) -> ModelReply:
        text = PLACEHOLDER.format(PLACEHOLDER_LETTERS[len(self.requests) % len(PLACEHOLDER_LETTERS)])
        self.requests.append(request)
        return Completion(text, "length", Usage(), b"{}")


async def dry_run(
    name: str,
    function: RowFunction,
    source: RowSource,
    out: Path,
    model: str,
    params: dict[str, Any],
    price: Price | None,
    in_flight: int | None,
    drop: Collection[str] = (),
) -> DryRunResult:
    """Record the requests of the first rows, and estimate tokens, cost and time of all remaining rows.

    Args:
        drop: names of parameters that are not sent.

    Raises:
        UsageError: a row cannot be used.
    """
    recorded: list[list[Request]] = []
    known, pending = _done(out), 0
    must_count = source.total is not None and len(known) > 0
    async for row in source.pending_rows(known):
        pending += 1
        if pending <= SAMPLED_ROWS:
            llm = RecordingLLM(model, params)
            with suppress(Exception, SystemExit, GeneratorExit):  # the function may not cope with a placeholder answer
                await function(row, llm)  # type: ignore[arg-type]
            recorded.append(llm.requests)
        elif not must_count:
            break
    remaining = pending if must_count else source.total
    measured = forecast_from_journal(out)
    forecast = measured or _forecast_from_requests([r for requests in recorded for r in requests], len(recorded))
    advice = "" if measured else _advice(forecast, source.rows_per_input, remaining)
    done = (source.total or 0) - (remaining or 0)
    calls = round(forecast.calls * (remaining or 0))
    prompt, answer = round(calls * forecast.prompt), round(calls * forecast.answer)
    shown = [request for requests in recorded[:SHOWN_ROWS] for request in requests]
    concurrency = in_flight or ASSUMED_IN_FLIGHT
    return DryRunResult(
        job=f"{name} (dry run)", out=out, total_rows=source.total, done=done, failed=0, calls=calls,
        prompt_tokens=prompt, completion_tokens=answer,
        cost=None if price is None else price.cost(Usage(prompt, answer)),
        currency=DEFAULT_CURRENCY if price is None else price.currency,
        seconds=forecast.seconds * -(-calls // concurrency),
        requests=[without_image_data(_without(msgspec.json.decode(openai.encode(r)), drop)) for r in shown],
        estimate_basis=f"{forecast.basis}, {concurrency} calls in flight{advice}",
    )  # fmt: skip


def _without(body: dict[str, Any], drop: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in drop}


def _done(out: Path) -> IdTable:
    """Return the ids of the rows that the run would skip."""
    known = IdTable()
    for name in chain(input_row_ids(out), input_row_ids(run_folder_path(out) / "rejected.jsonl")):
        known.add_done(name)
    return known


def _advice(forecast: CallForecast, rows_per_input: int, remaining: int | None) -> str:
    """Return advice on how to get a better estimate from a few rows; "" if no more rows remain."""
    limit = -(-ADVISED_ROWS // rows_per_input)
    calls = round(forecast.calls * limit * rows_per_input)
    if remaining is not None and limit * rows_per_input >= remaining:
        return ""
    return f". For a better estimate, first run with {option('limit', limit)} (about {calls:,} calls)"


def _forecast_from_requests(requests: list[Request], rows: int) -> CallForecast:
    max_tokens = [r.params.get("max_completion_tokens") or r.params.get("max_tokens") for r in requests]
    answers = [float(each) if isinstance(each, int) else DEFAULT_OUTPUT_TOKENS for each in max_tokens]
    sizes = [text_size(msgspec.json.encode(request.content)) / BYTES_PER_TOKEN for request in requests]
    weight = 1 / max(len(requests), 1)
    answer = sum(answers) * weight
    seconds = ASSUMED_BASE_SECONDS + answer / ASSUMED_TOKENS_PER_SECOND
    basis = f"{BYTES_PER_TOKEN:g} bytes per token, answers of {answer:.0f} tokens"
    return CallForecast(len(requests) / max(rows, 1), sum(sizes) * weight, answer, seconds, basis)


class _Call(msgspec.Struct):
    id: str
    seconds: float = 0.0


def forecast_from_journal(out: Path) -> CallForecast | None:
    """Return the averages over the calls in the output's journal; None if there are none."""
    calls = list(islice(_calls(run_folder_path(out) / "calls.jsonl"), MAX_JOURNAL_CALLS))
    if not calls:
        return None
    count, rows = len(calls), len({call.id for call, _ in calls})
    prompt, answer = (sum(each) / count for each in zip(*(used for _, used in calls), strict=True))
    seconds = sum(call.seconds for call, _ in calls) / count
    return CallForecast(count / rows, prompt, answer, seconds, f"{count} calls in the journal")


def _calls(path: Path) -> Iterator[tuple[_Call, tuple[int, int]]]:
    for _, line in read_lines(path):
        with suppress(*DECODE_ERRORS):  # the run itself reports damaged lines
            used = openai.usage(decode_response(line))
            yield msgspec.json.decode(line, type=_Call), (used.prompt_tokens, used.completion_tokens)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

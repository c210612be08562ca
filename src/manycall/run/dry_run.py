"""Dry run: show the first requests and estimate the cost of all, without making a call.

The tokens per call are averages over the output's journal if it contains calls (`--limit 5` makes some). Otherwise they
are estimated from the requests, and the result says so.
"""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from manycall.client.body_adapter import dropped_names
from manycall.client.pool_names import PoolNames
from manycall.client.requests import LLM, ModelReply
from manycall.data.images import without_image_data
from manycall.errors import UsageError
from manycall.ids import IdTable
from manycall.option_flags import option
from manycall.providers import openai
from manycall.records import Completion, Request, Usage
from manycall.render import format_money
from manycall.run.call_forecast import CallForecast, KnownPrices, forecast_from_journal, forecast_from_requests
from manycall.run.job import Job, job_params
from manycall.run.options import RunOptions
from manycall.run.run_result import RunResult
from manycall.sim.schema_instances import asked_schema, example_json
from manycall.store.done_rows import read_done_ids

SHOWN_ROWS, SAMPLED_ROWS = 2, 100
"""Number of rows whose requests are shown; number of rows whose requests are measured."""
ADVISED_ROWS = 5
"""Number of rows to run first for a better estimate."""
ASSUMED_IN_FLIGHT = 64
PLACEHOLDER = "(what the model says to request {})"
PLACEHOLDER_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # a digit might pass for a score


class DryRunResult(RunResult, kw_only=True, frozen=True):
    """The result of a dry run. `print` shows it as text.

    Attributes:
        requests: the bodies of the first rows' requests, as they would be sent, without the data of images.
        calls, prompt_tokens, completion_tokens, cost, seconds: estimates for all remaining rows.
        estimate_basis: what the estimate is based on.
        is_lower_bound: rows may make more calls: some ended at an answer that is not known, or were not examined.
    """

    requests: list[dict[str, Any]] = msgspec.field(default_factory=list)
    estimate_basis: str = ""
    is_lower_bound: bool = False

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the table as (label, value)."""
        total = "an unknown number" if self.total_rows is None else f"{self.total_rows:,}"
        done = f", {self.done:,} of them done" if self.done else ""
        if self.total_rows is None:
            return [("rows", total), ("estimate based on", self.estimate_basis)]
        tokens = self.prompt_tokens + self.completion_tokens
        about = "at least" if self.is_lower_bound else "about"
        return [
            ("rows", f"{total}{done}"),
            ("calls", f"{about} {self.calls:,}"),
            ("tokens", f"{about} {tokens:,} ({self.prompt_tokens:,} in, {self.completion_tokens:,} out)"),
            (
                "cost",
                f"unknown; pass {option('price', 'IN/OUT')}"
                if self.cost is None
                else f"{about} {format_money(self.cost, self.currency)}",
            ),
            ("time", f"{about} {_time(self.seconds)}"),
            ("estimate based on", self.estimate_basis),
        ]

    def __str__(self) -> str:
        shown = [msgspec.json.format(msgspec.json.encode(each), indent=2).decode() for each in self.requests]
        return "\n\n".join([*shown, super().__str__(), "Dry run: no calls were made."])


class RecordingLLM(LLM):
    """An `llm` that records requests. It returns truncated placeholder answers, so that no row asks again: a text, or
    JSON that fits the schema of the request."""

    def __init__(self, model: str, params: dict[str, Any], pools: PoolNames) -> None:
        super().__init__(model, params, pools)
        self.requests: list[Request] = []
        self.error: UsageError | None = None

    def find_pool(self, endpoint: str) -> tuple[str, str]:
        """Return the pool that a call means, and its model. Keep the error if there is none."""
        try:
            return super().find_pool(endpoint)
        except UsageError as unknown:
            self.error = unknown
            raise

    async def send(self, request: Request) -> ModelReply:
        """Record a request. Return a placeholder answer."""
        text = PLACEHOLDER.format(PLACEHOLDER_LETTERS[len(self.requests) % len(PLACEHOLDER_LETTERS)])
        if (schema := asked_schema(request.params)) is not None:
            with suppress(Exception):  # a schema that is not made of common parts
                text = example_json(schema, len(self.requests))
        self.requests.append(request)
        return Completion(text, "length", Usage(), b"{}")


async def dry_run(job: Job[Any], options: RunOptions, known: KnownPrices) -> DryRunResult:
    """Record the requests of the first rows, and estimate tokens, cost and time of all remaining rows.

    Args:
        known: the pools and their prices.

    Raises:
        UsageError: a row cannot be used, or a call names an endpoint that does not exist.
    """
    source, out, params = job.source, Path(options.out), job_params(job, options)
    recorded: list[list[Request]] = []
    done_ids = _done(job, options)
    pending, is_cut_short = 0, False
    must_count = source.total is not None and len(done_ids) > 0
    async for row in source.pending_rows(done_ids):
        pending += 1
        if pending <= SAMPLED_ROWS:
            llm = RecordingLLM(options.model, params, known.pools)
            try:
                await job.process_row(row, llm)  # type: ignore[arg-type]
            except (Exception, SystemExit, GeneratorExit):  # the function may not cope with a placeholder answer
                is_cut_short = True
            if llm.error is not None:
                raise llm.error
            recorded.append(llm.requests)
        elif not must_count:
            break
    remaining = pending if must_count else source.total
    measured = forecast_from_journal(out, known.book)
    requests = [request for each in recorded for request in each]
    forecast = measured or forecast_from_requests(requests, len(recorded), known.book)
    advice = "" if measured else _advice(forecast, source.rows_per_input, remaining)
    done = (source.total or 0) - (remaining or 0)
    calls = round(forecast.per_row * (remaining or 0))
    used = forecast.tokens(calls)
    shown = [request for requests in recorded[:SHOWN_ROWS] for request in requests]
    concurrency, drop = options.concurrency or ASSUMED_IN_FLIGHT, dropped_names(options.drop)
    return DryRunResult(
        job=f"{job.name} (dry run)", out=out, total_rows=source.total, done=done, failed=0, calls=calls,
        prompt_tokens=used.prompt_tokens, completion_tokens=used.completion_tokens,
        cost=forecast.total_cost(calls), currency=known.book.currency,
        seconds=forecast.seconds * -(-calls // concurrency),
        requests=[without_image_data(_without(msgspec.json.decode(openai.encode(r)), drop)) for r in shown],
        estimate_basis=f"{forecast.basis}, {concurrency} calls in flight{advice}",
        is_lower_bound=is_cut_short and measured is None,
    )  # fmt: skip


def _done(job: Job[Any], options: RunOptions) -> IdTable:
    """Return the ids of the rows that the run would skip."""
    if options.overwrite:
        return IdTable()
    unwanted = job.truncation_marks if options.retry == "truncated" else ()
    return read_done_ids(Path(options.out), job.line_layout, unwanted)


def _without(body: dict[str, Any], drop: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in drop}


def _advice(forecast: CallForecast, rows_per_input: int, remaining: int | None) -> str:
    """Return advice on how to get a better estimate from a few rows; "" if no more rows remain."""
    limit = -(-ADVISED_ROWS // rows_per_input)
    calls = round(forecast.per_row * limit * rows_per_input)
    if remaining is not None and limit * rows_per_input >= remaining:
        return ""
    return f". For a better estimate, first run with {option('limit', limit)} (about {calls:,} calls)"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

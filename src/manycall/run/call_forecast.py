"""Expected tokens, cost and duration of calls: from the journal of an output, or from the first requests."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from manycall import clock
from manycall.client.pool_names import PoolNames
from manycall.control.token_estimate import BYTES_PER_TOKEN, DEFAULT_OUTPUT_TOKENS, text_size
from manycall.providers.price_book import PriceBook
from manycall.records import DECODE_ERRORS, Request, Usage
from manycall.store.journal_line import JournaledCall, decode_journaled
from manycall.store.jsonl import read_lines
from manycall.store.paths import run_folder_path

MAX_JOURNAL_CALLS = 1000
"""Number of journaled calls that the estimate uses."""
ASSUMED_BASE_SECONDS, ASSUMED_TOKENS_PER_SECOND = 1.0, 50.0
"""Assumed duration of a call without its output, and assumed output speed of one call, for a typical server."""


class KnownPrices(NamedTuple):
    """What is known about the endpoints of a run before it starts.

    Attributes:
        pools: the pools that calls may name.
        book: the prices.
    """

    pools: PoolNames
    book: PriceBook


class CallForecast(NamedTuple):
    """What calls are expected to take.

    Attributes:
        per_row: calls per row.
        seconds: duration of a call.
        prompt_tokens, answer_tokens: tokens of a call.
        cost: cost of a call; None if it is not known.
        basis: what the estimate is based on.
    """

    per_row: float
    seconds: float
    prompt_tokens: float
    answer_tokens: float
    cost: float | None
    basis: str

    def tokens(self, calls: float) -> Usage:
        """Return the tokens of a number of calls."""
        return Usage(round(calls * self.prompt_tokens), round(calls * self.answer_tokens))

    def total_cost(self, calls: float) -> float | None:
        """Return the cost of a number of calls; None if it is not known."""
        return None if self.cost is None else calls * self.cost


def forecast_from_requests(requests: Sequence[Request], rows: int, book: PriceBook) -> CallForecast:
    """Return what the requests of some rows are expected to take.

    All endpoints of a pool are expected to get the same share of its calls.
    """
    usages = [_expected_usage(each) for each in requests]
    costs = [_costs(each, usage, book) for each, usage in zip(requests, usages, strict=True)]
    answer = _mean([_max_tokens(each) for each in requests])
    basis = f"{BYTES_PER_TOKEN:g} bytes per token, answers of {answer:.0f} tokens"
    if any(len(set(each)) > 1 for each in costs):
        basis += ", the mean of the endpoints' prices"
    return CallForecast(
        len(requests) / max(rows, 1),
        ASSUMED_BASE_SECONDS + answer / ASSUMED_TOKENS_PER_SECOND,
        _mean([each.prompt_tokens for each in usages]),
        _mean([each.completion_tokens for each in usages]),
        _mean_cost([_mean_cost(each) for each in costs]),
        basis,
    )


def _expected_usage(request: Request) -> Usage:
    answers = request.params.get("n")
    prompt = text_size(msgspec.json.encode(request.content)) / BYTES_PER_TOKEN
    return Usage(round(prompt), round(_max_tokens(request) * (answers if isinstance(answers, int) else 1)))


def _max_tokens(request: Request) -> float:
    maximum = request.params.get("max_completion_tokens") or request.params.get("max_tokens")
    return float(maximum) if isinstance(maximum, int) else DEFAULT_OUTPUT_TOKENS


def _costs(request: Request, usage: Usage, book: PriceBook) -> list[float | None]:
    """Return what a call costs now at each endpoint of its pool; None for one without a price."""
    prices, now = book.find_in_pool(request.pool, request.model), clock.wall_time()
    return [None if price is None else price.cost(usage, now) for price in prices]


class _Call(msgspec.Struct):
    id: str
    seconds: float = 0.0


def forecast_from_journal(out: Path, book: PriceBook) -> CallForecast | None:
    """Return the averages over the calls in the output's journal, at the prices of the present hour; None if there are
    no calls."""
    lines = list(islice(_calls(run_folder_path(out) / "calls.jsonl"), MAX_JOURNAL_CALLS))
    if not lines:
        return None
    bills = [book.bill(call.body, call.endpoint, call.model, clock.wall_time()) for _, call in lines]
    return CallForecast(
        len(lines) / len({line.id for line, _ in lines}),
        _mean([line.seconds for line, _ in lines]),
        _mean([bill.usage.prompt_tokens for bill in bills]),
        _mean([bill.usage.completion_tokens for bill in bills]),
        _mean_cost(
            [bill.cost if _has_cost(call, book) else None for (_, call), bill in zip(lines, bills, strict=True)]
        ),
        f"{len(lines)} calls in the journal",
    )


def _calls(path: Path) -> Iterator[tuple[_Call, JournaledCall]]:
    for _, line in read_lines(path):
        with suppress(*DECODE_ERRORS):  # the run itself reports damaged lines
            yield msgspec.json.decode(line, type=_Call), decode_journaled(line)


def _has_cost(call: JournaledCall, book: PriceBook) -> bool:
    """Return whether the cost of a call is known: its model has a price there, or the provider reports it."""
    return book.find(call.endpoint, call.model) is not None or book.knows_cost(book.endpoint_of(call.endpoint))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


def _mean_cost(costs: Sequence[float | None]) -> float | None:
    """Return the mean; None if one of them is not known, or there are none."""
    known = [each for each in costs if each is not None]
    return _mean(known) if known and len(known) == len(costs) else None

"""Expected tokens, cost and duration of calls: from the journal of an output, or from the first requests."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from manycall.client.pool_names import PoolNames
from manycall.control.token_estimate import BYTES_PER_TOKEN, DEFAULT_OUTPUT_TOKENS, text_size
from manycall.providers import openai
from manycall.providers.price_book import PriceBook
from manycall.records import DECODE_ERRORS, Request, Usage
from manycall.store.journal_line import decode_response
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


class CallGroup(NamedTuple):
    """The calls of one model at one endpoint: their share of all calls, and the mean tokens of one."""

    endpoint: str
    model: str
    share: float
    prompt: float
    answer: float


class CallForecast(NamedTuple):
    """Expected values: calls per row, seconds per call, the calls by endpoint and model; the basis of the estimate."""

    calls: float
    seconds: float
    groups: tuple[CallGroup, ...]
    basis: str

    def tokens(self, calls: float) -> Usage:
        """Return the tokens of a number of calls."""
        prompt = sum(calls * each.share * each.prompt for each in self.groups)
        return Usage(round(prompt), round(sum(calls * each.share * each.answer for each in self.groups)))

    def cost(self, calls: float, book: PriceBook) -> float | None:
        """Return the cost of a number of calls; None if the price of some of them is not known."""
        total = 0.0
        for each in self.groups:
            if (price := book.find(each.endpoint, each.model)) is None:
                return None
            part = calls * each.share
            total += price.cost(Usage(round(part * each.prompt), round(part * each.answer)))
        return total if self.groups else None


class _MeasuredCall(NamedTuple):
    endpoint: str
    model: str
    prompt: float
    answer: float


def _grouped(calls: list[_MeasuredCall]) -> tuple[CallGroup, ...]:
    """Return the means by endpoint and model."""
    by_kind: dict[tuple[str, str], list[_MeasuredCall]] = {}
    for call in calls:
        by_kind.setdefault((call.endpoint, call.model), []).append(call)
    return tuple(
        CallGroup(
            *kind,
            len(group) / len(calls),
            sum(each.prompt for each in group) / len(group),
            sum(each.answer for each in group) / len(group),
        )
        for kind, group in by_kind.items()
    )


def forecast_from_requests(requests: Iterable[Request], rows: int, book: PriceBook) -> CallForecast:
    """Return what the requests of some rows are expected to take."""
    calls = [
        _MeasuredCall(
            book.endpoint_of(pool=each.pool),
            each.model,
            text_size(msgspec.json.encode(each.content)) / BYTES_PER_TOKEN,
            _max_tokens(each),
        )
        for each in requests
    ]
    answer = sum(each.answer for each in calls) / max(len(calls), 1)
    seconds = ASSUMED_BASE_SECONDS + answer / ASSUMED_TOKENS_PER_SECOND
    basis = f"{BYTES_PER_TOKEN:g} bytes per token, answers of {answer:.0f} tokens"
    return CallForecast(len(calls) / max(rows, 1), seconds, _grouped(calls), basis)


def _max_tokens(request: Request) -> float:
    maximum = request.params.get("max_completion_tokens") or request.params.get("max_tokens")
    return float(maximum) if isinstance(maximum, int) else DEFAULT_OUTPUT_TOKENS


class _Call(msgspec.Struct):
    id: str
    seconds: float = 0.0
    endpoint: str = ""
    model: str = ""


def forecast_from_journal(out: Path, book: PriceBook) -> CallForecast | None:
    """Return the averages over the calls in the output's journal; None if there are none."""
    calls = list(islice(_calls(run_folder_path(out) / "calls.jsonl"), MAX_JOURNAL_CALLS))
    if not calls:
        return None
    rows = len({call.id for call, _ in calls})
    measured = [
        _MeasuredCall(book.endpoint_of(call.endpoint), call.model, used.prompt_tokens, used.completion_tokens)
        for call, used in calls
    ]
    seconds = sum(call.seconds for call, _ in calls) / len(calls)
    return CallForecast(len(calls) / rows, seconds, _grouped(measured), f"{len(calls)} calls in the journal")


def _calls(path: Path) -> Iterator[tuple[_Call, Usage]]:
    for _, line in read_lines(path):
        with suppress(*DECODE_ERRORS):  # the run itself reports damaged lines
            yield msgspec.json.decode(line, type=_Call), openai.usage(decode_response(line))

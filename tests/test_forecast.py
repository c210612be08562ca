"""The expected cost of calls: each is billed as a run would bill it now."""

import json
from pathlib import Path
from typing import Any

import pytest

from manycall.providers.price_book import PriceBook, PricedEndpoint, make_price_book
from manycall.providers.price_file import PriceFile
from manycall.providers.prices import Period, Price, Rates, parse_price
from manycall.records import Request
from manycall.run.call_forecast import CallForecast, forecast_from_journal, forecast_from_requests
from manycall.sim.virtual_time import run_virtual

OUT = Path("out.jsonl")
TUESDAY_EVENING = Period(22 * 60, 23 * 60, 4.0, weekdays=(1,))
"""The virtual clock starts at 22:13 on a Tuesday."""
ABOVE_200K = {
    "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-05,
    "input_cost_per_token_above_200k_tokens": 2e-06, "output_cost_per_token_above_200k_tokens": 2e-05,
}  # fmt: skip


def book(**endpoint: Any) -> PriceBook:
    return make_price_book("m", [PricedEndpoint("a", **endpoint)])


def with_long_prompts() -> PriceBook:
    file = PriceFile(json.dumps({"m": ABOVE_200K}).encode(), "prices.json")
    return make_price_book("m", [PricedEndpoint("a")], None, file)


def journal(*usages: dict[str, Any]) -> None:
    calls = [{"id": str(n), "key": "k", "nth": 1, "body": json.dumps({"usage": each})} for n, each in enumerate(usages)]
    Path("out.jsonl.run").mkdir()
    Path("out.jsonl.run/calls.jsonl").write_text("".join(json.dumps(call) + "\n" for call in calls))


def tokens(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


def journaled(book: PriceBook) -> CallForecast:
    """The forecast at the virtual time."""
    found: list[CallForecast | None] = []

    async def read() -> None:
        found.append(forecast_from_journal(OUT, book))

    run_virtual(read())
    assert found[0] is not None
    return found[0]


def requested(book: PriceBook, *, count: int = 1, **params: Any) -> CallForecast:
    """The forecast of some equal requests with a prompt of 100 tokens, at the virtual time."""
    request = Request("completions", "m", "x" * 398, params)
    found: list[CallForecast] = []

    async def measure() -> None:
        found.append(forecast_from_requests([request] * count, count, book))

    run_virtual(measure())
    return found[0]


def test_many_short_prompts_are_not_billed_as_a_long_one() -> None:
    journal(tokens(7, 60), tokens(7, 60), tokens(300_000, 60))
    of_journal = 2 * (7e-6 + 60e-5) + 0.6 + 60 * 2e-5
    assert journaled(with_long_prompts()).total_cost(30_000) == pytest.approx(10_000 * of_journal)
    of_request = 100e-6 + 60e-5
    assert requested(with_long_prompts(), max_tokens=60).total_cost(30_000) == pytest.approx(30_000 * of_request)


def test_cached_tokens_of_the_journal_have_their_own_price() -> None:
    journal(tokens(1000, 10, prompt_tokens_details={"cached_tokens": 900}))
    forecast = journaled(book(price=parse_price("10/1/0")))
    assert forecast.total_cost(1000) == pytest.approx(1.9)
    assert forecast.tokens(1000).prompt_tokens == 1_000_000


def test_calls_are_expected_at_the_price_of_the_present_hour() -> None:
    journal(tokens(100, 0))
    dear = book(price=Price(Rates(1, 0), periods=(TUESDAY_EVENING,)))
    assert journaled(dear).total_cost(10_000) == pytest.approx(4)
    assert requested(dear).total_cost(10_000) == pytest.approx(4)


def test_costs_that_the_provider_has_reported_are_expected_again() -> None:
    journal(tokens(1000, 10, cost=0.01), tokens(1000, 10, cost=0.03))
    assert journaled(book(reports_cost=True)).total_cost(100) == pytest.approx(2)
    assert requested(book(reports_cost=True)).total_cost(100) is None
    assert journaled(book()).total_cost(100) is None


def test_each_of_several_answers_to_a_call_is_expected_to_have_all_its_tokens() -> None:
    price = book(price=parse_price("0/1"))
    one, four = requested(price, max_tokens=100), requested(price, max_tokens=100, n=4)
    assert four.tokens(3).completion_tokens == 1200
    assert four.total_cost(10_000) == pytest.approx(4)
    assert (four.seconds, four.basis) == (one.seconds, one.basis)


def test_the_endpoints_of_a_pool_are_expected_to_get_the_same_share_of_the_calls() -> None:
    cheap, dear = (PricedEndpoint(name, price=parse_price(price)) for name, price in (("a", "1/1"), ("b", "101/101")))
    judge = PricedEndpoint("j", price=parse_price("7/7"), pool="judge")
    both = requested(make_price_book("m", [cheap, dear, judge]), max_tokens=100)
    assert both.total_cost(10_000) == pytest.approx(10_000 * 200 * 51e-6)
    assert both.basis == "4 bytes per token, answers of 100 tokens, the mean of the endpoints' prices"
    assert "mean" not in requested(make_price_book("m", [cheap, judge])).basis
    assert requested(make_price_book("m", [cheap, PricedEndpoint("c")])).total_cost(1) is None

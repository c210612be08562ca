"""Prices: what a response costs, where a price comes from, and that the sums agree with the journal."""

import asyncio
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from fakes import FakeTransport, answer
from manycall.client.endpoints_file import read_endpoints_file
from manycall.errors import UsageError
from manycall.providers.price_book import PriceBook, PricedEndpoint, make_price_book, recorded_price_book
from manycall.providers.price_file import PriceFile
from manycall.providers.prices import Period, Price, Rates, parse_price, parse_price_table
from manycall.records import Usage

MONDAY = 4 * 86400
"""5 January 1970 was a Monday."""
LITELLM = {
    "sample_spec": {"input_cost_per_token": "float", "mode": "one of: chat, embedding"},
    "gpt-5-mini": {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06,
                   "cache_read_input_token_cost": 2.5e-08,
                   "input_cost_per_token_flex": 1.25e-07, "output_cost_per_token_flex": 1e-06},
    "deepseek/deepseek-chat": {"input_cost_per_token": 2.8e-07, "output_cost_per_token": 4.2e-07},
    "long": {"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-05,
             "input_cost_per_token_above_200k_tokens": 2e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05},
    "image-model": {"input_cost_per_image": 0.04},
}  # fmt: skip


def price_file(content: Any = LITELLM) -> PriceFile:
    return PriceFile(json.dumps(content).encode(), "prices.json")


def test_cached_prompt_tokens_have_their_own_price() -> None:
    usage = Usage(1_000_000, 500_000, cached_tokens=800_000)
    assert parse_price("0.30/0.03/1.20").cost(usage) == pytest.approx(0.06 + 0.024 + 0.6)
    assert parse_price("0.30/1.20").cost(usage) == pytest.approx(0.9)
    assert parse_price((0.3, 0.03, 1.2)) == parse_price("0.30/0.03/1.20")


def test_more_cached_tokens_than_prompt_tokens_are_not_refunded() -> None:
    assert parse_price("1/0/1").cost(Usage(10, 0, cached_tokens=99)) == 0


def test_flex_and_batch_cost_half_unless_the_price_says_otherwise() -> None:
    price, usage = parse_price("2/4"), Usage(1_000_000, 1_000_000)
    assert [price.cost(usage, tier=tier) for tier in ("", "default", "flex", "batch")] == [6, 6, 3, 3]
    own = price_file().find("gpt-5-mini", "openai")
    assert own is not None
    assert own.cost(usage, tier="flex") == pytest.approx(0.125 + 1.0)


@pytest.mark.parametrize(("provider", "prefix"), [("azure_v1", "azure"), ("gemini_openai", "gemini"), ("zhipu", "zai")])
def test_a_provider_may_have_another_name_in_the_file(provider: str, prefix: str) -> None:
    file = price_file({f"{prefix}/m": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}})
    found = file.find("m", provider)
    assert found is not None
    assert found.rates.completion == 2.0


@pytest.mark.parametrize(
    ("hour", "expected"), [(0.0, 1.0), (1.0, 2.0), (3.99, 2.0), (4.0, 1.0), (24 * 5 + 2, 1.0), (24 * 7 + 2, 2.0)]
)
def test_hours_of_the_working_week_have_another_price(hour: float, expected: float) -> None:
    hours = {"utc": "01:00-04:00", "weekdays": "mon-fri", "factor": 2}
    price = parse_price_table({"input": 1, "output": 1, "hours": hours}, "endpoint 1")
    assert price.cost(Usage(1_000_000, 0), MONDAY + hour * 3600) == expected


def test_hours_may_last_beyond_midnight() -> None:
    night = Period(22 * 60, 6 * 60, 0.5, weekdays=(0,))
    inside = [night.contains(MONDAY + hour * 3600) for hour in (3, 21.9, 22, 29.9, 30, 46)]
    assert inside == [False, False, True, True, False, False]


def test_a_long_prompt_makes_the_whole_call_dearer() -> None:
    price = price_file().find("long", "openai")
    assert price is not None
    assert price.cost(Usage(200_000, 1000)) == pytest.approx(0.2 + 0.01)
    assert price.cost(Usage(200_001, 1000)) == pytest.approx(0.400002 + 0.015)


def test_a_model_is_found_by_its_providers_name_or_its_own() -> None:
    assert price_file().find("deepseek-chat", "deepseek") == Price(Rates(0.28, 0.42))
    assert price_file().find("deepseek-chat", "openai") is None
    assert price_file().find("gpt-5-mini", "azure") is not None
    assert price_file().find("image-model", "openai") is None
    assert price_file({"zai/glm-5": LITELLM["long"]}).find("glm-5", "zhipu") is not None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1', b"\xff"])
def test_a_file_of_another_form_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError, match=r"prices\.json is not a table of prices in LiteLLM's form"):
        PriceFile(content, "prices.json")


def test_an_entry_that_is_no_price_is_refused_when_it_is_used() -> None:
    with pytest.raises(UsageError, match=r"prices\.json: the prices of 'x' are not valid"):
        price_file({"x": {"input_cost_per_token": "free", "output_cost_per_token": 1}}).find("x", "")


def test_the_option_counts_more_than_the_endpoint_and_the_endpoint_more_than_the_file() -> None:
    given, own = parse_price("9/9"), parse_price("5/5")
    endpoint = PricedEndpoint("a", "openai", own)
    assert make_price_book("gpt-5-mini", [endpoint], given, price_file()).find() == given
    assert make_price_book("gpt-5-mini", [endpoint], None, price_file()).find() == own
    in_file = make_price_book("gpt-5-mini", [PricedEndpoint("a", "openai")], None, price_file())
    assert in_file.find() == price_file().find("gpt-5-mini", "openai")
    other = make_price_book("gpt-5-mini", [endpoint], given, price_file())
    assert other.find("a", "long") == price_file().find("long", "")
    assert other.find("a", "unlisted") == given


def test_prices_in_different_currencies_are_refused() -> None:
    endpoints = [PricedEndpoint("a", price=Price(Rates(1, 1), "CNY")), PricedEndpoint("b", price=Price(Rates(1, 1)))]
    with pytest.raises(UsageError, match=r"different currencies \(CNY, USD\)"):
        make_price_book("m", endpoints)


def test_recorded_prices_are_those_of_the_session() -> None:
    priced, unpriced = PricedEndpoint("a", price=parse_price("1/1")), PricedEndpoint("b")
    router, judge = PricedEndpoint("r", reports_cost=True), PricedEndpoint("j", pool="judge", model="big")

    def recorded(*endpoints: PricedEndpoint) -> PriceBook | None:
        used = make_price_book("m", endpoints).used()
        return recorded_price_book("m", [{"prices": msgspec.to_builtins(used)}, {"prices": []}])

    tokens = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    for endpoints, is_complete in (((priced, router), True), ((priced, unpriced), False), ((priced, judge), False)):
        known = recorded(*endpoints)
        assert known is not None
        assert known.is_complete == is_complete == make_price_book("m", endpoints).is_complete
        costs = [known.bill(json.dumps({"usage": tokens}).encode(), name).cost for name in ("", "a", "moved")]
        assert costs == [1, 1, 1]
        assert [known.find(each.name, each.model) is None for each in endpoints] == [False, True]
    assert recorded(unpriced, router) is None


def test_a_cost_that_the_provider_reports_is_not_added_to_prices_in_another_currency() -> None:
    yuan = PricedEndpoint("gpu", price=Price(Rates(1, 1), "CNY"))
    router = PricedEndpoint("https://openrouter.ai/api/v1", reports_cost=True)
    with pytest.raises(UsageError, match=r"\(CNY, USD\).* report their costs in USD: https://openrouter\.ai/api/v1\."):
        make_price_book("m", [router, yuan])
    assert make_price_book("m", [router, PricedEndpoint("gpu", price=Price(Rates(1, 1)))]).is_complete
    assert make_price_book("m", [router._replace(price=Price(Rates(7, 7), "CNY")), yuan]).currency == "CNY"


def test_a_free_endpoint_goes_with_prices_in_any_currency() -> None:
    docs = (Path(__file__).parents[1] / "docs" / "endpoints.md").read_text()
    (example,) = re.findall(r'```toml\n(\[\[endpoint\]\]\nname = "chat".*?)```', docs, re.DOTALL)
    priced = [
        PricedEndpoint(str(n), price=parse_price_table(each["price"], "endpoint"))
        for n, each in enumerate(tomllib.loads(example)["endpoint"])
    ]
    assert make_price_book("m", priced).currency == "CNY"
    assert make_price_book("m", priced[1:]).currency == "USD"
    with pytest.raises(UsageError, match="different currencies"):
        make_price_book("m", [priced[0], PricedEndpoint("b", price=parse_price("0/1/0"))])


def bill(book: PriceBook, usage: Mapping[str, Any], **more: Any) -> float:
    return book.bill(json.dumps({"choices": [], "usage": usage, **more}).encode()).cost


def test_a_reported_cost_counts_more_than_the_price() -> None:
    book = make_price_book("m", [PricedEndpoint("a")], parse_price("1/1"))
    tokens = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    assert bill(book, tokens) == 1
    assert bill(book, {**tokens, "cost": 0.25}) == 0.25
    assert bill(book, {**tokens, "cost_in_usd_ticks": 5_000_000_000}) == pytest.approx(0.5)
    assert bill(book, {**tokens, "cost": 0.25, "is_byok": False, "cost_details": "none"}) == 0.25
    assert bill(book, {**tokens, "cost": -1}) == 1
    assert bill(book, {**tokens, "cost": "much"}) == 1
    assert bill(book, tokens, service_tier="flex") == 0.5
    yuan = make_price_book("m", [PricedEndpoint("a", price=Price(Rates(7, 7), "CNY"))])
    assert bill(yuan, {**tokens, "cost": 0.25}) == 7


def test_with_a_key_of_the_users_own_at_openrouter_the_cost_includes_that_of_the_other_provider() -> None:
    book = make_price_book("m", [PricedEndpoint("e", reports_cost=True)], parse_price("1/1"))
    tokens = {"prompt_tokens": 1_000_000, "completion_tokens": 0, "is_byok": True}
    assert bill(book, {**tokens, "cost": 0, "cost_details": {"upstream_inference_cost": 0.036}}) == 0.036
    assert bill(book, {**tokens, "cost": 0.5, "cost_details": {"upstream_inference_cost": 2}}) == 2.5
    for unknown in ({}, {"cost_details": None}, {"cost_details": {"upstream_inference_cost": None}}):
        assert bill(book, {**tokens, "cost": 0, **unknown}) == 1


@pytest.mark.parametrize(
    "price",
    [
        "'1'", "'a/b'", "{ input = 1 }", "{ input = 1, output = -1 }", "{ input = 1, output = 2, extra = 3 }", "7",
        "{ input = 1, output = 2, currency = 'yuan' }", "{ input = 1, output = 2, hours = 'night' }",
        "{ input = 1, output = 2, hours = { utc = '25:00-26:00', factor = 1 } }",
        "{ input = 1, output = 2, hours = { utc = '1:00-2:00', factor = 1, weekdays = 'today' } }",
    ],
)  # fmt: skip
def test_a_price_that_is_not_valid_names_the_entry(tmp_path: Path, price: str) -> None:
    path = tmp_path / "endpoints.toml"
    path.write_text(f'[[endpoint]]\nbase_url = "http://127.0.0.1:1/v1"\nprice = {price}\n')
    with pytest.raises(UsageError, match=r"endpoints\.toml, endpoint 1: "):
        read_endpoints_file(path, False, lambda name: None)


def test_an_endpoint_has_a_name_and_a_price(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.toml"
    table = (
        '{ input = 2, cached_input = 0.2, output = 8, currency = "CNY", hours = [{ utc = "1:00-4:00", factor = 2 }] }'
    )
    path.write_text(f'[[endpoint]]\nname = "gpu"\nbase_url = "http://127.0.0.1:1/v1"\nprice = {table}\n')
    (settings,) = read_endpoints_file(path, False, lambda name: None)
    expected = Price(Rates(2, 8, 0.2), "CNY", (Period(60, 240, 2.0),))
    assert (settings.shown_name, settings.price) == ("gpu", expected)


def test_the_result_equals_a_recount_of_the_journal_over_sessions_and_models(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 600}}
    transport = FakeTransport(lambda body: answer(usage=usage))

    async def ask(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        await llm.chat("draft")
        return {"text": (await llm.chat("judge", model="gpt-5-mini")).text}

    table = tmp_path / "prices.json"
    table.write_text(json.dumps(LITELLM))
    out = tmp_path / "out.jsonl"

    async def session(limit: int) -> manycall.results.RunResult:
        async with manycall.Client("m", base_url="http://127.0.0.1:1/v1", transport=transport) as llm:
            rows = [{"id": n} for n in range(limit)]
            return await llm.map(ask, rows, out=out, price="1/0.1/2", prices=table, progress=False).result()

    first, second = asyncio.run(session(3)), asyncio.run(session(5))
    drafts, judged = 400e-6 + 600 * 0.1e-6 + 100 * 2e-6, 400 * 2.5e-7 + 600 * 2.5e-8 + 100 * 2e-6
    assert first.total_cost == pytest.approx(3 * (drafts + judged))
    assert second.total_cost == pytest.approx(5 * (drafts + judged))
    assert second.cost == pytest.approx(2 * (drafts + judged))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl.run" / "calls.jsonl").read_text().splitlines()]
    assert [line.get("model", "m") for line in lines].count("gpt-5-mini") == 5
    assert {line["endpoint"] for line in lines} == {"http://127.0.0.1:1/v1"}
    assert manycall.dataset_card(out).cost == pytest.approx(second.total_cost)

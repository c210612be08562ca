import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.limits import DAY_SECONDS, MINUTE_SECONDS, AdvertisedLimit
from manycall.providers import rate_limit_headers
from manycall.providers.rate_limit_dialects import HEADER_DIALECTS, find_dialect
from manycall.providers.rate_limit_headers import HeaderLookup

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z

REPLIES = {
    "OpenAI": (
        "api.openai.com",
        {
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-limit-tokens": "30000000",
            "x-ratelimit-remaining-tokens": "29999980",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        [
            AdvertisedLimit("requests", MINUTE_SECONDS, 10_000, 9999, 0.006),
            AdvertisedLimit("tokens", MINUTE_SECONDS, 30_000_000, 29_999_980, 360),
        ],
    ),
    "Azure OpenAI": (
        "mine.openai.azure.com",
        {
            "x-ms-region": "Sweden Central",
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-requests": "10",
            "x-ratelimit-limit-tokens": "240000",
            "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-reset-tokens": "0",
        },
        [
            AdvertisedLimit("requests", MINUTE_SECONDS, None, 9, 10),
            AdvertisedLimit("tokens", MINUTE_SECONDS, 240_000, None, 0),
        ],
    ),
    "Groq": (
        "api.groq.com",
        {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-reset-requests": "2m59.56s",
            "x-ratelimit-limit-tokens": "18000",
            "x-ratelimit-remaining-tokens": "17997",
            "x-ratelimit-reset-tokens": "7.66s",
        },
        [
            AdvertisedLimit("requests", DAY_SECONDS, 14_400, 14_370, 179.56),
            AdvertisedLimit("tokens", MINUTE_SECONDS, 18_000, 17_997, 7.66),
        ],
    ),
    "Anthropic": (
        "api.anthropic.com",
        {
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-remaining": "999",
            "anthropic-ratelimit-requests-reset": "2025-12-31T23:59:59Z",
            "anthropic-ratelimit-tokens-limit": "96000",
            "anthropic-ratelimit-tokens-remaining": "96000",
            "anthropic-ratelimit-tokens-reset": "2026-01-01T00:00:01Z",
            "anthropic-ratelimit-input-tokens-limit": "80000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-01-01T00:00:30Z",
            "anthropic-ratelimit-output-tokens-limit": "16000",
            "anthropic-ratelimit-output-tokens-remaining": "16000",
            "anthropic-ratelimit-output-tokens-reset": "2026-01-01T01:00:02+01:00",
        },
        [
            AdvertisedLimit("requests", MINUTE_SECONDS, 1000, 999, 0),
            AdvertisedLimit("tokens", MINUTE_SECONDS, 96_000, 96_000, 1),
            AdvertisedLimit("input_tokens", MINUTE_SECONDS, 80_000, 0, 30),
            AdvertisedLimit("output_tokens", MINUTE_SECONDS, 16_000, 16_000, 2),
        ],
    ),
    "Cerebras": (
        "api.cerebras.ai",
        {
            "x-ratelimit-limit-requests-day": "1000000000",
            "x-ratelimit-limit-tokens-minute": "60000",
            "x-ratelimit-remaining-requests-day": "999997455",
            "x-ratelimit-remaining-tokens-minute": "59000",
            "x-ratelimit-reset-requests-day": "33011.5",
            "x-ratelimit-reset-tokens-minute": "11.5",
        },
        [
            AdvertisedLimit("requests", DAY_SECONDS, 1e9, 999_997_455, 33_011.5),
            AdvertisedLimit("tokens", MINUTE_SECONDS, 60_000, 59_000, 11.5),
        ],
    ),
    "Mistral": (
        "api.mistral.ai",
        {
            "x-ratelimit-limit-tokens-minute": "5000000",
            "x-ratelimit-remaining-tokens-minute": "4999911",
            "x-ratelimit-tokens-query-cost": "52",
            "x-ratelimit-limit-req-minute": "720",
            "x-ratelimit-remaining-req-minute": "717",
        },
        [
            AdvertisedLimit("requests", MINUTE_SECONDS, 720, 717, None),
            AdvertisedLimit("tokens", MINUTE_SECONDS, 5_000_000, 4_999_911, None),
        ],
    ),
    "Fireworks": (
        "api.fireworks.ai",
        {
            "x-ratelimit-limit-tokens-prompt": "60000",
            "x-ratelimit-remaining-tokens-prompt": "59000",
            "x-ratelimit-limit-tokens-generated": "600",
            "x-ratelimit-remaining-tokens-generated": "500",
        },
        [
            AdvertisedLimit("input_tokens", MINUTE_SECONDS, None, 59_000, None),
            AdvertisedLimit("output_tokens", MINUTE_SECONDS, None, 500, None),
        ],
    ),
    "Together": (
        "api.together.xyz",
        {
            "x-ratelimit-limit": "10",
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": "1",
            "x-tokenlimit-limit": "3000",
            "x-tokenlimit-remaining": "2990",
        },
        [
            AdvertisedLimit("requests", MINUTE_SECONDS, None, 0, 1),
            AdvertisedLimit("tokens", MINUTE_SECONDS, None, 2990, None),
        ],
    ),
    "OpenRouter": (
        "openrouter.ai",
        {"x-ratelimit-limit": "50", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767229200000"},
        [AdvertisedLimit("requests", MINUTE_SECONDS, None, 0, 3600)],
    ),
    "LiteLLM": (
        "gateway.internal",
        {
            "x-litellm-version": "1.106.0",
            "x-ratelimit-api_key-limit-requests": "60",
            "x-ratelimit-api_key-remaining-requests": "-20",
            "x-ratelimit-team-limit-tokens": "750000",
            "x-ratelimit-team-remaining-tokens": "740000",
            "llm_provider-x-ratelimit-limit-requests": "30000",
            "llm_provider-x-ratelimit-remaining-requests": "29999",
            "llm_provider-x-ratelimit-reset-requests": "2ms",
        },
        [
            AdvertisedLimit("requests", MINUTE_SECONDS, 60, None, None),
            AdvertisedLimit("tokens", MINUTE_SECONDS, 750_000, 740_000, None),
            AdvertisedLimit("requests", MINUTE_SECONDS, None, 29_999, 0.002),
        ],
    ),
    "IETF, three headers": (
        "example.org",
        {"ratelimit-limit": "100", "ratelimit-remaining": "50", "ratelimit-reset": "30"},
        [AdvertisedLimit("requests", MINUTE_SECONDS, None, 50, 30)],
    ),
    "IETF": (
        "example.org",
        {
            "ratelimit-policy": '"default";q=100;w=60, "daily";q=5000;w=86400, "odd";q=9;w=7, "size";q=9;w=60;qu="b"',
            "ratelimit": '"default";r=50;t=30 , "daily";r=0;t=3600, "odd";r=1;t=2, "size";r=0;t=9',
        },
        [
            AdvertisedLimit("requests", MINUTE_SECONDS, 100, 50, 30),
            AdvertisedLimit("requests", DAY_SECONDS, 5000, 0, 3600),
            AdvertisedLimit("requests", MINUTE_SECONDS, None, 1, 2),
        ],
    ),
    "X-RateLimit": (
        "example.org",
        {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4990", "x-ratelimit-reset": "1767225660"},
        [AdvertisedLimit("requests", MINUTE_SECONDS, None, 4990, 60)],
    ),
}


@pytest.mark.parametrize("name", [one.name for one in HEADER_DIALECTS])
def test_each_dialect_is_recognised_and_read(name: str) -> None:
    host, headers, told = REPLIES[name]
    one = find_dialect(host, headers.get)
    assert one is not None
    assert one.name == name
    assert one.parse(headers.get, NOW) == told


@pytest.mark.parametrize(
    ("host", "headers", "name"),
    [
        ("eu.api.openai.com", {}, "OpenAI"),
        ("API.OpenAI.com.", {}, "OpenAI"),
        ("mine.services.ai.azure.com", {}, "Azure OpenAI"),
        ("gateway.internal", {"x-ratelimit-limit-requests": "1"}, "OpenAI"),
        ("gateway.internal", {"x-ratelimit-limit-requests": "1", "apim-request-id": "1"}, "Azure OpenAI"),
        ("gateway.internal", {"x-ratelimit-limit-requests": "1", "x-litellm-call-id": "1"}, "LiteLLM"),
        ("gateway.internal", {"anthropic-ratelimit-tokens-limit": "1"}, "Anthropic"),
        ("gateway.internal", {"x-ratelimit-limit-req-minute": "1"}, "Mistral"),
        ("gateway.internal", {"x-ratelimit-limit-requests-day": "1"}, "Cerebras"),
        ("gateway.internal", {"ratelimit-limit": "1", "ratelimit-policy": "1;w=60"}, "IETF, three headers"),
        ("notapi.openai.com", {}, None),
        ("api.openai.com.evil.org", {}, None),
        ("api.deepseek.com", {"content-type": "application/json"}, None),
        ("localhost", {}, None),
    ],
)
def test_the_host_decides_the_dialect_or_else_the_headers(host: str, headers: dict[str, str], name: str | None) -> None:
    one = find_dialect(host, headers.get)
    assert (one.name if one else None) == name


def openai(limit: str | None, remaining: str | None, reset: str | None = None) -> list[AdvertisedLimit]:
    headers = {"limit": limit, "remaining": remaining, "reset": reset}
    given = {f"x-ratelimit-{key}-requests": value for key, value in headers.items() if value is not None}
    one = find_dialect("api.openai.com", given.get)
    assert one is not None
    return one.parse(given.get, NOW)


@pytest.mark.parametrize(
    "lie", ["-1", "nan", "inf", "-inf", "1e999", "1e13", "unlimited", "", " ", "10, 10", "150,000", "null", "0x10"]
)
def test_a_number_that_makes_no_sense_was_not_said(lie: str) -> None:
    assert openai(lie, lie, lie) == []
    assert openai("10", lie, lie) == [AdvertisedLimit("requests", MINUTE_SECONDS, 10, None, None)]
    assert openai(lie, "7", "1s") == [AdvertisedLimit("requests", MINUTE_SECONDS, None, 7, 1)]


def test_nothing_remains_only_of_a_limit_that_makes_sense() -> None:
    assert openai("10", "0") == [AdvertisedLimit("requests", MINUTE_SECONDS, 10, 0, None)]
    assert openai("0", "0") == openai("-1", "0") == openai(None, "0") == []
    assert openai("0", "3") == [AdvertisedLimit("requests", MINUTE_SECONDS, None, 3, None)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1.5", 1.5),
        ("0s", 0),
        ("20ms", 0.02),
        ("350µs", 0.00035),
        ("350us", 0.00035),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("1767225690", 90),  # since 1970
        ("1767225690500", 90.5),  # the same in ms
        ("1600000000", 0),
        ("2026-01-01T00:01:30Z", 90),
        ("2026-01-01T00:01:30.25+00:00", 90.25),
        ("2026-01-01T00:01:30", 90),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        ("Thu, 01 Jan 2026 00:01:30 -0000", 90),
        ("2020-01-01T00:00:00Z", 0),
        ("2099-01-01T00:00:00Z", None),
        ("99999999", None),
        ("9" * 99 + "h", None),
        ("9" * 500 + "s", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("-5", None),
        ("-5s", None),
        ("5 minutes", None),
        ("5d", None),
        ("h", None),
        ("soon", None),
    ],
)
def test_every_spelling_of_a_reset(text: str, seconds: float | None) -> None:
    told = openai("10", "5", text)[0].reset
    assert told == (seconds if seconds is None else pytest.approx(seconds))


def test_a_refusal_waits_for_the_longest_reset_of_what_is_used_up() -> None:
    used_up, later = (
        AdvertisedLimit("requests", MINUTE_SECONDS, 10, 0, 3),
        AdvertisedLimit("tokens", DAY_SECONDS, None, 0, 400),
    )
    left, unknown = (
        AdvertisedLimit("tokens", MINUTE_SECONDS, 10, 1, 999),
        AdvertisedLimit("input_tokens", MINUTE_SECONDS, 10, 0, None),
    )
    assert rate_limit_headers.reset_seconds([used_up, left, later, unknown]) == 400
    assert rate_limit_headers.reset_seconds([left, unknown]) is None
    assert rate_limit_headers.reset_seconds([]) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"llm_provider-retry-after": "7"}, 7),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "2", "llm_provider-retry-after": "7", "x-ms-retry-after-ms": "1"}, 2),
        ({"retry-after-ms": "-1", "retry-after": "soon", "llm_provider-retry-after": "7"}, 7),
        ({"llm_provider-retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30),
        ({"retry-after": "", "x-ms-retry-after-ms": "nan"}, None),
    ],
)
def test_other_spellings_of_retry_after_count_when_the_usual_ones_are_silent(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert rate_limit_headers.parse_retry_after(headers.get, NOW) == seconds


@pytest.mark.parametrize("ours", [NOW, NOW - DAY_SECONDS, NOW + DAY_SECONDS])
def test_a_date_is_counted_from_the_servers_own_however_wrong_our_clock_is(ours: float) -> None:
    headers: dict[str, str] = {"date": "Thu, 01 Jan 2026 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}
    assert rate_limit_headers.parse_retry_after(headers.get, rate_limit_headers.server_time(headers.get, ours)) == 30


@pytest.mark.parametrize("date", ["", "soon", "Thu, 99 Jan 2026 00:00:00 GMT", "9" * 400])
def test_a_server_without_a_clock_is_judged_by_ours(date: str) -> None:
    headers = {"date": date}
    assert rate_limit_headers.server_time(headers.get, NOW) == NOW


NUMBERS = st.one_of(st.floats().map(str), st.integers().map(str), st.integers(0, 20_000).map("{}".format))
TEXTS = st.one_of(
    st.text(max_size=60),
    NUMBERS,
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.from_regex(r"([0-9]{1,30}(\.[0-9]{1,5})?(h|m|s|ms|us|ns)){1,4}", fullmatch=True),
    st.from_regex(
        r"\"[a-z]{0,3}\";[qrtw]=[0-9.e-]{1,8};[qrtw]=[0-9]{1,6}(, ?\"[a-z]{0,3}\";[qrtw]=-?[0-9]{1,400}){0,3}"
    ),
    st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{2,6} [0-9:]{1,8} ([+-][0-9]{4}|GMT)", fullmatch=True),
)


def any_header(texts: list[str]) -> HeaderLookup:
    """Some of the texts, in turn, for whichever header."""
    turn = iter(texts)
    return lambda name: next(turn, None)


@given(st.lists(TEXTS, max_size=40), st.sampled_from(HEADER_DIALECTS), st.sampled_from([0.0, NOW]))
def test_no_header_does_harm_and_every_number_is_finite(
    texts: list[str], one: rate_limit_headers.HeaderDialect, wall: float
) -> None:
    for told in one.parse(any_header(texts), wall):
        assert told.period_seconds in {MINUTE_SECONDS, DAY_SECONDS}
        assert told.unit in {"requests", "tokens", "input_tokens", "output_tokens"}
        numbers = [number for number in told[2:] if number is not None]
        assert numbers
        assert all(math.isfinite(number) and number >= 0 for number in numbers)
        assert told.limit != 0
    wait = rate_limit_headers.parse_retry_after(any_header(texts), wall)
    assert wait is None or (math.isfinite(wait) and wait >= 0)


@given(st.text(max_size=60), st.lists(st.one_of(st.none(), TEXTS), max_size=40))
def test_any_host_may_say_anything(host: str, texts: list[str | None]) -> None:
    turn = iter(texts)
    one = find_dialect(host, lambda name: next(turn, None))
    assert one is None or one in HEADER_DIALECTS


def test_only_some_providers_charge_the_whole_max_tokens() -> None:
    assert {one.name for one in HEADER_DIALECTS if one.reserves_max_tokens} == {"Azure OpenAI", "OpenAI", "Cerebras"}

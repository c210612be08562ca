"""Accounts without money, daily quotas and throttles in the words of each provider, through whole runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fakes import answer
from manycall.errors import DailyQuotaExhausted
from manycall.providers.catalog import find_preset
from manycall.transport.messages import HttpRequest, HttpResponse
from test_error_codes import LINES
from test_exhaustion import NO_QUOTA, ROWS, Trial

RESUMABLE = 4


def recorded(provider: str, name: str, status: int) -> HttpResponse:
    """Return a recorded error as a response."""
    line = next(each for each in LINES if (each.provider, each.name, each.status) == (provider, name, status))
    return HttpResponse(line.status, line.encoded, line.headers.get)


def url_of(provider: str) -> str:
    return find_preset(provider).base_urls[0]


def json_error(status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(status, msgspec.json.encode({"error": error}), (headers or {}).get)


EIGHT_AND_TWO = [
    ("openai", "no money, insufficient_quota", 429),
    ("deepseek", "no money", 402),
    ("dashscope", "no money", 400),
    ("moonshot", "no money", 429),
    ("zhipu", "no money, 1113", 429),
    ("ark", "no money", 403),
    ("anthropic", "no money", 400),
    ("openrouter", "no money", 402),
    ("fireworks", "no money, suspended", 412),
    ("minimax", "no money, status 200", 200),
]


@pytest.mark.parametrize(("provider", "name", "status"), EIGHT_AND_TWO)
def test_an_account_without_money_stops_the_run_after_a_few_calls_and_asks_for_credit(
    tmp_path: Path, provider: str, name: str, status: int
) -> None:
    refused = recorded(provider, name, status)
    end = Trial(tmp_path, lambda now, _: refused, url=url_of(provider))
    assert (end.done, end.failed) == (0, 0)
    assert end.client.counters.attempts <= 8
    assert end.seconds < 3
    assert "add credit" in end.stopped


@pytest.mark.parametrize(("provider", "name", "status"), [each for each in EIGHT_AND_TWO if each[0] != "openai"])
def test_an_account_that_runs_out_of_money_stops_the_run_at_once(
    tmp_path: Path, provider: str, name: str, status: int
) -> None:
    refused = recorded(provider, name, status)
    end = Trial(tmp_path, lambda now, _: refused if now >= 3 else answer(), url=url_of(provider))
    assert 0 < end.done < ROWS
    assert end.failed == 0
    assert end.seconds < 5
    assert "add credit" in end.stopped


@pytest.mark.parametrize(("provider", "name", "status"), EIGHT_AND_TWO[1:])
def test_another_key_does_the_rows_of_a_key_without_money(
    tmp_path: Path, provider: str, name: str, status: int
) -> None:
    refused = recorded(provider, name, status)

    def reply(now: float, request: HttpRequest) -> HttpResponse:
        assert request.key is not None
        return refused if request.key.reveal() == "k1" else answer()

    end = Trial(tmp_path, reply, keys='"k1", "k2"', url=url_of(provider))
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")
    assert "add credit" in str(end.client.pool.endpoints[0].disabled_reason)
    assert len(end.client.pool.endpoints[0].events) < 20


@pytest.mark.parametrize("first", [0.0, 5.0])
def test_a_throttle_that_dashscope_calls_insufficient_quota_is_waited_for_even_at_the_start(
    tmp_path: Path, first: float
) -> None:
    end = Trial(tmp_path, lambda now, _: NO_QUOTA if first <= now < first + 60 else answer(), url=url_of("dashscope"))
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")
    assert end.seconds < 60 + ROWS / 16 * 0.2 + 120


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_sixty_seconds_of_insufficient_quota_in_the_middle_of_a_run_cost_no_row(tmp_path: Path, provider: str) -> None:
    end = Trial(tmp_path, lambda now, _: NO_QUOTA if 5 <= now < 65 else answer(), url=url_of(provider))
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")


def test_a_budget_in_flight_is_waited_for_even_by_a_key_that_has_not_worked_yet(tmp_path: Path) -> None:
    refused = recorded("openrouter", "budget in flight", 402)
    end = Trial(tmp_path, lambda now, _: refused if now < 20 else answer(), url=url_of("openrouter"))
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")


DAY: list[tuple[str, Callable[[float], HttpResponse]]] = [
    ("gemini_openai", lambda now: recorded("gemini", "day quota", 429)),
    ("zhipu", lambda now: recorded("zhipu", "day quota 1304", 429)),
    ("zhipu", lambda now: recorded("zhipu", "day quota, with its end", 429)),  # long ago on the clock of this test
    ("groq", lambda now: json_error(429, {"message": "tokens per day (TPD)"}, {"retry-after": "30000"})),
]


@pytest.mark.parametrize(("provider", "refused"), DAY)
def test_a_daily_quota_stops_the_run_with_the_time_of_its_reset(
    tmp_path: Path, provider: str, refused: Callable[[float], HttpResponse]
) -> None:
    end = Trial(tmp_path, lambda now, _: refused(now) if now >= 3 else answer(), url=url_of(provider))
    assert 0 < end.done < ROWS
    assert end.failed == 0
    assert end.seconds < 5
    assert isinstance(end.reason, DailyQuotaExhausted)
    assert end.reason.exit_code == RESUMABLE
    assert "available again at 20" in end.stopped
    assert " UTC." in end.stopped


def test_a_quota_that_is_available_again_within_the_hour_is_waited_for(tmp_path: Path) -> None:
    busy = json_error(429, {"message": "Rate limit on tokens per day (TPD). Please try again in 15m0s."})
    end = Trial(tmp_path, lambda now, _: busy if 3 <= now < 903 else answer(), url=url_of("groq"))
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")
    assert 900 < end.seconds < 1000
    assert end.client.counters.http_429 < 40


def test_other_keys_continue_while_the_daily_quota_of_one_is_used_up(tmp_path: Path) -> None:
    used_up = recorded("gemini", "day quota", 429)

    def reply(now: float, request: HttpRequest) -> HttpResponse:
        assert request.key is not None
        return used_up if request.key.reveal() == "k1" and now >= 1 else answer()

    end = Trial(tmp_path, reply, keys='"k1", "k2"', url=url_of("gemini_openai"))
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")
    first = end.client.pool.endpoints[0]
    assert first.disabled_reason is None
    assert sum("quota of its key" in each.what for each in first.events) == 1
    assert end.seconds < 30


def test_the_run_stops_when_the_daily_quotas_of_all_keys_are_used_up(tmp_path: Path) -> None:
    used_up = recorded("gemini", "day quota", 429)

    def reply(now: float, request: HttpRequest) -> HttpResponse:
        assert request.key is not None
        return used_up if now >= (1 if request.key.reveal() == "k1" else 4) else answer()

    end = Trial(tmp_path, reply, keys='"k1", "k2"', url=url_of("gemini_openai"))
    assert 0 < end.done < ROWS
    assert end.failed == 0
    assert isinstance(end.reason, DailyQuotaExhausted)
    assert end.seconds < 8


def test_twenty_keys_without_money_do_not_stop_a_run_that_has_another(tmp_path: Path) -> None:
    def reply(now: float, request: HttpRequest) -> HttpResponse:
        assert request.key is not None
        return answer() if request.key.reveal() == "good" else recorded("deepseek", "no money", 402)

    keys = ", ".join(f'"k{n}"' for n in range(20))
    end = Trial(tmp_path, reply, keys=f'{keys}, "good"', url=url_of("deepseek"))
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")


def test_a_filtered_prompt_fails_its_row_after_one_attempt_and_says_so(tmp_path: Path) -> None:
    filtered = recorded("dashscope", "filter", 400)

    def reply(now: float, request: HttpRequest) -> HttpResponse:
        return filtered if b'"r100"' in request.body else answer()

    end = Trial(tmp_path, reply, url=url_of("dashscope"))
    assert (end.done, end.failed, end.stopped) == (ROWS - 1, 1, "")
    assert end.client.counters.failure_counts == {"content_filter": 1}
    assert end.client.counters.attempts == ROWS

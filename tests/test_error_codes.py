"""What the errors of each provider mean: tests/recorded/errors.jsonl, one line for each error and provider."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints import endpoint_at
from fakes import no_header
from manycall import errors
from manycall.client.endpoint_limits import SendTime, WindowRange
from manycall.client.refusal import assess_failure, read_refusal
from manycall.control import retry
from manycall.control.retry import FailedAttempt
from manycall.errors import CallError, FailureAction, FailureClass
from manycall.providers import openai, provider_errors, quota_resets
from manycall.providers.catalog import GENERIC, PROVIDERS, find_preset
from manycall.providers.error_body import ErrorBody, read_error_body
from manycall.providers.error_codes import classify, is_throttle, temporary_class
from manycall.providers.provider import Provider
from manycall.records import Secret
from manycall.run.outcome import failure_kind
from manycall.sim import virtual_time
from manycall.transport.messages import HttpResponse

RECORDED = (Path(__file__).parent / "recorded" / "errors.jsonl").read_text(encoding="utf-8").splitlines()
NOW = 1_000_000_000.0  # 2001-09-09 01:46:40 UTC
DATE = "Sun, 09 Sep 2001 01:46:40 GMT"


class Line(msgspec.Struct, frozen=True):
    """An error as a provider sends it, and what it means.

    Attributes:
        meaning: the value of its FailureClass.
        wait: seconds until the call may be sent again; None if the server does not say so.
    """

    name: str
    provider: str
    status: int
    headers: dict[str, str]
    body: Any
    meaning: str = msgspec.field(name="class")
    wait: float | None

    @property
    def spoken_by(self) -> Provider:
        return GENERIC if self.provider == "generic" else find_preset(self.provider)

    @property
    def encoded(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else msgspec.json.encode(self.body)


LINES = [msgspec.json.decode(line, type=Line) for line in RECORDED]


def error_of(line: Line) -> CallError:
    """Return the error as the client builds it from the response."""
    if line.status == 200:
        with pytest.raises(errors.InvalidResponse) as caught:
            openai.decode("chat", line.encoded)
        return caught.value
    endpoint = endpoint_at(next(iter(line.spoken_by.base_urls), "https://h"), Secret("k"))
    response = HttpResponse(line.status, line.encoded, {"date": DATE, **line.headers}.get)
    return read_refusal(endpoint, response, line.encoded)


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.provider}, {line.status}: {line.name}")
def test_each_error_means_what_its_provider_means_by_it(line: Line) -> None:
    error = error_of(line)
    found = classify(error, line.spoken_by)
    assert found.value == line.meaning
    wait = retry.retry_after_seconds(error)
    if wait is None and found is FailureClass.DAILY_QUOTA:
        wait = quota_resets.seconds_until_daily_reset(line.provider, NOW)
    assert wait == line.wait
    kind = failure_kind(error.replace(failure_class=found))
    if found is FailureClass.CONTENT_FILTER:
        assert kind == "content_filter"
    else:
        assert kind == ("invalid" if line.status == 200 else "call_error")


def test_every_provider_with_a_table_is_in_the_catalog_and_every_meaning_is_recorded() -> None:
    names = {provider.name for provider in PROVIDERS}
    rules = {name for rule in provider_errors.MESSAGE_RULES for name in rule.providers.split()}
    statuses = {name for name, _ in provider_errors.CLASS_BY_PROVIDER_STATUS}
    assert (
        rules | statuses | provider_errors.CLASS_BY_PROVIDER_CODE.keys() | quota_resets.DAILY_RESET_UTC_HOUR.keys()
        <= names
    )
    assert all(code == code.lower() for codes in provider_errors.CLASS_BY_PROVIDER_CODE.values() for code in codes)
    from_history = {FailureClass.OUTAGE, FailureClass.GONE}
    from_bodies = set(FailureClass) - {FailureClass.UNREACHABLE, FailureClass.UNTRUSTED_SERVER} - from_history
    assert {line.meaning for line in LINES} == {each.value for each in from_bodies}


@pytest.mark.parametrize(
    ("meaning", "at_first", "later"),
    [
        (FailureClass.OUT_OF_MONEY, FailureAction.STOP_RUN, FailureAction.STOP_RUN),
        (FailureClass.BAD_KEY, FailureAction.STOP_RUN, FailureAction.STOP_RUN),
        (FailureClass.CONTENT_FILTER, FailureAction.FAIL, FailureAction.FAIL),
        (FailureClass.TOO_LONG, FailureAction.FAIL, FailureAction.FAIL),
        (FailureClass.PARAMETER, FailureAction.FAIL, FailureAction.FAIL),
        (FailureClass.BAD_SETUP, FailureAction.STOP_RUN, FailureAction.FAIL),
        (FailureClass.CONCURRENCY_LIMITED, FailureAction.RETRY, FailureAction.RETRY),
        (FailureClass.DAILY_QUOTA, FailureAction.RETRY, FailureAction.RETRY),
    ],
)
def test_what_is_done_about_each_meaning(meaning: FailureClass, at_first: FailureAction, later: FailureAction) -> None:
    failure = FailedAttempt(errors.HttpStatusError("no", status=400), meaning)
    assert retry.decide(failure, 1, any_success=False) is at_first
    assert retry.decide(failure, 1, any_success=True) is later


def test_a_daily_quota_stops_the_run_only_if_its_end_is_far_and_no_other_key_is_left() -> None:
    def decide(wait: float, *, has_alternative: bool, attempts: int = 1) -> FailureAction:
        error = errors.HttpStatusError("no", status=429, retry_after=wait)
        failure = FailedAttempt(error, FailureClass.DAILY_QUOTA, has_alternative)
        return retry.decide(failure, attempts, any_success=True)

    assert decide(3600.0, has_alternative=False) is FailureAction.RETRY
    assert decide(3601.0, has_alternative=False) is FailureAction.STOP_RUN
    assert decide(80_000.0, has_alternative=True) is FailureAction.RETRY
    assert decide(80_000.0, has_alternative=True, attempts=50) is FailureAction.RETRY


@pytest.mark.parametrize(("retry_after", "meaning"), [(None, "out of money"), (2.0, "key rate limited")])
def test_402_is_a_throttle_if_the_server_says_when_to_send_again(retry_after: float | None, meaning: str) -> None:
    error = errors.HttpStatusError("no", status=402, retry_after=retry_after)
    assert classify(error, find_preset("openrouter")).value == meaning


def test_a_status_of_499_may_be_billed() -> None:
    assert errors.HttpStatusError("closed", status=499).possibly_billed
    assert not errors.HttpStatusError("busy", status=429).possibly_billed


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Your limit will reset at 2001-09-09 10:46:40", 3600.0),
        ("Your limit will reset at 2001-09-09T09:46:40", None),
        ("Your limit will reset at 2001-99-09 10:46:40", None),
        ("Your limit will reset at ${next_flush_time}", None),
    ],
)
def test_zhipu_gives_the_end_of_a_quota_in_beijing_time(message: str, expected: float | None) -> None:
    assert quota_resets.requested_wait(no_header, ErrorBody(message), "zhipu", NOW) == expected
    assert quota_resets.requested_wait(no_header, ErrorBody(message), "openai", NOW) is None


@pytest.mark.parametrize(("provider", "hours"), [("groq", 24 - (1 + 46 / 60 + 40 / 3600)), ("gemini", 6.2222222)])
def test_a_daily_quota_is_available_again_at_midnight(provider: str, hours: float) -> None:
    assert quota_resets.seconds_until_daily_reset(provider, NOW) == pytest.approx(3600 * hours, abs=1.0)


FIELDS = """error detail details message code type status metadata reason violations quotaId retryDelay base_resp
 status_code param loc innererror error_code""".split()
SCALARS = st.none() | st.booleans() | st.integers(0, 2000) | st.text(max_size=20)
BODIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=20,
)


@given(BODIES)
def test_no_error_body_does_harm(body: Any) -> None:
    read = read_error_body(msgspec.json.encode(body))
    assert len(read.message) <= 300
    assert all(code and len(code) <= 100 for code in read.codes)
    error = errors.HttpStatusError(read.message, status=400, body=msgspec.json.encode(body))
    for provider in PROVIDERS:
        assert classify(error, provider) in FailureClass


@pytest.mark.parametrize(
    ("url", "status", "body", "said"),
    [
        ("https://api.deepseek.com", 401, {"message": "no"}, "no. Check the API key in DEEPSEEK_API_KEY."),
        (
            "https://api.deepseek.com",
            402,
            {"message": "no."},
            "no. The account of this key has no money left: add credit",
        ),
        ("https://h", 402, {"message": "欠费。"}, "欠费. The account of this key"),
        ("https://h", 400, {"code": "content_filter", "message": "no"}, "change the row, or use another model."),
        ("https://h", 413, {"message": "no"}, "The prompt and max_tokens exceed the context length: shorten the row"),
        ("https://h", 400, {"code": "unsupported_value", "message": "no"}, "omit the parameter that the server names."),
        ("https://h", 418, {"message": "no"}, "returned status 418: no"),
    ],
)
def test_a_message_ends_with_what_to_do(url: str, status: int, body: dict[str, str], said: str) -> None:
    endpoint = endpoint_at(url, Secret("k"))
    encoded = msgspec.json.encode({"error": body})
    response = HttpResponse(status, encoded, {"date": DATE}.get)
    failure = assess_failure(endpoint, read_refusal(endpoint, response, encoded), SendTime(0.0, 0), 1.0)
    assert said in str(failure.error)


def test_a_call_is_moved_from_key_to_key_without_a_limit_but_not_from_server_to_server() -> None:
    refused = errors.HttpStatusError("no", status=402)
    without_money = FailedAttempt(refused, FailureClass.OUT_OF_MONEY, has_alternative=True)
    assert retry.decide(without_money, retry.MAX_FAILOVERS + 1, any_success=True) is FailureAction.RETRY
    wrong_model = FailedAttempt(refused, FailureClass.BAD_SETUP, has_alternative=True)
    assert retry.decide(wrong_model, retry.MAX_FAILOVERS, any_success=True) is FailureAction.RETRY
    assert retry.decide(wrong_model, retry.MAX_FAILOVERS + 1, any_success=True) is FailureAction.FAIL


@pytest.mark.parametrize("should_retry", [None, True, False])
@pytest.mark.parametrize(
    ("status", "code", "temporary"),
    [
        (429, "insufficient_quota", FailureClass.KEY_RATE_LIMITED),
        (401, "invalid_api_key", FailureClass.OUTAGE),
        (402, "", None),
    ],
)
def test_a_server_that_forbids_a_retry_means_that_its_refusal_is_final(
    status: int, code: str, temporary: FailureClass | None, should_retry: bool | None
) -> None:
    error = errors.HttpStatusError("no", status=status, code=code, should_retry=should_retry)
    assert temporary_class(error, classify(error)) is (None if should_retry is False else temporary)


@pytest.mark.parametrize(("status", "expected"), [(429, True), (498, False), (503, False)])
def test_an_overloaded_server_asks_for_fewer_calls_only_with_status_429(status: int, expected: bool) -> None:
    assert is_throttle(errors.HttpStatusError("busy", status=status), FailureClass.OVERLOADED) is expected


@pytest.mark.parametrize("status", [498, 503, 529])
def test_an_overloaded_server_gets_a_smaller_window(status: int) -> None:
    async def window_after_a_refusal() -> tuple[int, int]:
        endpoint = endpoint_at("https://h", Secret("k"), window=WindowRange(32, 64))
        assert endpoint.window is not None
        endpoint.record_answer(endpoint.window.interval, 1.0, 10, 1)
        before = endpoint.window.size
        response = HttpResponse(status, b"busy", no_header)
        for _ in range(3):
            assess_failure(endpoint, read_refusal(endpoint, response, b"busy"), SendTime(0.0, 0), 0.5)
        return before, endpoint.window.size

    before, after = virtual_time.run_virtual(window_after_a_refusal())
    assert after < before

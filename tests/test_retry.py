import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall import errors
from manycall.control import retry
from manycall.control.retry import FailedAttempt
from manycall.errors import FailureAction
from manycall.providers import rate_limit_headers
from manycall.providers.error_codes import classify


def failed(error: errors.CallError) -> FailedAttempt:
    return FailedAttempt(error, classify(error))


def rule(error: errors.CallError) -> retry.RetryRule:
    return retry.RULES[classify(error)]


def refused(status: int, code: str = "", retry_after: float | None = None) -> errors.HttpStatusError:
    return errors.HttpStatusError("no", status=status, code=code, retry_after=retry_after)


RETRY, FAIL, STOP = FailureAction.RETRY, FailureAction.FAIL, FailureAction.STOP_RUN


@pytest.mark.parametrize(
    ("failure", "at_first", "later"),
    [
        (refused(400), FAIL, FAIL),
        (refused(400, "context_length_exceeded"), FAIL, FAIL),
        (refused(401), STOP, STOP),
        (refused(402), STOP, STOP),
        (refused(403), STOP, FAIL),
        (refused(404), STOP, FAIL),
        (refused(301), STOP, FAIL),
        (refused(303), STOP, FAIL),
        (refused(407), STOP, FAIL),
        (refused(418), FAIL, FAIL),
        (refused(408), RETRY, RETRY),
        (refused(429), RETRY, RETRY),
        (refused(429, "insufficient_quota"), STOP, STOP),
        (refused(500), RETRY, RETRY),
        (refused(503), RETRY, RETRY),
        (refused(520), RETRY, RETRY),
        (refused(529), RETRY, RETRY),
        (errors.ConnectError("x"), RETRY, RETRY),
        (errors.CertificateError("x"), STOP, STOP),
        (errors.ConnectionLost("x"), RETRY, RETRY),
        (errors.AttemptTimeout("x"), RETRY, RETRY),
        (errors.IncompleteResponse("x"), RETRY, RETRY),
        (errors.ResponseTooLarge("x"), FAIL, FAIL),
        (errors.InvalidResponse("x"), RETRY, RETRY),
        (errors.EmptyCompletion("x"), RETRY, RETRY),
        (errors.ContentFiltered("x"), FAIL, FAIL),
        (errors.MaxTokensReached("x"), FAIL, FAIL),
        (errors.Declined("x"), FAIL, FAIL),
    ],
)
def test_what_a_first_failure_means(failure: errors.CallError, at_first: FailureAction, later: FailureAction) -> None:
    assert retry.decide(failed(failure), 1, any_success=False) is at_first
    assert retry.decide(failed(failure), 1, any_success=True) is later


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_patience_ends(status: int) -> None:
    assert retry.decide(failed(refused(status)), 1000, any_success=True) is FAIL


@pytest.mark.parametrize(
    ("failure", "at_first", "later"),
    [
        *((refused(status), STOP, FAIL) for status in (302, 307, 308, 405)),
        *((refused(status), RETRY, RETRY) for status in (409, 425)),
        (refused(400, "insufficient_quota"), STOP, STOP),
        (refused(400, "billing_hard_limit_reached"), STOP, STOP),
        (refused(400, "invalid_api_key"), STOP, STOP),
        (refused(400, "model_not_found"), STOP, FAIL),
        (refused(429, "context_length_exceeded"), FAIL, FAIL),
        (refused(429, "content_filter"), FAIL, FAIL),
    ],
)
def test_a_providers_code_counts_for_more_than_the_status(
    failure: errors.HttpStatusError, at_first: FailureAction, later: FailureAction
) -> None:
    assert retry.decide(failed(failure), 1, any_success=False) is at_first
    assert retry.decide(failed(failure), 1, any_success=True) is later


@pytest.mark.parametrize(
    ("failure", "of_key"), [(refused(401), True), (refused(402), True), (refused(403), False), (refused(404), False)]
)
def test_what_concerns_one_key_concerns_no_other(failure: errors.HttpStatusError, of_key: bool) -> None:
    assert rule(failure).disables_key == of_key


@pytest.mark.parametrize(
    ("statuses", "expected"), [((409, 425, 429, 503, 529), RETRY), ((408, 500, 502, 504, 520), FAIL)]
)
def test_a_status_that_says_busy_is_still_tried_after_fifty_refusals_and_another_is_not(
    statuses: tuple[int, ...], expected: FailureAction
) -> None:
    for status in statuses:
        assert retry.decide(failed(refused(status)), 50, any_success=True) is expected, status


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (refused(500), True),
        (refused(503), True),
        (refused(503, retry_after=5.0), False),
        (refused(429), False),
        (errors.ConnectError("x"), True),
        (errors.ConnectionLost("x"), True),
        (errors.AttemptTimeout("x"), True),
        (errors.InvalidResponse("x"), False),
    ],
)
def test_only_a_wait_for_a_server_that_was_away_may_end_early(failure: errors.CallError, expected: bool) -> None:
    assert retry.ends_with_outage(failure) is expected


def test_a_busy_server_is_given_more_patience_than_one_that_may_have_billed_us() -> None:
    assert rule(refused(429)).max_attempts > rule(errors.ConnectionLost("x")).max_attempts
    assert rule(errors.ConnectionLost("x")).max_attempts > rule(errors.AttemptTimeout("x")).max_attempts


def test_a_server_that_was_never_reached_stops_the_run_soon() -> None:
    failure = errors.ConnectError("refused")
    assert [retry.decide(failed(failure), n, any_success=False) for n in (1, 3, 4)] == [RETRY, RETRY, STOP]
    assert retry.decide(failed(failure), 19, any_success=True) is RETRY
    assert retry.decide(failed(failure), 20, any_success=True) is FAIL


@pytest.mark.parametrize("kind", [errors.ConnectError, errors.ConnectionLost])
def test_a_server_that_is_away_for_two_minutes_costs_no_row(kind: type[errors.CallError]) -> None:
    failure = kind("gone")
    for seed in range(2000):
        rng = random.Random(seed)
        waits = [retry.backoff_seconds(failed(failure), n, rng) for n in range(1, rule(failure).max_attempts)]
        assert sum(waits) > 120


@given(st.integers(1, 100), st.integers())
def test_backoff_is_bounded_and_grows(attempts: int, seed: int) -> None:
    seconds = retry.backoff_seconds(failed(refused(500)), attempts, random.Random(seed))
    assert 0 <= seconds <= min(60, 0.5 * 2 ** (attempts - 1))


@given(st.floats(0, 1e12), st.integers(1, 100), st.integers())
def test_retry_after_is_a_lower_bound_for_the_wait_with_jitter(asked: float, attempts: int, seed: int) -> None:
    seconds = retry.backoff_seconds(failed(refused(503, retry_after=asked)), attempts, random.Random(seed))
    floor = min(asked, 3600)
    assert floor <= seconds <= max(60, floor + 5)


def test_a_connection_lost_once_is_tried_again_at_once() -> None:
    rng = random.Random(0)
    assert retry.backoff_seconds(failed(errors.ConnectionLost("idle")), 1, rng) == 0
    assert retry.backoff_seconds(failed(errors.ConnectionLost("idle")), 5, rng) > 0


NOW = 1_000_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Sun, 09 Sep 2001 01:47:10 GMT"}, 30.0),
        ({"retry-after": "Sun, 09 Sep 2001 01:46:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_every_spelling_of_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert rate_limit_headers.parse_retry_after(headers.get, NOW) == seconds


@given(st.text(max_size=40))
def test_no_header_can_do_harm(text: str) -> None:
    value = rate_limit_headers.parse_retry_after({"retry-after": text}.get, NOW)
    assert value is None or value >= 0


def test_a_refusal_by_chance_makes_its_own_call_wait_and_no_other() -> None:
    by_chance = failed(refused(429, retry_after=5.0))
    assert 5.0 <= retry.backoff_seconds(by_chance, 1, random.Random(0)) <= 6.0
    assert retry.backoff_seconds(by_chance._replace(delays_all=True), 1, random.Random(0)) == 0.0


def test_an_exception_is_replaced_by_a_copy_and_not_changed() -> None:
    error = refused(429, "slow_down", retry_after=5.0)
    copy = error.replace("http://h: no", attempts=3)
    assert (type(copy), str(copy), copy.attempts) == (errors.HttpStatusError, "http://h: no", 3)
    assert (copy.status, copy.code, copy.retry_after) == (429, "slow_down", 5.0)
    assert (str(error), error.attempts) == ("no", 1)
    stopped = errors.BudgetExceeded("used up")
    assert (stopped.replace(rows_done=7).rows_done, stopped.rows_done) == (7, 0)

"""A server that refuses every call for a while, and rows that a server never answers."""

from pathlib import Path

import pytest

from endpoints import endpoint_at
from fakes import answer, refusal
from manycall.client.endpoint_limits import SendTime
from manycall.client.refusal import assess_failure
from manycall.control.outage import MIN_REFUSALS, PATIENCE_SECONDS, Outage
from manycall.errors import ErrorInStream, FailureClass
from manycall.transport.messages import HttpRequest, HttpResponse
from test_exhaustion import ROWS, Trial

ERROR, SETUP, GONE = FailureClass.SERVER_ERROR, FailureClass.BAD_SETUP, FailureClass.GONE


@pytest.mark.parametrize("meaning", [ERROR, SETUP])
def test_refusals_without_an_answer_in_between_are_an_outage_for_five_minutes(meaning: FailureClass) -> None:
    outage = Outage()
    assert {outage.judge(meaning, 1, 0.0) for _ in range(MIN_REFUSALS - 1)} == {meaning}
    assert outage.judge(meaning, 1, PATIENCE_SECONDS - 1) is FailureClass.OUTAGE
    assert outage.judge(meaning, 1, PATIENCE_SECONDS) is (meaning if meaning is ERROR else GONE)
    assert outage.judge(meaning, 2, PATIENCE_SECONDS) is meaning


@pytest.mark.parametrize(("meaning", "expected"), [(ERROR, ERROR), (SETUP, GONE)])
def test_a_session_without_any_answer_does_not_wait_and_ends_after_five_minutes(
    meaning: FailureClass, expected: FailureClass
) -> None:
    outage = Outage()
    assert {outage.judge(meaning, 0, 0.0) for _ in range(MIN_REFUSALS - 1)} == {meaning}
    assert outage.judge(meaning, 0, 0.0) is expected
    assert outage.judge(meaning, 0, PATIENCE_SECONDS) is GONE


@pytest.mark.parametrize(("status", "most_failed"), [(500, 0), (502, 0), (404, MIN_REFUSALS)])
def test_an_outage_of_two_minutes_fails_few_rows_or_none(tmp_path: Path, status: int, most_failed: int) -> None:
    end = Trial(tmp_path, lambda now, _: refusal(status, "gateway") if 5 <= now < 125 else answer())
    assert end.stopped == ""
    assert end.failed <= most_failed
    assert end.done + end.failed == ROWS
    assert end.seconds < ROWS / 16 * 0.2 + 120 + 70


def test_an_error_after_an_answer_had_begun_is_retried_as_often_as_ever() -> None:
    endpoint, error = endpoint_at("https://h"), ErrorInStream("died", status=500)
    endpoint.record_success(1.0)
    failures = [assess_failure(endpoint, error, SendTime(0.0, 0), 1.0) for _ in range(2 * MIN_REFUSALS)]
    assert {each.failure_class for each in failures} == {ERROR}


def test_a_url_that_is_gone_stops_the_run_and_fails_few_rows(tmp_path: Path) -> None:
    end = Trial(tmp_path, lambda now, _: refusal(404, "no such tunnel") if now >= 5 else answer())
    assert "no such tunnel (the last " in end.stopped
    assert end.failed <= MIN_REFUSALS
    assert PATIENCE_SECONDS < end.seconds < PATIENCE_SECONDS + 60


def test_a_few_rows_that_the_server_never_answers_are_no_outage_at_the_end_of_a_run(tmp_path: Path) -> None:
    def reply(now: float, request: HttpRequest) -> HttpResponse:
        never = any(f'"r{ROWS - n}"'.encode() in request.body for n in range(1, 10))
        return refusal(500, "poison") if never else answer()

    end = Trial(tmp_path, reply)
    assert (end.done, end.failed, end.stopped) == (ROWS - 9, 9, "")
    assert end.seconds < ROWS / 16 * 0.2 + 100

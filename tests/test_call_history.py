"""What a run records of its calls and endpoints for `manycall view`: retries, calls in flight, health."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeTransport, SoloClient, answer, calls_of, refusal
from manycall import clock
from manycall.client.call_history import EarlierAttempts
from manycall.client.call_in_flight import CallInFlight
from manycall.client.encoded_call import encode_call
from manycall.client.job_client import JobClient
from manycall.client.pool import ONE_CALL
from manycall.client.requests import text_request
from manycall.control.retry import RULES, FailedAttempt
from manycall.data.row_source import RowSource
from manycall.errors import ConnectError, FailureClass, HttpStatusError, InvalidResponse
from manycall.records import Row
from manycall.run.endpoint_health import EndpointHealth
from manycall.run.row_client import CallOrigin, RowClient
from manycall.run.scheduler import Scheduler
from manycall.sim import virtual_time
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder


def test_failed_attempts_are_recorded_with_their_statuses() -> None:
    earlier = EarlierAttempts()
    earlier.record(FailedAttempt(HttpStatusError("busy", status=429), FailureClass.RATE_LIMITED), 10.0)
    earlier.record_sent(11.5)
    earlier.record(FailedAttempt(ConnectError("no connection"), FailureClass.UNREACHABLE), 12.0)
    earlier.record_sent(14.0)
    earlier.record(FailedAttempt(InvalidResponse("no choice"), FailureClass.OVERLOADED), 15.0)
    earlier.record(FailedAttempt(HttpStatusError("no top_k", status=400), FailureClass.PARAMETER, adapted=True), 16.0)
    assert earlier.statuses == [429, 0, 200, 400]
    assert earlier.waited == 3.5
    assert sum(earlier.by_rule.values()) == 3  # a refused parameter does not count
    assert earlier.by_rule[RULES[FailureClass.OVERLOADED]] == 2  # of the same rule as a rate limit
    assert EarlierAttempts().statuses == []


@pytest.mark.parametrize("shielded", [True, False])
def test_a_call_is_in_flight_until_its_exchange_has_ended_even_if_its_row_was_cancelled(shielded: bool) -> None:
    async def main() -> None:
        transport = FakeTransport(lambda request: answer(), seconds=9.0)
        async with SoloClient("m", base_url="http://a", transport=transport) as client:
            calls = JobClient(client.pool, "m", {}, finish_cancelled_calls=shielded)
            row = asyncio.create_task(calls.chat("hi"))
            await asyncio.sleep(1.0)
            row.cancel()
            await asyncio.sleep(1.0)
            assert len(calls.in_flight) == client.permits.in_flight == shielded
            await asyncio.sleep(8.0)
            assert len(calls.in_flight) == client.permits.in_flight == 0

    virtual_time.run_virtual(main())


@pytest.mark.usefixtures("no_key")
def test_a_run_records_retries_health_and_the_oldest_calls(tmp_path: Path) -> None:
    replies = iter([refusal(429, headers={"retry-after": "2"}), refusal(503), *[answer()] * 5])
    lines: list[dict[str, Any]] = []

    async def ask(row: Row, llm: RowClient) -> dict[str, Any]:
        return {"text": (await llm.chat("hi")).text}

    async def main() -> None:
        run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {}))
        transport = FakeTransport(lambda request: next(replies))
        async with SoloClient("m", base_url="http://a", transport=transport) as client:
            calls = calls_of(client, run)
            scheduler = Scheduler(calls, run, ask, total=1)
            health = EndpointHealth(client.pool.endpoints)
            lines.extend(health.lines(clock.now()))
            await scheduler.run(RowSource([{"id": "a"}]).pending_rows(run.ids))
            assert calls.in_flight == {}
            call = encode_call(text_request(calls, "chat", "hi", {}))
            begun = [
                CallInFlight(client.pool, call, CallOrigin(f"r{number}", 1), ONE_CALL, client.pool.endpoints[0],
                             clock.now() - 9 + number, None, None)
                for number in range(4)
            ]  # fmt: skip
            calls.in_flight.update(dict.fromkeys(begun))
            del calls.in_flight[begun[1]]
            oldest = scheduler.oldest_calls(clock.now())
            assert [(call["id"], call["seconds"]) for call in oldest] == [("r0", 9.0), ("r2", 7.0), ("r3", 6.0)]
            assert oldest[0]["endpoint"] == "http://a/v1"
            calls.in_flight.clear()
            assert scheduler.oldest_calls(clock.now()) == []
            lines.extend(health.lines(clock.now()))
            assert list(health.lines(clock.now())) == []
            lines.extend(health.lines(clock.now() + 10))
        run.close()

    virtual_time.run_virtual(main())
    (call,) = [json.loads(line) for line in (tmp_path / "out.jsonl.run" / "calls.jsonl").read_text().splitlines()]
    assert (call["attempts"], call["statuses"]) == (3, [429, 503])
    assert call["waited"] >= 2
    assert len(lines) >= 2
    assert (lines[-1]["errors"], lines[-1]["health"], lines[-1]["in_flight"]) == (2, True, 0)

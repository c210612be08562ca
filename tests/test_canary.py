"""A run that cannot succeed ends after a few calls, however many may be in flight; one that can loses a moment."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import manycall
from fakes import FakeTransport, SoloClient, answer, calls_of, refusal
from manycall import errors
from manycall.client.permits import CANARY_CALLS
from manycall.control.retry import MAX_ATTEMPTS_NEVER_CONNECTED
from manycall.data.row_source import RowSource
from manycall.run.row_recorder import MAX_INITIAL_FAILURES
from manycall.run.run_result import RunResult
from manycall.run.scheduler import Scheduler
from manycall.sim import virtual_time
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import HttpResponse
from test_scheduler import ask, questions

OURS: dict[str, Any] = {"base_url": "http://h"}
HOSTED: dict[str, Any] = {"base_url": "https://h", "api_key": "sk-x"}


def go(folder: Path, transport: FakeTransport, count: int, *, before: bool = False, **options: Any) -> float:
    """Do so many rows; return the seconds that it took."""

    async def main() -> float:
        run = RunFolder(folder / "out.jsonl", Manifest("0", {}))
        client = SoloClient("m", transport=transport, **options)
        client.counters.had_success = before
        try:
            async with client:
                await Scheduler(calls_of(client, run), run, ask).run(RowSource(questions(count)).pending_rows(run.ids))
        finally:
            run.close()
        return virtual_time.now()

    return virtual_time.run_virtual(main())


@pytest.mark.parametrize(("server", "seconds"), [(OURS, 0.09), (HOSTED, 1.9)])
@pytest.mark.parametrize("reply", [refusal(401), refusal(403), refusal(404), refusal(429, code="insufficient_quota")])
@pytest.mark.parametrize("concurrency", [1, 64, 512, None])
def test_what_stops_a_run_stops_it_within_ten_calls(
    tmp_path: Path, server: dict[str, Any], seconds: float, reply: HttpResponse, concurrency: int | None
) -> None:
    transport = FakeTransport(lambda body: reply, seconds)
    with pytest.raises(errors.RunStopped):
        go(tmp_path, transport, 2000, concurrency=concurrency, **server)
    assert 1 <= len(transport.log) <= 10


@pytest.mark.parametrize(
    ("server", "before", "seconds"),
    [
        (OURS, False, 2.1),  # four rounds of half a second, and the moment
        (HOSTED, False, 2.5),  # the first answer came after half a second
        (OURS, True, 2.0),
        (HOSTED, True, 2.0),
    ],
)
def test_a_run_that_is_well_loses_a_moment(
    tmp_path: Path, server: dict[str, Any], before: bool, seconds: float
) -> None:
    transport = FakeTransport(lambda body: answer(), 0.5)
    took = go(tmp_path, transport, 4 * 512 - 8, concurrency=512, before=before, **server)
    assert took == pytest.approx(seconds)
    assert transport.max_in_flight == 512


@pytest.mark.parametrize(("server", "seconds"), [(OURS, 0.1), (HOSTED, 2.0)])
def test_a_first_answer_that_is_late_is_not_awaited(tmp_path: Path, server: dict[str, Any], seconds: float) -> None:
    transport = FakeTransport(lambda body: answer(), 30.0)
    assert go(tmp_path, transport, 100, concurrency=512, **server) == pytest.approx(30 + seconds)
    assert [at for at, _ in transport.log] == pytest.approx([0.0] * CANARY_CALLS + [seconds] * (100 - CANARY_CALLS))


@pytest.mark.parametrize("concurrency", [8, 512])
def test_rows_that_all_fail_before_any_succeeds_stop_the_run_soon(tmp_path: Path, concurrency: int) -> None:
    transport = FakeTransport(lambda body: refusal(400, "unknown parameter"), 0.04)
    with pytest.raises(errors.RunStopped, match="first 10 rows all failed"):
        go(tmp_path, transport, 2000, concurrency=concurrency, **OURS)
    assert MAX_INITIAL_FAILURES <= len(transport.log) <= MAX_INITIAL_FAILURES + CANARY_CALLS


@pytest.mark.parametrize("failing", [9, 10])
def test_ten_rows_that_fail_before_any_succeeds_stop_the_run_and_nine_do_not(tmp_path: Path, failing: int) -> None:
    def handler(body: dict[str, Any]) -> HttpResponse:
        return refusal(400, "unknown parameter") if len(transport.log) <= failing else answer()

    transport = FakeTransport(handler, 0.04)
    if failing == 10:
        with pytest.raises(errors.RunStopped, match="first 10 rows all failed"):
            go(tmp_path, transport, 30, concurrency=1, **OURS)
        assert len(transport.log) == 10
    else:
        go(tmp_path, transport, 30, concurrency=1, **OURS)
        assert len(transport.log) == 30


def map_rows(transport: FakeTransport, out: Path) -> RunResult:
    """Do a hundred rows with the public API, which finds out about earlier sessions itself."""

    async def ask_one(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        return {"text": (await llm.chat(row["q"])).text}

    async def main() -> RunResult:
        async with manycall.Client("m", transport=transport, concurrency=64, **OURS) as llm:
            return await llm.map(ask_one, [{"q": str(n)} for n in range(100)], out=out, progress=False)

    return virtual_time.run_virtual(main())


def test_rows_that_failed_in_an_earlier_session_do_not_show_that_the_address_is_right(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(errors.RunStopped, match="first 10 rows all failed"):
        map_rows(FakeTransport(lambda body: refusal(400, "unknown parameter"), 0.04), out)
    mistyped = FakeTransport(lambda body: errors.ConnectError("no such host"), 0.04)
    with pytest.raises(errors.RunStopped, match="no such host"):
        map_rows(mistyped, out)
    attempts = Counter(text for _, text in mistyped.log)
    assert max(attempts.values()) == MAX_ATTEMPTS_NEVER_CONNECTED


def test_after_a_session_with_failed_rows_the_first_rows_may_all_fail(tmp_path: Path) -> None:
    out, transport = tmp_path / "out.jsonl", FakeTransport(lambda body: refusal(400, "unknown parameter"), 0.04)
    with pytest.raises(errors.RunStopped, match="first 10 rows all failed"):
        map_rows(transport, out)
    assert map_rows(transport, out).failed == 100


def test_an_answer_that_another_process_reports_during_the_run_shows_that_the_endpoint_works(tmp_path: Path) -> None:
    async def main() -> int:
        run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {}))
        client = SoloClient("m", transport=FakeTransport(lambda body: refusal(400), 0.04), concurrency=8, **OURS)
        try:
            async with client:
                calls = calls_of(client, run)
                scheduler = Scheduler(calls, run, ask)
                calls.counters.record_earlier_success()
                await scheduler.run(RowSource(questions(20)).pending_rows(run.ids))
        finally:
            run.close()
        return calls.counters.failed

    assert virtual_time.run_virtual(main()) == 20


def test_a_client_alone_has_its_canary_too() -> None:
    transport = FakeTransport(lambda body: refusal(404), 0.05)

    async def main() -> None:
        async with SoloClient("m", transport=transport, concurrency=100, **OURS) as llm:
            ends = await asyncio.gather(*(llm.chat(str(n)) for n in range(100)), return_exceptions=True)
            assert all(isinstance(end, errors.RunStopped) for end in ends)

    virtual_time.run_virtual(main())
    assert len(transport.log) == CANARY_CALLS

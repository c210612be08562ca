import io
from dataclasses import asdict

import pytest

from fakes import FakeTransport, SoloClient, answer
from manycall.client.call_counters import CallCounters
from manycall.client.pool import ClientStatus
from manycall.control.concurrency_window import ConcurrencyWindow
from manycall.records import Completion, Usage
from manycall.render import markdown_table
from manycall.run.client_status import client_status
from manycall.run.status_display import StatusDisplay
from manycall.run.status_line import StatusLine
from manycall.sim import virtual_time


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(
    counters: CallCounters, stream: io.StringIO, total: int | None = 1319, truncated: int = 0, cost: float | None = None
) -> StatusLine:
    return StatusLine(
        "gsm8k",
        counters,
        total=total,
        before=100,
        truncated=truncated,
        load=lambda now: ClientStatus(37, 64, "window 64"),
        spending=lambda counters: {"total_cost": cost, "currency": "USD", "budget_usage": [], "endpoints": []},
        note=lambda: "acc 0.5",
        display=StatusDisplay(stream),
    )


def test_the_line_says_how_far_how_fast_what_is_broken_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counters, stream = CallCounters(), Terminal()
    line = progress(counters, stream)
    line.update(0.0)
    counters.calls, counters.done, counters.failed, counters.retries = 712, 712, 2, 11
    counters.prompt_tokens, counters.truncated = 98_000, 4
    line.update(10.0)
    assert stream.getvalue().split("\r")[-1] == (
        "gsm8k 814/1319 61% · ETA 7s · 71.2 calls/s · failed 2 · 37 in flight (window 64) · acc 0.5 in this session · "
        "truncated 4 · retries 11 · 9.8k tok/s\x1b[K"
    )


def test_more_rows_than_were_asked_for_are_no_share_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counters, stream = CallCounters(done=1), Terminal()
    line = progress(counters, stream, total=100)
    line.update(0.0)
    counters.done = 2
    line.update(10.0)
    said = stream.getvalue().split("\r")[-1]
    assert ("gsm8k 102 rows ·" in said, "%" in said, "ETA" in said) == (True, False, False)


def test_rejected_rows_are_neither_ok_nor_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counters, stream = CallCounters(done=9, rejected=3), Terminal()
    progress(counters, stream).update(0.0)
    assert "gsm8k 112/1319 8%" in stream.getvalue()
    assert "· rejected 3 · 0 tok/s" in stream.getvalue()


def test_the_line_distinguishes_the_reasons_why_rows_are_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counters, stream = CallCounters(done=9, truncated=1), Terminal()
    for kind in ("empty", "content_filter", "call_error", "empty", "function_error"):
        counters.record_failed(kind)
    line = progress(counters, stream, truncated=3)
    line.update(0.0)
    assert "· failed 5 (content_filter 1, empty 2) ·" in stream.getvalue()
    assert "· truncated 4 ·" in stream.getvalue()


def test_without_a_terminal_there_is_a_plain_line_now_and_then() -> None:
    stream = io.StringIO()
    line = progress(CallCounters(), stream, total=None)
    for second in range(31):
        line.update(float(second))
    assert stream.getvalue().count("\n") == 3
    assert "\r" not in stream.getvalue()
    assert stream.getvalue().startswith("gsm8k 100 rows · 0.0 calls/s")


def test_rates_are_over_the_last_seconds() -> None:
    counters = CallCounters()
    line = progress(counters, io.StringIO())
    for second in range(60):
        counters.calls += 100 if second < 30 else 10
        figures = line.rates(float(second))
    assert figures["calls_per_s"] == 10


def test_the_rate_of_slow_rows_is_known_between_two_of_them() -> None:
    counters = CallCounters()
    line = progress(counters, io.StringIO())
    rates = []
    for second in range(1, 601):
        counters.done += second % 30 == 0
        rates.append(line.rates(float(second))["rows_per_s"])
    assert all(0.03 < rate < 0.04 for rate in rates[299:])


def test_the_rate_of_fast_rows_is_over_the_last_seconds() -> None:
    counters = CallCounters()
    line = progress(counters, io.StringIO())
    for second in range(60):
        counters.done += 100 if second < 30 else 10
        rate = line.rates(float(second))["rows_per_s"]
    assert rate == 10


def test_answers_are_counted_with_their_tokens() -> None:
    counters = CallCounters()
    counters.record_answer(Completion("x", "length", Usage(3, 4), b""))
    assert asdict(counters) == {
        **asdict(CallCounters()),
        "calls": 1,
        "responses": 1,
        "prompt_tokens": 3,
        "completion_tokens": 4,
    }


def test_a_table_is_markdown_and_its_cells_are_only_text() -> None:
    text = markdown_table(("a", "b"), [("[red]x", "1"), ("y", "22")])
    assert text.splitlines() == ["| a      | b  |", "|--------|----|", "| [red]x | 1  |", "| y      | 22 |"]


def test_the_line_speaks_of_the_endpoints_that_are_well() -> None:
    async def main() -> None:
        async with SoloClient(
            "m", base_url=["http://a", "http://b"], transport=FakeTransport(lambda body: answer())
        ) as client:
            first, second = client.pool.endpoints
            for endpoint in (first, second):
                endpoint.window = ConcurrencyWindow(20)
                endpoint.window.knee_found = True
                endpoint.in_flight = 20
            assert client_status(client, 0.0) == ClientStatus(0, 40, "window 40, server at capacity")
            for _ in range(3):
                first.health.record_failure(0.0)
            first.in_flight = 0
            assert client_status(client, 0.5) == ClientStatus(0, 20, "window 20, server at capacity")
            second.in_flight = 3
            assert client_status(client, 0.5) == ClientStatus(0, 20, "window 20")
            client.pool.cpu_load.thread = 0.97
            assert client_status(client, 0.5).limited_by == "limited by this machine: 97% of a core"
        async with SoloClient(
            "m", base_url="http://a", concurrency=7, transport=FakeTransport(lambda body: answer())
        ) as fixed:
            assert client_status(fixed, 0.0) == ClientStatus(0, 7, "concurrency=7")

    virtual_time.run_virtual(main())

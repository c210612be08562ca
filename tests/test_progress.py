import io

import msgspec
import pytest

from manycall.control.window import Window
from manycall.engine.client import Client
from manycall.engine.progress import Counters, Load, Progress
from manycall.engine.report import table
from manycall.engine.watch import load
from manycall.records import Completion, Usage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(counters: Counters, stream: io.StringIO, total: int | None = 1319, truncated: int = 0) -> Progress:
    return Progress(
        "gsm8k",
        counters,
        total=total,
        before=100,
        truncated=truncated,
        load=lambda now: Load(37, 64, "window 64"),
        note=lambda: "acc 0.5",
        stream=stream,
    )


def test_the_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    progress(Counters(), stream).tick(0.0)
    assert stream.getvalue() == "\rgsm8k 100/1319 7% | 0.0 calls/s 0 tok/s\x1b[K"


def test_the_line_says_how_far_how_fast_what_is_broken_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counters, stream = Counters(), Terminal()
    line = progress(counters, stream)
    line.tick(0.0)
    counters.answered, counters.done, counters.failed, counters.retries = 712, 712, 2, 11
    counters.prompt_tokens, counters.truncated = 98_000, 4
    line.tick(10.0)
    assert stream.getvalue().split("\r")[-1] == (
        "gsm8k 814/1319 61% | 71.2 calls/s 9.8k tok/s | 37 in flight (window 64) | "
        "ok 812 trunc 4 err 2 retry 11 | acc 0.5 | eta 7s\x1b[K"
    )


def test_more_rows_than_were_asked_for_are_no_share_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counters, stream = Counters(done=1), Terminal()
    line = progress(counters, stream, total=100)
    line.tick(0.0)
    counters.done = 2
    line.tick(10.0)
    said = stream.getvalue().split("\r")[-1]
    assert ("gsm8k 102 rows |" in said, "%" in said, "eta" in said) == (True, False, False)


def test_rejected_rows_are_neither_ok_nor_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counters, stream = Counters(done=9, rejected=3), Terminal()
    progress(counters, stream).tick(0.0)
    assert "gsm8k 112/1319 8%" in stream.getvalue()
    assert "| ok 109 trunc 0 err 0 retry 0 | rejected 3 |" in stream.getvalue()


def test_the_line_tells_apart_how_rows_are_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    counters, stream = Counters(done=9, truncated=1), Terminal()
    for verdict in ("empty", "filtered", "call failed", "empty", "function failed"):
        counters.gave_up(verdict)
    line = progress(counters, stream, truncated=3)
    line.tick(0.0)
    assert "| ok 109 trunc 4 filtered 1 empty 2 err 2 retry 0 |" in stream.getvalue()


def test_without_a_terminal_there_is_a_plain_line_now_and_then() -> None:
    stream = io.StringIO()
    line = progress(Counters(), stream, total=None)
    for second in range(31):
        line.tick(float(second))
    assert stream.getvalue().count("\n") == 3
    assert "\r" not in stream.getvalue()
    assert stream.getvalue().startswith("gsm8k 100 rows | 0.0 calls/s")


def test_rates_are_over_the_last_seconds() -> None:
    counters = Counters()
    line = progress(counters, io.StringIO())
    for second in range(60):
        counters.answered += 100 if second < 30 else 10
        figures = line.figures(float(second))
    assert figures["calls_per_s"] == 10


def test_answers_are_counted_with_their_tokens() -> None:
    counters = Counters()
    counters.answer(Completion("x", "length", Usage(3, 4), b""))
    assert msgspec.structs.asdict(counters) == {
        **msgspec.structs.asdict(Counters()),
        "answered": 1,
        "prompt_tokens": 3,
        "completion_tokens": 4,
    }


def test_a_table_is_markdown_and_its_cells_are_only_text() -> None:
    text = table(("a", "b"), [("[red]x", "1"), ("y", "22")])
    assert text.splitlines() == ["| a      | b  |", "|--------|----|", "| [red]x | 1  |", "| y      | 22 |"]


def test_the_line_speaks_of_the_endpoints_that_are_well() -> None:
    client = Client("m", url=["http://a", "http://b"])
    for endpoint in client.pool.endpoints:
        endpoint.window = Window(20)
        endpoint.window.server_bound = True
        endpoint.in_flight = 20
    assert load(client, 0.0) == Load(0, 40, "window 40, server-bound")
    for _ in range(3):
        client.pool.endpoints[0].health.failed(0.0)
    client.pool.endpoints[0].in_flight = 0
    assert load(client, 0.5) == Load(0, 20, "window 20, server-bound")
    client.pool.endpoints[1].in_flight = 3
    assert load(client, 0.5) == Load(0, 20, "window 20")
    assert load(Client("m", url="http://a", concurrency=7), 0.0) == Load(0, 7, "-j 7")
    client.pool.effort.thread = 0.97
    assert load(client, 0.5).binds == "client-bound: 97% of a core"

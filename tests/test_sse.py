"""Bytes of a streamed response become events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.errors import ResponseTooLarge
from manycall.providers.stream_events import SseEvent
from manycall.transport.sse import MAX_EVENT_BYTES, SseParser


def parse(data: bytes, size: int = 0, max_event_bytes: int = MAX_EVENT_BYTES) -> list[SseEvent]:
    parser = SseParser(max_event_bytes=max_event_bytes)
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    return [event for piece in pieces for event in parser.push(piece)] + parser.finish()


@pytest.mark.parametrize("size", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\n", [SseEvent("", b"a")]),
        (b"data:a\r\n\r\n", [SseEvent("", b"a")]),
        (b"data:  a\n\n", [SseEvent("", b" a")]),
        (b"event: ping\ndata: {}\n\ndata: b\n\n", [SseEvent("ping", b"{}"), SseEvent("", b"b")]),
        (b"data: a\ndata: b\ndata\n\n", [SseEvent("", b"a\nb\n")]),
        (b": keep-alive\n\n: keep-alive\n\ndata: a\n\n", [SseEvent("", b"a")]),
        (b"id: 7\nretry: 10\nx\ndata: a\n\n", [SseEvent("", b"a")]),
        (b"event: ping\n\ndata: a\n\n", [SseEvent("", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [SseEvent("", b"a")]),
        (b"data: a\n\ndata: b", [SseEvent("", b"a"), SseEvent("", b"b")]),
        (b"data: a\n\ndata: b\n", [SseEvent("", b"a"), SseEvent("", b"b")]),
        ("data: \u2028\x85\r \x0b\x0c\n\n".encode(), [SseEvent("", "\u2028\x85\r \x0b\x0c".encode())]),
        ("data: é\n\n".encode(), [SseEvent("", "é".encode())]),
        (b"", []),
        (b"\n\n\n", []),
    ],
)
def test_events_are_the_same_wherever_the_bytes_are_cut(data: bytes, events: list[SseEvent], size: int) -> None:
    assert parse(data, size) == events


@given(st.lists(st.sampled_from([b"data: a", b"event: x", b":", b"\n", b"\r\n", b"\n\n", b"data", b"\xff"])), st.data())
def test_any_bytes_give_the_same_events_wherever_they_are_cut(pieces: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(pieces)
    assert parse(stream) == parse(stream, data.draw(st.integers(1, 9)))


def test_an_event_is_returned_as_soon_as_its_blank_line_arrives() -> None:
    parser = SseParser()
    assert parser.push(b"data: a\n") == []
    assert parser.push(b"\n") == [SseEvent("", b"a")]


@pytest.mark.parametrize(
    "data",
    [b"data: " + b"x" * 200, b": " + b"x" * 200, b"data: xxxx\n" * 20, b"event: xxxx\n" * 20 + b"data: x\n" * 20],
)
def test_an_event_that_is_too_large_is_refused(data: bytes) -> None:
    with pytest.raises(ResponseTooLarge, match="more than 100 bytes"):
        parse(data, size=1, max_event_bytes=100)


@pytest.mark.parametrize("unit", [b"data: 0123456789\n\n", b": keep-alive\n", b"id: 7\n", b"\n"])
def test_many_small_events_or_comments_are_no_large_event(unit: bytes) -> None:
    for size in (0, 7):
        events = parse(unit * 100, size, max_event_bytes=100)
        assert events == [SseEvent("", b"0123456789")] * (100 if unit.startswith(b"data") else 0)

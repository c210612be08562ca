"""Split the bytes of a streamed response into server-sent events.

The format is the HTML standard's ("Server-sent events", section 9.2), with one difference: a line ends only at a line
feed. The standard also ends it at a lone carriage return, which no server of a model sends.
"""

from manycall.errors import ResponseTooLarge
from manycall.providers.stream_events import SseEvent

MAX_EVENT_BYTES = 4 << 20
"""Largest event. The last event of the Responses API contains the whole response."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SseParser:
    """Bytes of one response, cut anywhere, to events.

    Comments (": keep-alive") are no events. A stream that sends only comments is not idle, so measure the idle time
    between the bytes that arrive, not between events.

    Args:
        max_event_bytes: a larger event, or a longer line, raises ResponseTooLarge.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []  # the pieces of a line that has not ended yet
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0  # bytes of the event that has not ended yet
        self._is_first_line = True

    def push(self, chunk: bytes) -> list[SseEvent]:
        """Add the next bytes, and return the events that they complete.

        Raises:
            ResponseTooLarge: an event is larger than the limit.
        """
        first, *lines = chunk.split(b"\n")
        self._line.append(first)
        self._size += len(first)
        events: list[SseEvent] = []
        for line in lines:
            self._end_line(events)
            self._line.append(line)
            self._size += len(line)
        if self._size > self._max_event_bytes:
            raise ResponseTooLarge(f"the stream contains an event of more than {self._max_event_bytes:,} bytes")
        return events

    def finish(self) -> list[SseEvent]:
        """Return the last event if the stream ended without the blank line after it."""
        events: list[SseEvent] = []
        self._end_line(events)
        self._end_event(events)
        return events

    def _end_line(self, events: list[SseEvent]) -> None:
        line = b"".join(self._line).removesuffix(b"\r")
        self._line.clear()
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            self._end_event(events)
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line.startswith(b"event:"):
            self._event = line[6:].removeprefix(b" ").decode("utf-8", "replace")
        elif line == b"data":
            self._data.append(b"")
        elif not self._data:
            self._size = 0  # a comment, or a field that is not used: id, retry

    def _end_event(self, events: list[SseEvent]) -> None:
        """Add the event that a blank line ends. An event without data is dropped, as the standard demands."""
        if self._data:
            events.append(SseEvent(self._event, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)))
            self._data = []
        self._event, self._size = "", 0

"""Assemble a streamed response while it arrives, into the body of the equivalent unstreamed response."""

from collections.abc import Callable

from manycall import clock
from manycall.errors import ResponseTooLarge
from manycall.providers.stream_events import Fold, SseEvent
from manycall.transport.http import MAX_BODY_BYTES
from manycall.transport.sse import SseParser

MAX_STREAM_BYTES = 64 << 20
"""Largest stream: about 280,000 tokens of 230 bytes each. Its assembled answer takes a quarter of that in memory."""
_LINE_STARTS = b":deir"
"""First bytes of a stream: a comment, `data`, `event`, `id` or `retry`. No JSON object and no HTML begins with them."""
_PRELUDE = b"\xef\xbb\xbf \t\r\n"


class StreamReader:
    """The receiver of one streamed response. Some servers send plain JSON although a stream was requested.

    Args:
        fold: assembles the events.
        decode: makes a chat completion of plain JSON; None if it is one.

    Attributes:
        events: number of events that have arrived.
        first_event_at: when the first event arrived; None before.
    """

    def __init__(self, fold: Fold, decode: Callable[[bytes], bytes] | None) -> None:
        self._fold, self._decode = fold, decode
        self._parser = SseParser()
        self._size = 0
        self._json: list[bytes] | None = None
        self.events = 0
        self.first_event_at: float | None = None
        self._on_first_event: Callable[[], None] | None = None

    def notify_of_first_event(self, act: Callable[[], None]) -> None:
        """Call `act` when the first event arrives."""
        self._on_first_event = act

    def push(self, chunk: bytes) -> None:
        """Add the next bytes.

        Raises:
            HttpStatusError: an event reports an error.
            InvalidResponse: an event is malformed.
            ResponseTooLarge: the stream is larger than its limit.
        """
        is_first = self._size == 0
        self._size += len(chunk)
        if is_first:
            chunk = chunk.lstrip(_PRELUDE)
            if not chunk:
                self._size = 0
                return
            self._json = None if chunk[0] in _LINE_STARTS else []
        limit = MAX_STREAM_BYTES if self._json is None else MAX_BODY_BYTES
        if self._size > limit:
            raise ResponseTooLarge(f"the streamed response is larger than {limit:,} bytes and was discarded")
        if self._json is None:
            self._add(self._parser.push(chunk))
        else:
            self._json.append(chunk)

    def finish(self, rest: bytes = b"") -> bytes:
        """Return the chat completion.

        Args:
            rest: always empty, because the body was pushed.

        Raises:
            IncompleteResponse: the stream ended before the answer did.
            HttpStatusError, InvalidResponse: see `push`.
        """
        if self._json is None:
            self._add(self._parser.finish())
            return self._fold.finish()
        body = b"".join(self._json)
        return body if self._decode is None else self._decode(body)

    def _add(self, events: list[SseEvent]) -> None:
        if events and self.first_event_at is None:
            self.first_event_at = clock.now()
            if self._on_first_event is not None:
                self._on_first_event()
        for event in events:
            self._fold.push(event)
            self.events += 1

"""One connection of HTTP/1.1 over TCP: it sends a request and collects the response.

llhttp, the parser of Node.js, parses the responses (the package `httptools`). What a server sends is bounded: the head
by its size; and reading pauses while a large body waits for its reader.
"""

import asyncio
import math
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from manycall import clock, errors
from manycall.transport.body_memory import SMALL_BYTES
from manycall.transport.messages import attempt_timeout

MAX_HEAD_BYTES = 64 << 10
"""Largest head of a response: its status line and headers."""


class Connection(asyncio.Protocol):
    """One connection, for one exchange at a time.

    Args:
        on_closed: called when the connection is closed.
        idle_timeout: a streamed response fails if no byte arrives for this many seconds.

    Attributes:
        status, head: of the response: the status, and the bytes of the status line and the headers.
        error: why the exchange failed; None if it did not.
        is_complete: no exchange is in progress: the response has arrived completely.
        is_reusable: the connection may be used for another exchange.
        expires_at: when `expire` is to be called: for an exchange at its deadline, or earlier if a stream is silent.
    """

    def __init__(self, on_closed: Callable[["Connection"], None], idle_timeout: float) -> None:
        self._on_closed, self._idle_timeout = on_closed, idle_timeout
        self._loop, self._now = asyncio.get_running_loop(), clock.running_clock()
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)  # some servers pad the sizes
        self._transport: asyncio.Transport
        self._news = self._loop.create_future()
        self._on_chunk: Callable[[bytes], None] | None = None
        self._received = self.head = b""
        self._unused = 0  # bytes that have arrived since the last ones of a body
        self._body: bytes | bytearray = b""
        self._timeout, self._deadline = 0.0, math.inf
        self.status = 0
        self.error: BaseException | None = None
        self.is_complete = self.is_reusable = True
        self.expires_at = math.inf

    def __repr__(self) -> str:
        return f"<Connection {'idle' if self.is_complete else 'in use'}>"

    @property
    def body_size(self) -> int:
        """Number of bytes of the body that have arrived and were not taken."""
        return len(self._body)

    def take_body(self) -> bytes:
        """Return the body that has arrived, and forget it. It is empty if it was streamed."""
        body, self._body = bytes(self._body), b""
        return body

    def take_error(self) -> BaseException:
        """Return why the exchange failed, and forget it.

        The traceback of an exception refers to the variables of the caller, which refer to this connection. If it
        referred to the exception, the body of the request would stay in memory until the garbage collector runs.
        """
        error, self.error = self.error, None
        self.is_complete = True
        return error or AssertionError("the exchange has not failed")

    def begin(
        self,
        head: Callable[[int], bytes],
        body: bytes,
        on_chunk: Callable[[bytes], None] | None,
        began: float,
        timeout: float,
    ) -> asyncio.Future[None]:
        """Send a request. The future is done when the response is complete, is large, or the exchange has failed.

        Args:
            head: returns the request line and the headers for a body of this length. It contains the key, so that it
                must not be assigned to a variable.
            on_chunk: takes the body of a response with status 200 as it arrives.
            began: when the wait for the response began, before connecting.
            timeout: seconds from then on until the response must be complete.
        """
        self._received = self.head = self._body = b""  # a cancelled call has not taken the body
        self._unused = 0
        self.is_complete = self.is_reusable = False
        self.status = 0
        self._on_chunk, self._timeout = on_chunk, timeout
        self._deadline = self.expires_at = began + timeout
        if on_chunk is not None:
            self._expect_byte()
        try:
            if len(body) > SMALL_BYTES:  # do not copy it
                self._transport.write(head(len(body)))
                self._transport.write(body)
            else:  # not `writelines`, with which asyncio would keep an empty body unsent for ever
                self._transport.write(head(len(body)) + body)
        except BaseException as error:
            raise error.with_traceback(None)  # noqa: B904 - asyncio's variables contain the key
        self._news = self._loop.create_future()
        return self._news

    async def read_on(self) -> None:
        """Wait for more of a large body."""
        if self.error is None and not self.is_complete:
            self._news = self._loop.create_future()
            self._transport.resume_reading()
            await self._news

    def expire(self) -> None:
        """End an exchange that has reached its deadline, or close an idle connection."""
        if self.is_complete:
            self.abort()
        else:
            is_silent = self.expires_at < self._deadline
            self._fail(attempt_timeout(self._timeout, self._idle_timeout if is_silent else None))

    def rest_for(self, seconds: float) -> bool:
        """Keep the connection open for another exchange in the next seconds. Return whether that is possible."""
        if not self.is_reusable or self._transport.get_write_buffer_size():  # the request was not sent completely
            self.abort()
            return False
        self.expires_at = self._now() + seconds
        return True

    def is_usable(self, now: float) -> bool:
        """Return whether an idle connection is open and not too old."""
        return self.is_reusable and now < self.expires_at and not self._transport.is_closing()

    def abort(self) -> None:
        """Close the connection at once. The server notices it and can stop working."""
        self._transport.abort()

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are not instances of it

    def data_received(self, data: bytes) -> None:
        if self.is_complete:  # nothing was asked
            self._fail(errors.ConnectionLost("the server sent data without a request"))
            return
        if not self.status:
            self._received += data
        self._unused += len(data)
        try:
            self._parser.feed_data(data)
            if self._unused > MAX_HEAD_BYTES:
                raise HttpParserError(f"the {'trailers are' if self.status else 'head is'} too large")
        except HttpParserError as error:
            cause = error.__context__ or error  # an exception of a callback is the context
            self._fail(unreadable(str(cause)) if isinstance(cause, HttpParserError) else cause)
        except HttpParserUpgrade:  # the response with status 101 is complete
            self.abort()

    def eof_received(self) -> None:
        """Close the connection at once. Otherwise the event loop would first send the rest of the request."""
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_closed(self)
        if self.is_complete or self.error is not None:
            self.is_reusable = False
        elif not self.status:
            self._fail(errors.ConnectionLost(f"the connection was lost: {exc or 'closed by the server'}"))
        elif exc is None and self._ends_with_connection():
            self._complete(is_reusable=False)
        else:
            self._fail(unreadable(str(exc or "the connection was closed")))

    # Called by the parser

    def on_message_begin(self) -> None:
        """Reject a second response. Otherwise it would count as the answer to the next request."""
        if self.is_complete:
            raise HttpParserError("there was more than one response")

    def on_headers_complete(self) -> None:
        """Keep the head. Interim responses (100 to 199) are dropped."""
        end = self._received.find(b"\r\n\r\n")
        if not 0 < end <= MAX_HEAD_BYTES:
            raise HttpParserError("the head is too large")
        status = self._parser.get_status_code()
        if status < 200 and status != 101:
            if status < 100:
                raise HttpParserError(f"there is no status {status}")
            self._received = self._received[end + 4 :]
            return
        self.status, self.head, self._received = status, self._received[:end], b""
        if status == 101:  # what follows is another protocol
            self._complete(is_reusable=False)
        elif status != 200:
            self._on_chunk = None
        elif self._on_chunk is not None and find_header(self.head, "content-encoding"):
            raise HttpParserError("the stream is compressed")

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body, or pass it on."""
        self._unused = 0
        if self._on_chunk is not None:
            self._expect_byte()
            self._on_chunk(data)
            return
        if not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body + data)
        if len(self._body) > SMALL_BYTES:
            self._transport.pause_reading()
            self._tell()

    def on_message_complete(self) -> None:
        """End the exchange."""
        if self.status:
            self._complete(is_reusable=self._parser.should_keep_alive())

    def _complete(self, *, is_reusable: bool) -> None:
        self.is_complete, self.is_reusable = True, is_reusable
        if len(self._body) > SMALL_BYTES and is_reusable:
            self._transport.resume_reading()
        self._tell()

    def _fail(self, error: BaseException) -> None:
        """End the exchange, if there is one, and close the connection."""
        self.is_reusable = False
        self.abort()
        if not self.is_complete and self.error is None:
            self.error, self._body, self._on_chunk = error, b"", None
            self._tell()

    def _tell(self) -> None:
        if not self._news.done():
            self._news.set_result(None)

    def _expect_byte(self) -> None:
        self.expires_at = min(self._deadline, self._now() + self._idle_timeout)

    def _ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the response (RFC 9112, section 6.3)."""
        return not (find_header(self.head, "content-length") or find_header(self.head, "transfer-encoding"))


def find_header(head: bytes, name: str) -> str | None:
    """Return the value of a header in the bytes of a head; None if it is missing or is not ASCII."""
    start = head.lower().find(b"\r\n%b:" % name.lower().encode())
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    value = head[start : len(head) if end < 0 else end].strip(b" \t")
    return value.decode() if value.isascii() else None


def unreadable(why: str) -> errors.IncompleteResponse:
    """Return the error of a response that breaks the protocol."""
    return errors.IncompleteResponse(f"the response ended early or could not be read: {why}")

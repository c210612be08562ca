"""HTTP messages and the transport protocol."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from manycall.providers.provider import BEARER
from manycall.records import Secret


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """An HTTP request.

    Attributes:
        key: the API key, and `key_header` the header that contains it.
        timeout: time in seconds from connecting to the last byte of the response.
        headers: further headers. Their values may be secret.
        on_chunk: takes the body of a response with status 200, piece by piece as it arrives. The response is then
            returned without it. An exception that it raises ends the exchange and is not changed.
    """

    url: str
    body: bytes = b""
    key: Secret | None = None
    timeout: float = 600.0
    method: str = "POST"
    key_header: str = BEARER
    headers: tuple[tuple[str, Secret], ...] = ()
    on_chunk: Callable[[bytes], None] | None = None


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """An HTTP response. `header` looks up a header by name; the case of the name does not matter."""

    status: int
    body: bytes
    header: Callable[[str], str | None]


class Transport(Protocol):
    """Sends requests. Every failure is an `errors.TransportError`."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and return the complete response."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def no_header(name: str) -> None:
    """Header lookup of a response without headers."""


def deliver(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return a complete response as a transport returns it: of a streamed one, `on_chunk` gets the body."""
    if request.on_chunk is None or response.status != 200:
        return response
    request.on_chunk(response.body)
    return HttpResponse(response.status, b"", response.header)

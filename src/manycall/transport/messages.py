"""HTTP messages and the transport protocol."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from manycall.records import Secret


class HttpRequest(msgspec.Struct, frozen=True):
    """An HTTP request. `timeout` is the time in seconds from connecting to the last byte of the response."""

    url: str
    body: bytes = b""
    key: Secret | None = None
    timeout: float = 600.0
    method: str = "POST"


class HttpResponse(msgspec.Struct, frozen=True):
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

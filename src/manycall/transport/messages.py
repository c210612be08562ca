"""HTTP messages and the transport protocol."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from manycall import errors
from manycall.option_flags import option
from manycall.providers.provider import BEARER
from manycall.records import Secret

DEFAULT_TIMEOUT_SECONDS, DEFAULT_IDLE_TIMEOUT_SECONDS = 600.0, 300.0
"""Time for a whole response, and for the next byte of a streamed one, unless the user sets another."""
CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS, KEEPALIVE_INTERVAL_SECONDS = 60, 30
"""TCP probes on a connection that is silent for 60 seconds. Firewalls drop silent connections after a few minutes, and
a call to a model that thinks may be silent for an hour."""
# Servers close idle connections after 5 s (vLLM, llama-server, LiteLLM), and a request sent at that moment is lost.
# Therefore the client closes idle connections earlier.
POOL_IDLE_SECONDS = 3.0


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
    timeout: float = DEFAULT_TIMEOUT_SECONDS
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
    """Sends requests."""

    def send(self, request: HttpRequest) -> Awaitable[HttpResponse]:
        """Send a request and return the complete response.

        Raises:
            TransportError: there is no complete response.
            UsageError: the URL or a header is not valid.
        """
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


def attempt_timeout(timeout: float, idle_timeout: float | None = None) -> errors.AttemptTimeout:
    """Return the error of a request that reached its timeout, or of a stream that was silent for `idle_timeout`."""
    if idle_timeout is None:
        return errors.AttemptTimeout(f"no complete response within {timeout:g} s ({option('timeout')})")
    return errors.AttemptTimeout(f"no byte within {idle_timeout:g} s ({option('idle_timeout')})")


def too_large(size: int) -> errors.ResponseTooLarge:
    """Return the error of a response whose body is larger than `size` bytes."""
    return errors.ResponseTooLarge(f"the response is larger than {size:,} bytes and was discarded")

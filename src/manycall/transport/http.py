"""Send HTTP requests: over plain TCP with our own connections, over TLS or through a proxy with the HTTP library.

No server can exhaust the memory of this process: a body that exceeds the maximum size is rejected, and large bodies are
read one at a time (`BodyMemoryLimit`). This package knows nothing about JSON, models or retries.
"""

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from manycall.providers.urls import is_loopback
from manycall.transport.body_memory import BodyMemoryLimit
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, HttpRequest, HttpResponse, Transport
from manycall.transport.plain_http import PlainTransport
from manycall.transport.proxy_variable import may_have_proxy

if TYPE_CHECKING:
    from manycall.transport.http_library import LibraryTransport

MAX_BODY_BYTES = 16 << 20
"""Largest decompressed body of a response: 500 vectors of 1,536 numbers, or a thousand times a usual answer."""


class HttpTransport:
    """Transport over TCP and TLS (1.2 or newer). It verifies certificates and follows no redirects.

    It uses the environment variables HTTP_PROXY, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.

    Args:
        max_body_bytes: a response with a larger decompressed body fails with ResponseTooLarge. The receiver of a
            streamed response limits its size.
        idle_timeout: a streamed response fails if no byte arrives for this many seconds.
    """

    def __init__(
        self, *, max_body_bytes: int = MAX_BODY_BYTES, idle_timeout: float = DEFAULT_IDLE_TIMEOUT_SECONDS
    ) -> None:
        self._max_body_bytes, self._idle_timeout, self._memory = max_body_bytes, idle_timeout, BodyMemoryLimit()
        self._transports: dict[type[Transport], Transport] = {}
        self._routes: dict[str, Transport] = {}  # URL -> its transport

    def send(self, request: HttpRequest) -> Awaitable[HttpResponse]:
        """Send a request and return the complete response."""
        return (self._routes.get(request.url) or self._find_route(request.url)).send(request)

    def _find_route(self, url: str) -> Transport:
        kind = transport_class(url)
        if kind not in self._transports:
            self._transports[kind] = kind(
                max_body_bytes=self._max_body_bytes, idle_timeout=self._idle_timeout, memory=self._memory
            )
        self._routes[url] = self._transports[kind]
        return self._transports[kind]

    async def close(self) -> None:
        """Close all connections. Another event loop may send requests afterwards."""
        transports = [*self._transports.values()]
        self._transports.clear()
        self._routes.clear()
        for each in transports:
            await each.close()


def transport_class(url: str) -> "type[PlainTransport | LibraryTransport]":
    """Return what sends requests to a URL. No proxy can reach this machine's loopback."""
    if url.lower().startswith("http://") and (is_loopback(url.partition("?")[0]) or not may_have_proxy()):
        return PlainTransport
    from manycall.transport.http_library import LibraryTransport  # imported here, because many runs do not need it

    return LibraryTransport

"""HTTP over TLS or through a proxy. This is the only module that imports the HTTP library.

No server can exhaust the memory of this process. The HTTP library limits the head of a response and the data that it
reads ahead (up to 1.3 MB per call). A body that exceeds the maximum size is rejected, and large bodies are read one
after the other (`BodyMemoryLimit`).

The HTTP library is pyreqwest (Rust: reqwest and hyper), chosen for its low cost: 33 to 60 µs of CPU per request at any
concurrency. This module works around its known faults:

* Cancelling a task does not abort its request on the wire. Only the timeout of the request does, so every request has
  a timeout.
* A response is read ahead: its head is returned only when the read-ahead buffer is full, and leaving it early reads it
  to the end. Streams therefore have no buffer.
* A connection lost after sending raises `ConnectError`, and a late answer raises `ConnectTimeoutError`. Only the causes
  of the exception show whether anything was sent. `map_error` reads them, and treats unclear cases as sent.
* The library's thread may call the interpreter after everything was closed. An interpreter that exits at this moment
  aborts.

This module knows nothing about JSON, models or retries.
"""

from datetime import timedelta
from functools import lru_cache, partial
from ipaddress import ip_address

from pyreqwest import exceptions as http
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.http import Url
from pyreqwest.response import Response

from manycall import clock, errors
from manycall.providers import address
from manycall.providers.provider import BEARER
from manycall.providers.urls import is_loopback
from manycall.transport.body_memory import SMALL_BYTES, BodyMemoryLimit
from manycall.transport.messages import (
    CONNECT_SECONDS,
    KEEPALIVE_INTERVAL_SECONDS,
    KEEPALIVE_SECONDS,
    POOL_IDLE_SECONDS,
    HttpRequest,
    HttpResponse,
    attempt_timeout,
    too_large,
)
from manycall.transport.proxy_variable import proxy_variable

SHUTDOWN_GRACE_SECONDS = 0.02
"""Time for the HTTP library's own thread to finish after everything was closed."""


class LibraryTransport:
    """Transport over TCP and TLS (1.2 or newer). It verifies certificates and follows no redirects.

    It uses the environment variables HTTP_PROXY, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.

    Args:
        max_body_bytes: a response with a larger decompressed body fails with ResponseTooLarge. The receiver of a
            streamed response limits its size.
        idle_timeout: a streamed response fails if no byte arrives for this many seconds.
        memory: limit for large bodies.
    """

    def __init__(self, *, max_body_bytes: int, idle_timeout: float, memory: BodyMemoryLimit) -> None:
        self._max_body_bytes, self._idle_timeout, self._body_memory = max_body_bytes, idle_timeout, memory
        self._clients: dict[tuple[bool, bool], Client] = {}  # (the server is this machine, it streams) → the client

    async def send(self, request: HttpRequest) -> HttpResponse:
        on_chunk = request.on_chunk
        started = 0.0 if on_chunk is None else clock.now()
        try:
            kind = _is_local_url(request.url), on_chunk is not None
            out = (self._clients.get(kind) or self._make_client(*kind)).request(request.method, request.url)
            out = out.timeout(_as_timedelta(request.timeout))
            if (key := request.key) is not None:
                is_bearer = request.key_header == BEARER
                out = out.bearer_auth(key.reveal()) if is_bearer else out.header(request.key_header, key.reveal())
            for name, value in request.headers:
                out = out.header(name, value.reveal())
            if request.body:
                out = out.body_bytes(request.body)
            if on_chunk is not None:
                out = out.streamed_read_buffer_limit(0)
            async with out.build_streamed() as reply:
                if on_chunk is not None and reply.status == 200:
                    while (chunk := await reply.body_reader.read_chunk()) is not None:
                        on_chunk(bytes(chunk))
                    return HttpResponse(200, b"", partial(_header, reply))
                body = bytes(await reply.body_reader.read(SMALL_BYTES) or b"")
                if body and str(len(body)) != reply.get_header("content-length"):
                    body = await self._read_rest(reply, body)
                return HttpResponse(reply.status, body, partial(_header, reply))
        except http.PyreqwestError as error:
            is_idle = on_chunk is not None and clock.now() - started < request.timeout
            proxy = "" if _is_local_url(request.url) else proxy_variable(request.url)
            raise map_error(error, request.timeout, self._idle_timeout if is_idle else None, proxy) from None

    def _make_client(self, is_local: bool, is_streamed: bool) -> Client:
        """Return the client of a kind of requests. It is made for the first: loading the certificates takes 5 ms."""
        builder = _builder()
        if is_local:
            builder = builder.no_proxy()  # no proxy can reach this machine's loopback
        if is_streamed:
            builder = builder.read_timeout(timedelta(seconds=self._idle_timeout))
        client = self._clients[is_local, is_streamed] = builder.build()
        return client

    async def _read_rest(self, reply: Response, beginning: bytes) -> bytes:
        """Return the body of a response that is large, or whose length is unknown.

        Args:
            beginning: at most SMALL_BYTES of it.
        """
        reader, chunks, size = reply.body_reader, [beginning], len(beginning)
        del beginning
        try:
            while (chunk := await reader.read_chunk()) is not None:
                chunks.append(bytes(chunk))
                size += len(chunk)
                if size > SMALL_BYTES:
                    if size > self._max_body_bytes:
                        raise too_large(self._max_body_bytes)
                    await self._body_memory.reserve(chunks, size)
            return b"".join(chunks)
        finally:
            if size > SMALL_BYTES:
                self._body_memory.release(chunks)
                chunks.clear()  # the traceback of an error may keep this frame alive

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        if self._clients:
            await clock.sleep(SHUTDOWN_GRACE_SECONDS)  # the library's thread must finish before the interpreter exits


@lru_cache
def _as_timedelta(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)  # almost all calls have the same timeout


def _builder() -> ClientBuilder:
    return (
        ClientBuilder()
        .follow_redirects(False)  # a redirect would carry the key to another host
        .referer(False)
        .min_tls_version("TLSv1.2")
        .brotli(False)  # decompressing one response would need up to 16 MB; gzip needs 32 kB
        .zstd(False)
        .pool_idle_timeout(timedelta(seconds=POOL_IDLE_SECONDS))
        .connect_timeout(timedelta(seconds=CONNECT_SECONDS))
        .tcp_keepalive(timedelta(seconds=KEEPALIVE_SECONDS))
        .tcp_keepalive_interval(timedelta(seconds=KEEPALIVE_INTERVAL_SECONDS))
        .default_headers({"content-type": "application/json"})
        .user_agent("manycall")
    )


@lru_cache(maxsize=1024)
def _is_local_url(url: str) -> bool:
    """Return whether the URL's host is this machine.

    Raises:
        UsageError: the URL is not valid, or the HTTP library would connect to another host than the checked one.
    """
    base = url.partition("?")[0]
    try:
        checked, connected = address.parse(base).host, Url(url).host_str
    except ValueError as error:
        raise errors.UsageError(f"The URL is not valid: {error}") from None
    if not _same_host(checked, connected or ""):
        raise errors.UsageError(f"The URL names the host {checked}, but the HTTP library would connect to {connected}.")
    return is_loopback(base)


def _same_host(one: str, other: str) -> bool:
    if one.startswith("["):  # an IPv6 address can be written in several ways
        return other.startswith("[") and ip_address(one[1:-1]) == ip_address(other[1:-1])
    return one == other


def _header(reply: Response, name: str) -> str | None:
    try:
        return reply.get_header(name)
    except ValueError:  # not ASCII
        return None


# The text of hyper's error if no connection was made. In all other cases the request may have been sent.
_NOT_CONNECTED = "client error (Connect)"
_BROKEN = (http.ReadError, http.DecodeError, http.StatusError, http.RedirectError)


def map_error(
    error: http.PyreqwestError, timeout: float, idle_timeout: float | None = None, proxy: str = ""
) -> errors.ManycallError:
    """Return manycall's error for an error of the HTTP library: never sent, possibly sent, timed out or incomplete.

    Args:
        error: the error of the HTTP library.
        timeout: timeout of the request in seconds, for the message.
        idle_timeout: maximum seconds without a byte, if the request did not reach its timeout; else None.
        proxy: the variable that names the proxy of the URL; "" if it has none.
    """
    details = getattr(error, "details", None) or {}
    causes = [str(cause["message"]) for cause in details.get("causes") or ()]
    why = causes[-1] if causes else error.message
    if isinstance(error, http.BuilderError):
        return errors.UsageError(f"The URL is not valid: {why}")
    if _NOT_CONNECTED in causes or isinstance(error, http.PoolTimeoutError):
        if "certificate" in why:
            return errors.CertificateError(f"the server's certificate was rejected: {why}")
        through = f" (through the proxy in {proxy}; NO_PROXY lists hosts that need none)" if proxy else ""
        return errors.ConnectError(f"connection failed: {why}{through}")
    if isinstance(error, http.RequestTimeoutError):
        return attempt_timeout(timeout, idle_timeout)
    if isinstance(error, _BROKEN):
        return errors.IncompleteResponse(f"the response ended early or could not be read: {why}")
    return errors.ConnectionLost(f"the connection was lost: {why}")

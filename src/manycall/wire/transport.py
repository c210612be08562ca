"""The one seam: send a request, get a reply. The only importer of the HTTP library.

No server can fill our memory: the HTTP library bounds a reply's head, and what it reads ahead (up to 1.3 MB a call); a
body that is too long is cut off; and long ones wait for one another (`Room`).

What is behind it today is pyreqwest (Rust: reqwest and hyper), for its cost: 33 to 60 µs of CPU a request
at any concurrency. Its known faults end in this file:

* Cancelling a task does not abort its request on the wire; only the request's own timeout does. So every
  request carries one.
* A connection lost after sending is a `ConnectError`, a late answer a `ConnectTimeoutError`. Whether
  anything was sent is told only by the causes, so those are read, in `translate`, and what stays unclear
  counts as sent.
* Its thread may speak to the interpreter after all is closed; an interpreter that ends just then aborts.

Knows nothing of JSON, models, retries.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Protocol

import msgspec
from pyreqwest import exceptions as http
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.http import Url
from pyreqwest.response import Response

from manycall import clock, errors
from manycall.records import Secret
from manycall.wire import address
from manycall.wire.loopback import is_loopback

# Servers close idle connections after 5 s (vLLM, llama-server, LiteLLM); a request that meets the closing is
# lost, so ours go first.
IDLE_SECONDS = 3.0
CONNECT_SECONDS = 10.0
MAX_BODY_BYTES = 16 << 20
"""Of a reply, decompressed: 500 vectors of 1,536 numbers, or a thousand times a usual answer."""
SMALL_BYTES = 64 << 10
"""A body of so much always finds room: these are nearly all."""
ROOM_BYTES = 16 << 20
"""For the longer ones together."""
LAST_SECONDS = 0.02
"""For the HTTP library's own thread to end what it is at, after all is closed."""


class HttpRequest(msgspec.Struct, frozen=True):
    """What is sent. `timeout` is in seconds, from connecting to the last byte of the reply."""

    url: str
    body: bytes = b""
    key: Secret | None = None
    timeout: float = 600.0
    method: str = "POST"


class HttpReply(msgspec.Struct, frozen=True):
    """What came back. `header` looks one header up, whatever the case of its name."""

    status: int
    body: bytes
    header: Callable[[str], str | None]


class Transport(Protocol):
    """Carries one request. Every failure is an `errors.TransportError`."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """Send, and wait for the whole reply."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


class HttpTransport:
    """The real one, over TCP and TLS (1.2 or newer); it verifies certificates and follows no redirects.

    Honours HTTP_PROXY, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.

    Args:
        max_body_bytes: a longer (decompressed) reply is cut off.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._room = Room(ROOM_BYTES)
        self._client: Client = _builder().build()
        self._near: Client = _builder().no_proxy().build()  # no proxy can reach this machine's own loopback

    async def send(self, request: HttpRequest) -> HttpReply:
        client = self._near if _is_near(request.url) else self._client
        try:
            out = client.request(request.method, request.url).timeout(timedelta(seconds=request.timeout))
            if request.key is not None:
                out = out.bearer_auth(request.key.reveal())
            if request.body:
                out = out.body_bytes(request.body)
            async with out.build_streamed() as reply:
                body = await self._read(reply)
                return HttpReply(reply.status, body, partial(_header, reply))
        except http.PyreqwestError as error:
            raise translate(error) from None

    async def _read(self, reply: Response) -> bytes:
        reader = reply.body_reader
        chunk = await reader.read(SMALL_BYTES)
        if chunk is not None and str(len(chunk)) == reply.get_header("content-length"):  # it is whole, and small
            return bytes(chunk)
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk is not None:
                chunks.append(bytes(chunk))
                size += len(chunk)
                if size > SMALL_BYTES:
                    if size > self._max_body_bytes:
                        raise errors.TooLong(f"a reply of more than {self._max_body_bytes:,} bytes was cut off")
                    await self._room.hold(chunks, size)
                chunk = await reader.read_chunk()
            return b"".join(chunks)
        finally:
            if size > SMALL_BYTES:
                self._room.leave(chunks)
                chunks.clear()  # an error's traceback may live on, and this frame with it

    async def close(self) -> None:
        await self._client.close()
        await self._near.close()
        await clock.sleep(LAST_SECONDS)  # so that it does not end after the interpreter


class Room:
    """Memory for the long bodies that are being read, over all calls.

    When it is full, only the first of them is read on: it ends, by its length or by its timeout, and the next is first.
    The others wait, and the servers with them, because nobody takes what they send. None is lost by it.

    Args:
        size: bytes. What is held is at most this, the first body, and a chunk of each.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[int, int] = {}  # of each body, how many bytes; the oldest body first
        self._total = 0
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Room: {self._total:,} of {self._size:,} bytes held by {len(self._held)} replies>"

    async def hold(self, body: object, size: int) -> None:
        """So much of this body has come; return when more may."""
        self._total += size - self._held.get(id(body), 0)
        self._held[id(body)] = size
        while self._total > self._size and id(body) != next(iter(self._held)):
            await self._changed.wait()

    def leave(self, body: object) -> None:
        """This body is read, or given up."""
        self._total -= self._held.pop(id(body), 0)
        self._changed.set()
        self._changed = asyncio.Event()


def _builder() -> ClientBuilder:
    return (
        ClientBuilder()
        .follow_redirects(False)  # a redirect would carry the key to another host
        .referer(False)
        .min_tls_version("TLSv1.2")
        .brotli(False)  # each reply that is being unpacked would need up to 16 MB; gzip needs 32 kB
        .zstd(False)
        .pool_idle_timeout(timedelta(seconds=IDLE_SECONDS))
        .connect_timeout(timedelta(seconds=CONNECT_SECONDS))
        .default_headers({"content-type": "application/json"})
        .user_agent("manycall")
    )


@lru_cache(maxsize=1024)
def _is_near(url: str) -> bool:
    """Whether the URL leads to this machine.

    Raises:
        UsageError: it is no URL, or the HTTP library would connect to another host than the one that was checked.
    """
    try:
        checked, connected = address.parse(url).host, Url(url).host_str
    except ValueError as error:
        raise errors.UsageError(f"no request can be made of this URL: {error}") from None
    if not _same_host(checked, connected or ""):
        raise errors.UsageError(f"the URL names the host {checked}, but the HTTP library would connect to {connected}")
    return is_loopback(url)


def _same_host(one: str, other: str) -> bool:
    if one.startswith("["):  # an IPv6 address has several spellings
        return other.startswith("[") and ip_address(one[1:-1]) == ip_address(other[1:-1])
    return one == other


def _header(reply: Response, name: str) -> str | None:
    try:
        return reply.get_header(name)
    except ValueError:  # not ASCII
        return None


# The words by which hyper tells that no connection was made. Everything else may have been sent.
_NOT_CONNECTED = "client error (Connect)"
_BROKEN = (http.ReadError, http.DecodeError, http.StatusError, http.RedirectError)


def translate(error: http.PyreqwestError) -> errors.ManycallError:
    """Our error for one of the HTTP library's: never sent, perhaps sent, timed out, or broken off."""
    details = getattr(error, "details", None) or {}
    causes = [str(cause["message"]) for cause in details.get("causes") or ()]
    why = causes[-1] if causes else error.message
    if isinstance(error, http.BuilderError):
        return errors.UsageError(f"no request can be made of this URL: {why}")
    if _NOT_CONNECTED in causes or isinstance(error, http.PoolTimeoutError):
        if "certificate" in why:
            return errors.Untrusted(f"the server's certificate was refused: {why}")
        return errors.NeverSent(f"no connection: {why}")
    if isinstance(error, http.RequestTimeoutError):
        return errors.TimedOut("no whole reply in time")
    if isinstance(error, _BROKEN):
        return errors.ReplyBroken(f"the reply broke off or could not be read: {why}")
    return errors.ConnectionLost(f"the connection was lost: {why}")

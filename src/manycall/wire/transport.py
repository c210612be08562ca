"""The one seam: send a request, get a reply. The only importer of the HTTP library.

What is behind it today is pyreqwest (Rust: reqwest and hyper), for its cost: 33 to 60 µs of CPU a request
at any concurrency. Its known faults end in this file:

* Cancelling a task does not abort its request on the wire; only the request's own timeout does. So every
  request carries one.
* A connection lost after sending is a `ConnectError`, a late answer a `ConnectTimeoutError`. Whether
  anything was sent is told only by the causes, so those are read, in `translate`, and what stays unclear
  counts as sent.

Knows nothing of JSON, models, retries.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Protocol

import msgspec
from pyreqwest import exceptions as http
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.response import Response

from manycall import errors
from manycall.records import Secret
from manycall.wire.loopback import is_loopback

# Servers close idle connections after 5 s (vLLM, llama-server, LiteLLM); a request that meets the closing is
# lost, so ours go first.
IDLE_SECONDS = 3.0
CONNECT_SECONDS = 10.0
MAX_BODY_BYTES = 64 * 1024 * 1024


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
    """The real one, over TCP and TLS; it verifies certificates and follows no redirects.

    Honours HTTP_PROXY, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.

    Args:
        max_body_bytes: a longer (decompressed) reply is cut off and counts as broken.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._client: Client = _builder().build()
        self._near: Client = _builder().no_proxy().build()  # no proxy can reach this machine's own loopback

    async def send(self, request: HttpRequest) -> HttpReply:
        client = self._near if is_loopback(request.url) else self._client
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
        chunks, size = [], 0
        while (chunk := await reader.read_chunk()) is not None:
            size += len(chunk)
            if size > self._max_body_bytes:
                raise errors.ReplyBroken(f"a reply of more than {self._max_body_bytes:,} bytes was cut off")
            chunks.append(bytes(chunk))
        return b"".join(chunks)

    async def close(self) -> None:
        await self._client.close()
        await self._near.close()


def _builder() -> ClientBuilder:
    return (
        ClientBuilder()
        .follow_redirects(False)  # a redirect would carry the key to another host
        .referer(False)
        .pool_idle_timeout(timedelta(seconds=IDLE_SECONDS))
        .connect_timeout(timedelta(seconds=CONNECT_SECONDS))
        .default_headers({"content-type": "application/json"})
        .user_agent("manycall")
    )


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

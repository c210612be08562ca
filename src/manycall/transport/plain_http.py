"""HTTP without TLS and without a proxy: the way to servers on this machine and in its network (vLLM, SGLang).

The HTTP library has faults that matter most there: a cancelled call continues on the server, and the library's thread
takes a large part of a call's CPU time. So this module sends HTTP/1.1 itself, in the event loop's thread.
"""

import asyncio
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from manycall import clock, errors
from manycall.providers import address
from manycall.providers.provider import BEARER
from manycall.records import Secret
from manycall.transport.body_memory import SMALL_BYTES, BodyMemoryLimit
from manycall.transport.connection import Connection, find_header, unreadable
from manycall.transport.messages import HttpRequest, HttpResponse, too_large
from manycall.transport.server_connections import Server, ServerConnections

MAX_TARGETS = 1024
"""Heads of requests that are kept. Each differs in its URL or its key."""
_PIECE_BYTES = 256 << 10
_MAX_PIECES = 512  # copying what is left for each of a million empty members would take hours
_ZLIB_ENCODINGS = ("gzip", "x-gzip", "deflate")
_GZIP_MAGIC = b"\x1f\x8b"
_BY_HEADER = 47  # zlib's number for: the format that the data begins with
_UNQUOTED = "/%:@!$&'()*+,;=~-._"  # in a path, in addition to letters and digits (RFC 3986)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t -~]*")


class Target(NamedTuple):
    """What the requests to one URL with one key have in common.

    Attributes:
        head: returns the request line and the headers of a request whose body has this length. They contain the key.
    """

    server: Server
    head: Callable[[int], bytes]


class PlainTransport:
    """Transport over TCP. It follows no redirects.

    Args:
        max_body_bytes: a response with a larger decompressed body fails with ResponseTooLarge.
        idle_timeout: a streamed response fails if no byte arrives for this many seconds.
        memory: limit for large bodies.
    """

    def __init__(self, *, max_body_bytes: int, idle_timeout: float, memory: BodyMemoryLimit) -> None:
        self._max_body_bytes, self._memory = max_body_bytes, memory
        self._connections, self._now = ServerConnections(idle_timeout), clock.running_clock()
        self._targets: dict[tuple[object, ...], Target] = {}

    async def send(self, request: HttpRequest) -> HttpResponse:
        kind = request.url, request.key, request.key_header, request.headers, request.method, request.on_chunk is None
        server, head = self._targets.get(kind) or self._add_target(kind, request)
        connections, began = self._connections, self._now()
        connection = connections.take(server, began) or await connections.connect(server, request.timeout)
        try:
            changed = connection.begin(head, request.body, request.on_chunk, began, request.timeout)
            connections.watch(connection)
            await changed
            if not connection.is_complete:
                await self._read_rest(connection)
            status, found, body = connection.status, connection.head, connection.take_body()
        finally:
            connections.give_back(server, connection)
        if len(body) > self._max_body_bytes:
            raise too_large(self._max_body_bytes)
        if found.lower().find(b"content-encoding") >= 0 and body and _is_compressed(found):
            body = await self._decompress(body)
        return HttpResponse(status, body, partial(find_header, found))

    def _add_target(self, kind: tuple[object, ...], request: HttpRequest) -> Target:
        if len(self._targets) >= MAX_TARGETS:
            self._targets.clear()
        host, port, head = encode_head(request)
        target = self._targets[kind] = Target(self._connections.server(host, port), head)
        return target

    async def _read_rest(self, connection: Connection) -> None:
        """Read the rest of a large body, unless the exchange has failed."""
        try:
            while connection.error is None and not connection.is_complete:
                if connection.body_size > self._max_body_bytes:
                    raise too_large(self._max_body_bytes)
                with suppress(TimeoutError):  # the connection fails at this time
                    async with asyncio.timeout_at(connection.expires_at):
                        await self._memory.reserve(connection, connection.body_size)
                await connection.read_on()
        finally:
            self._memory.release(connection)
        if connection.error is not None:
            raise connection.take_error()

    async def _decompress(self, body: bytes) -> bytes:
        """Decompress a body, which may be a thousand times as large."""
        decompressor, pieces, size = zlib.decompressobj(_BY_HEADER), list[bytes](), 0
        try:
            while body:
                if decompressor.eof:  # gzip data may have several members
                    decompressor = zlib.decompressobj(_BY_HEADER)
                pieces.append(decompressor.decompress(body, _PIECE_BYTES))
                body, size = decompressor.unconsumed_tail or _next_member(decompressor), size + len(pieces[-1])
                if size > self._max_body_bytes or len(pieces) > _MAX_PIECES:
                    raise too_large(self._max_body_bytes)
                if size > SMALL_BYTES:
                    await self._memory.reserve(pieces, size)
        except zlib.error as error:
            raise unreadable(str(error)) from None
        finally:
            self._memory.release(pieces)
        if not decompressor.eof:
            raise unreadable("the compressed body is not complete")
        return b"".join(pieces)

    async def close(self) -> None:
        self._connections.close()


def _is_compressed(head: bytes) -> bool:
    return (find_header(head, "content-encoding") or "").lower() in _ZLIB_ENCODINGS


def _next_member(decompressor: "zlib._Decompress") -> bytes:
    """Return the rest of the data if it is a further member of gzip; all other data after the end is ignored."""
    return decompressor.unused_data if decompressor.unused_data.startswith(_GZIP_MAGIC) else b""


def encode_head(request: HttpRequest) -> tuple[str, int, Callable[[int], bytes]]:
    """Return the host and the port of a request, and what returns its head (see `Target`).

    Raises:
        UsageError: the URL or a header is not valid.
    """
    base, _, query = request.url.partition("?")
    try:
        parts = address.parse(base)
        path = quote(parts.path or "/", safe=_UNQUOTED) + ("?" + quote(query, safe=_UNQUOTED + "?") if query else "")
    except ValueError as error:
        raise errors.UsageError(f"The URL is not valid: {error}") from None
    port = 80 if parts.port is None else parts.port
    default = {
        "host": parts.host + (f":{port}" if port != 80 else ""),
        "user-agent": "manycall",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate" if request.on_chunk is None else "identity",
        "content-type": "application/json",
    }
    given = {name.lower() for name, _ in request.headers}
    lines = [_header_line(name, Secret(value)) for name, value in default.items() if name not in given]
    lines += [_header_line(name, value) for name, value in request.headers]
    if request.key is not None:
        lines.append(_header_line(request.key_header, request.key, "Bearer " if request.key_header == BEARER else ""))
    begin = Secret(f"{request.method} {path} HTTP/1.1\r\n" + "".join(each.reveal() for each in lines))
    return parts.host.strip("[]"), port, _head(begin, has_body=request.method != "GET")


def _header_line(name: str, value: Secret, scheme: str = "") -> Secret:
    if not _FIELD_NAME.fullmatch(name):
        raise errors.UsageError(f"{name!r:.100} is not the name of a header.")
    if not _FIELD_VALUE.fullmatch(value.reveal()):
        raise errors.UsageError(f"The value of the header {name} has characters that HTTP does not allow.")
    return Secret(f"{name}: {scheme}{value.reveal()}\r\n")


def _head(begin: Secret, *, has_body: bool) -> Callable[[int], bytes]:
    """Return a function that returns the head of a request. It is encoded once, and no variable holds it."""

    def encoded(start: bytes) -> Callable[[int], bytes]:
        return lambda length: b"%b%d\r\n\r\n" % (start, length)

    if not has_body:
        return lambda length: f"{begin.reveal()}\r\n".encode()
    return encoded(f"{begin.reveal()}content-length: ".encode())

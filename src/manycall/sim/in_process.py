"""Simulated servers in the same process: the same bytes as over HTTP, but without sockets, for virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from manycall.errors import AttemptTimeout, ConnectError, ConnectionLost, IncompleteResponse, TransportError
from manycall.sim.server import SimServer
from manycall.sim.sim_engine import SimResponse
from manycall.sim.sim_stream import CONNECTION_LOST
from manycall.transport.messages import HttpRequest, HttpResponse, deliver


class InProcessTransport:
    """A transport that sends requests for `http://NAME/v1` to the simulated server `servers[NAME]`.

    Attributes:
        servers: name → server; may be changed during a run.
        down: names of servers that refuse connections.
        frozen: names of servers that accept requests and never respond.
        sent: name → number of requests.
    """

    def __init__(self, servers: Mapping[str, SimServer]) -> None:
        self.servers = dict(servers)
        self.down: set[str] = set()
        self.frozen: set[str] = set()
        self.sent = dict.fromkeys(servers, 0)
        self._active_tasks: dict[str, set[asyncio.Task[Any]]] = {name: set() for name in servers}
        self._broken: dict[asyncio.Task[Any], TransportError] = {}

    def __repr__(self) -> str:
        return f"<InProcessTransport {self.servers}>"

    def kill(self, name: str) -> None:
        """Stop a server: it refuses new connections, and open ones are lost."""
        self.down.add(name)
        for task in self._active_tasks[name]:
            self._break(task, ConnectionLost("the connection was lost"))

    def _break(self, task: asyncio.Task[Any], error: TransportError) -> None:
        self._broken[task] = error
        task.cancel()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request to its server."""
        url = urlsplit(request.url)
        name = url.hostname or ""
        self.sent[name] += 1
        if name in self.down:
            raise ConnectError("connection failed: refused")
        task = asyncio.current_task()
        assert task is not None
        timer = asyncio.get_running_loop().call_later(
            request.timeout, self._break, task, AttemptTimeout(f"no complete response within {request.timeout:g} s")
        )
        self._active_tasks[name].add(task)
        try:
            if name in self.frozen:
                await asyncio.get_running_loop().create_future()
            server = self.servers[name]
            reply = await server.reply(request.method, url.path, request.body, _header_lines(request), url.query)
            if reply.stream is not None:
                reply = await _receive(reply, reply.stream, request.on_chunk)
        except asyncio.CancelledError:
            if (error := self._broken.pop(task, None)) is None:
                raise
            task.uncancel()
            raise error from None
        finally:
            timer.cancel()
            self._active_tasks[name].discard(task)
        if not reply.is_complete:
            raise IncompleteResponse("the response ended early")
        headers = {name.decode(): value.decode() for name, value in reply.headers}
        response = HttpResponse(reply.status, reply.body, headers.get)
        return response if reply.stream is not None else deliver(request, response)

    async def close(self) -> None:
        """Do nothing: there are no connections to close."""


def _header_lines(request: HttpRequest) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request. The key is left out: the servers accept every call without a key."""
    return [(name.lower().encode(), value.reveal().encode()) for name, value in request.headers]


async def _receive(
    reply: SimResponse, stream: AsyncIterator[bytes], on_chunk: Callable[[bytes], None] | None
) -> SimResponse:
    """Receive a streamed response. `on_chunk` gets the pieces as they arrive; without it, they are the body."""
    pieces = []
    async for piece in stream:
        if piece == CONNECTION_LOST:
            return reply._replace(is_complete=False)
        if on_chunk is None:
            pieces.append(piece)
        else:
            on_chunk(piece)
    return reply._replace(body=b"".join(pieces))

"""The simulated servers in the same process: the same bytes as over HTTP, without a socket, in virtual time."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from manycall.errors import ConnectionLost, NeverSent, ReplyBroken, TimedOut, TransportError
from manycall.sim.server import Server
from manycall.wire.transport import HttpReply, HttpRequest


class Pool:
    """Servers by name: `http://NAME/v1` is `servers[NAME]`. As a transport it carries requests to them.

    Attributes:
        servers: may be changed while calls are made.
        down: names of those that refuse connections; frozen: of those that take requests and never answer.
        sent: requests that went to each.
    """

    def __init__(self, servers: Mapping[str, Server]) -> None:
        self.servers = dict(servers)
        self.down: set[str] = set()
        self.frozen: set[str] = set()
        self.sent = dict.fromkeys(servers, 0)
        self._asking: dict[str, set[asyncio.Task[Any]]] = {name: set() for name in servers}
        self._broken: dict[asyncio.Task[Any], TransportError] = {}

    def __repr__(self) -> str:
        return f"<Pool {self.servers}>"

    def kill(self, name: str) -> None:
        """The server is gone: it refuses connections, and those that it had are lost."""
        self.down.add(name)
        for task in self._asking[name]:
            self._break(task, ConnectionLost("the connection was lost"))

    def _break(self, task: asyncio.Task[Any], error: TransportError) -> None:
        self._broken[task] = error
        task.cancel()

    async def send(self, request: HttpRequest) -> HttpReply:
        """Carry one request."""
        url = urlsplit(request.url)
        name = url.hostname or ""
        self.sent[name] += 1
        if name in self.down:
            raise NeverSent("no connection: refused")
        task = asyncio.current_task()
        assert task is not None
        late = asyncio.get_running_loop().call_later(request.timeout, self._break, task, TimedOut("no reply in time"))
        self._asking[name].add(task)
        try:
            if name in self.frozen:
                await asyncio.get_running_loop().create_future()
            reply = await self.servers[name].reply(request.method, url.path, request.body)
        except asyncio.CancelledError:
            if (error := self._broken.pop(task, None)) is None:
                raise
            task.uncancel()
            raise error from None
        finally:
            late.cancel()
            self._asking[name].discard(task)
        if not reply.whole:
            raise ReplyBroken("the reply broke off")
        return HttpReply(reply.status, reply.body, {name.decode(): value.decode() for name, value in reply.headers}.get)

    async def close(self) -> None:
        """Nothing to let go."""

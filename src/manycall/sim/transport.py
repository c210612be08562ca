"""The simulated servers in the same process: the same bytes as over HTTP, without a socket, in virtual time."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from manycall.errors import ConnectionLost, NeverSent, ReplyBroken, TimedOut
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
        self._died: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<Pool {self.servers}>"

    def kill(self, name: str) -> None:
        """The server is gone: it refuses connections, and those that it had are lost."""
        self.down.add(name)
        for task in self._asking[name]:
            self._died.add(task)
            task.cancel()

    async def send(self, request: HttpRequest) -> HttpReply:
        """Carry one request."""
        url = urlsplit(request.url)
        name = url.hostname or ""
        self.sent[name] += 1
        if name in self.down:
            raise NeverSent("no connection: refused")
        try:
            async with asyncio.timeout(request.timeout):
                if name in self.frozen:
                    await asyncio.get_running_loop().create_future()
                reply = await self._ask(name, request.method, url.path, request.body)
        except TimeoutError:
            raise TimedOut("no whole reply in time") from None
        if not reply.whole:
            raise ReplyBroken("the reply broke off")
        said = {header.decode(): value.decode() for header, value in reply.headers}
        return HttpReply(reply.status, reply.body, said.get)

    async def _ask(self, name: str, method: str, path: str, body: bytes) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._asking[name].add(task)
        try:
            return await self.servers[name].reply(method, path, body)
        except asyncio.CancelledError:
            if task not in self._died:
                raise
            self._died.discard(task)
            task.uncancel()
            raise ConnectionLost("the connection was lost") from None
        finally:
            self._asking[name].discard(task)

    async def close(self) -> None:
        """Nothing to let go."""

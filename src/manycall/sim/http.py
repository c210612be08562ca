"""The simulated server over HTTP, as a plain ASGI app.

`GET /sim/stats` tells what it has done: it is the witness when a run claims to have lost and doubled nothing.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
import uvicorn

from manycall.errors import UsageError
from manycall.sim.model import Behaviour
from manycall.sim.server import Reply, Server

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")


def app(server: Server) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The server, as an ASGI app."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _send(await server.reply(scope["method"], scope["path"], await _body(receive)), send)

    return asgi


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _send(reply: Reply, send: Send) -> None:
    """Send a reply; if it is not to be whole, half of it, after which the server cuts the connection."""
    body = reply.body
    headers = [_JSON, (b"content-length", str(len(body)).encode()), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    part = body if reply.whole else body[: len(body) // 2]
    await send({"type": "http.response.body", "body": part, "more_body": not reply.whole})


def serve(behaviour: Behaviour, key: Mapping[str, str], *, host: str, port: int, until_stdin_closes: bool) -> None:
    """Serve until interrupted, or until standard input closes; print the base URL first, and the stats last.

    Raises:
        UsageError: the port is taken, or is none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", error)
            raise UsageError(f"{host}:{port} cannot be listened on: {why}") from None
        listener.listen(4096)
        port = listener.getsockname()[1]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
        simulated = Server(behaviour, key)
        config = uvicorn.Config(
            app(simulated), log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(_Announced(config, url), listener, until_stdin_closes))
        print(msgspec.json.encode(simulated.report()).decode(), flush=True)


class _Announced(uvicorn.Server):
    """A server that prints its URL only when it accepts connections, so that a reader of the URL can connect."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        try:
            print(self._url, flush=True)
        except OSError:  # the reader is gone, or the disk is full
            await self.shutdown(sockets)
            raise


async def _serve(server: uvicorn.Server, listener: socket.socket, until_stdin_closes: bool) -> None:
    def look() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            server.should_exit = True

    if until_stdin_closes:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), look)
    await server.serve(sockets=[listener])

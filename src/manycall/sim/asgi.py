"""The simulated server over HTTP, as an ASGI app.

`GET /sim/stats` returns what the server has counted. Tests compare it with a run to prove that no call was lost or
repeated.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from manycall.errors import UsageError
from manycall.sim.generated_text import AnswerKey
from manycall.sim.server import SimServer
from manycall.sim.sim_dialects import provider_dialect
from manycall.sim.sim_engine import SimResponse
from manycall.sim.sim_settings import SimSettings
from manycall.sim.sim_stream import CONNECTION_LOST

AsgiScope = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[MutableMapping[str, Any]]]
AsgiSend = Callable[[MutableMapping[str, Any]], Awaitable[None]]
TASK = "manycall.task"
"""Name of the entry of a scope with the task that answers the request."""


def app(server: SimServer) -> Callable[[AsgiScope, AsgiReceive, AsgiSend], Awaitable[None]]:
    """Return the server as an ASGI app."""

    async def asgi(scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> None:
        if scope["type"] == "http":
            scope[TASK] = asyncio.current_task()
            query = scope["query_string"].decode("latin-1")
            body = await _body(receive)
            await _send(await server.reply(scope["method"], scope["path"], body, scope["headers"], query), send)

    return asgi


async def _body(receive: AsgiReceive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _send(reply: SimResponse, send: AsgiSend) -> None:
    """Send a response. Of an incomplete one, send the first half, after which uvicorn closes the connection."""
    if reply.stream is not None:
        await _send_stream(reply, reply.stream, send)
        return
    body = reply.body
    headers = [(b"content-type", reply.content_type), (b"content-length", str(len(body)).encode()), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    part = body if reply.is_complete else body[: len(body) // 2]
    await send({"type": "http.response.body", "body": part, "more_body": not reply.is_complete})


async def _send_stream(reply: SimResponse, stream: AsyncIterator[bytes], send: AsgiSend) -> None:
    """Send a streamed response piece by piece. If it ends with a lost connection, uvicorn closes the connection."""
    headers = [(b"content-type", reply.content_type), (b"cache-control", b"no-cache"), *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    async for piece in stream:
        if piece == CONNECTION_LOST:
            return
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def serve(settings: SimSettings, key: AnswerKey, *, host: str, port: int, until_stdin_closes: bool) -> None:
    """Serve until interrupted or until standard input closes. Print the base URL first and the stats last.

    Raises:
        UsageError: the port is in use or not valid.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", error)
            raise UsageError(f"Cannot listen on {host}:{port}: {reason}.") from None
        listener.listen(4096)
        port = listener.getsockname()[1]
        base_path = provider_dialect(settings.provider).base_paths[0]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}{base_path}"
        simulated = SimServer(settings, key)
        config = uvicorn.Config(
            app(simulated), http=_Connection, log_level="critical", access_log=False, lifespan="off",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(_Announced(config, url), listener, until_stdin_closes))
        print(msgspec.json.encode(simulated.stats()).decode(), flush=True)


class _Connection(HttpToolsProtocol):
    """Cancels the answer of a client that has closed its connection, so that its slot is free.

    A task for each call that waits for `http.disconnect` would cost about 15 % more CPU.
    """

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        task = None if self.cycle is None else self.cycle.scope.get(TASK)
        if isinstance(task, asyncio.Task):
            task.cancel()


class _Announced(uvicorn.Server):
    """Prints its URL as soon as it accepts connections, so that a reader of the URL can connect at once."""

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
    def exit_at_end_of_input() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            server.should_exit = True

    if until_stdin_closes:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), exit_at_end_of_input)
    await server.serve(sockets=[listener])

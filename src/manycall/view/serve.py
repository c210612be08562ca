"""A request's way through the page's server: access rules, static file or route, reply. Plain ASGI.

A route may read a large file, so it runs in one of a few threads. A streamed reply ends when its client disconnects.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from manycall.errors import ManycallError
from manycall.view.access import API, SECURITY_HEADERS, request_refusal
from manycall.view.replies import PageReply, StreamedReply, ViewRefused, error_reply
from manycall.view.routes import ViewRoutes
from manycall.view.view_context import Answer

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
THREADS = 8


class ViewApp:
    """The page's server as an ASGI app.

    Args:
        routes: answers requests below /api/.
        statics: reply of each other path.
        token: the token that requests below /api/ must carry.
    """

    def __init__(self, routes: ViewRoutes, statics: Mapping[str, PageReply], token: str) -> None:
        self._routes, self._statics, self._token = routes, statics, token
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="view")

    def prepare(self) -> None:
        """Read the list of runs in a thread, while the browser opens the page that will ask for it."""
        self._threads.submit(self._routes.answer, "runs", "")

    def close(self) -> None:
        """End the threads after their current requests, and close all files."""
        self._threads.shutdown()
        self._routes.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope)
            if isinstance(answer, StreamedReply):
                await _send_stream(answer, receive, send)
                return
        except ViewRefused as refused:
            answer = error_reply(refused.status, str(refused), refused.hint)
        except ManycallError as error:  # for example a damaged file
            answer = error_reply(422, str(error))
        except OSError as error:
            answer = error_reply(404, f"{error.filename or 'A file'} cannot be read: {error.strerror}.")
        await _send(answer, send)

    async def _answer(self, scope: Scope) -> Answer:
        method, path = scope["method"], scope["path"]
        if refusal := request_refusal(method, path, _joined(scope["headers"]), self._token):
            return error_reply(*refusal)
        if path.startswith(API):
            query = scope["query_string"].decode("latin-1")
            loop, route = asyncio.get_running_loop(), path.removeprefix(API)
            return await loop.run_in_executor(self._threads, self._routes.answer, route, query)
        return self._statics.get(path) or error_reply(404, "There is no such page.", "The start page is /.")


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers by name. One that occurs twice is joined, so that it equals no single value."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _head(status: int, content_type: str, headers: Mapping[str, str]) -> MutableMapping[str, Any]:
    fields = {**SECURITY_HEADERS, "content-type": content_type, **headers}
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()],
    }


async def _send(reply: PageReply, send: Send) -> None:
    length = {"content-length": str(len(reply.body))}
    await send(_head(reply.status, reply.content_type, {**reply.headers, **length}))
    await send({"type": "http.response.body", "body": reply.body})


async def _send_stream(reply: StreamedReply, receive: Receive, send: Send) -> None:
    """Send the pieces until they end or the client disconnects.

    Raises:
        ViewRefused: the first piece is refused.
    """
    async with aclosing(reply.pieces) as pieces:  # type: ignore[type-var]
        first = await anext(pieces, b"")
        await send(_head(200, reply.content_type, reply.headers))
        await send({"type": "http.response.body", "body": first, "more_body": True})
        sending = asyncio.create_task(_send_pieces(pieces, send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.wait([sending, leaving])


async def _send_pieces(pieces: AsyncIterator[bytes], send: Send) -> None:
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue

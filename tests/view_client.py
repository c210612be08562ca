"""Ask the server of `manycall view` in memory, as a browser would."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from manycall.view.routes import ViewRoutes
from manycall.view.run_list import RunList
from manycall.view.serve import ViewApp
from manycall.view.static_files import page_files, static_replies

TOKEN = "t" * 43
HEADERS = {"host": "127.0.0.1:8398", "authorization": f"Bearer {TOKEN}"}


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ViewClient:
    """A browser with one page."""

    def __init__(self, *paths: Path) -> None:
        self.routes = ViewRoutes(RunList(paths))
        self.app = ViewApp(self.routes, static_replies(page_files()), TOKEN)

    def __enter__(self) -> "ViewClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.app.close()

    def ask(self, path: str, headers: Mapping[str, str] = HEADERS, method: str = "GET") -> Response:
        """Return the complete response. A stream must end by itself."""
        return asyncio.run(self.ask_within(path, headers, method))

    def get(self, path: str) -> Any:
        """Return the JSON of a route that must succeed."""
        response = self.ask(path)
        assert response.status == 200, response.body
        return response.json

    def run_ids(self) -> dict[str, str]:
        """Return the id of each run by name."""
        return {run["name"]: run["id"] for run in self.get("/api/runs")["runs"]}

    async def ask_within(self, path: str, headers: Mapping[str, str], method: str) -> Response:
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            messages.append(message)

        await self.app(request_scope(path, headers, method), receive, send)
        head = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        return Response(messages[0]["status"], head, b"".join(each.get("body", b"") for each in messages[1:]))

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator["asyncio.Queue[bytes]"]:
        """Open a stream; yield a queue of its pieces. The client disconnects at the end."""
        pieces: asyncio.Queue[bytes] = asyncio.Queue()
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                pieces.put_nowait(message["body"])

        task = asyncio.create_task(self.app(request_scope(path, HEADERS, "GET"), receive, send))
        try:
            yield pieces
        finally:
            left.set()
            await task


def request_scope(path: str, headers: Mapping[str, str], method: str) -> dict[str, Any]:
    """Return the scope of a request, as an ASGI server makes it."""
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }

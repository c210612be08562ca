"""Stand-ins at the one seam: transports that answer from a function."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from manycall.wire.transport import HttpReply, HttpRequest

Handler = Callable[[dict[str, Any]], HttpReply | Exception]


def no_header(name: str) -> None:
    """A reply without headers."""


def answer(text: str = "fine", finish_reason: str = "stop", **more: Any) -> HttpReply:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return HttpReply(200, msgspec.json.encode({"choices": [choice], "usage": usage, **more}), no_header)


def refusal(status: int, message: str = "no", code: str = "", headers: Mapping[str, str] | None = None) -> HttpReply:
    """An error, as OpenAI words it."""
    body = msgspec.json.encode({"error": {"message": message, "code": code}})
    return HttpReply(status, body, dict(headers or {}).get)


def asked(body: Mapping[str, Any]) -> str:
    """The text of the last message of a request's body."""
    return str(body["messages"][-1]["content"])


class FakeTransport:
    """Answers each request by a function of its body, after some seconds.

    Attributes:
        log: (second, text of the last message) for each request, as it came in.
        most: the most requests that were ever in flight at once.
    """

    def __init__(self, handler: Handler, seconds: float = 1.0) -> None:
        self._handler = handler
        self._seconds = seconds
        self._in_flight = 0
        self.log: list[tuple[float, str]] = []
        self.requests: list[HttpRequest] = []
        self.most = 0

    async def send(self, request: HttpRequest) -> HttpReply:
        if request.method == "GET":
            return HttpReply(404, b"", no_header)
        body = msgspec.json.decode(request.body)
        self.requests.append(request)
        self.log.append((asyncio.get_running_loop().time(), asked(body) if "messages" in body else ""))
        self._in_flight += 1
        self.most = max(self.most, self._in_flight)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._in_flight -= 1
        reply = self._handler(body)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def close(self) -> None:
        pass

"""Transport without a network, for tests: a function answers the requests."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from manycall.transport.messages import HttpRequest, HttpResponse, deliver, no_header

Handler = Callable[[dict[str, Any]], HttpResponse | Exception | str]
"""Takes a request's body and returns the text of a chat completion, a response, or an exception to raise."""


def chat_response(text: str = "fine", finish_reason: str = "stop", **more: Any) -> HttpResponse:
    """Return a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return HttpResponse(200, msgspec.json.encode({"choices": [choice], "usage": usage, **more}), no_header)


def error_response(
    status: int, message: str = "no", code: str = "", headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """Return an error in OpenAI's format."""
    body = msgspec.json.encode({"error": {"message": message, "code": code}})
    return HttpResponse(status, body, dict(headers or {}).get)


def last_message(body: Mapping[str, Any]) -> str:
    """Return the text of the last message in a request's body."""
    return str(body["messages"][-1]["content"])


class MemoryTransport:
    """Answers each request by calling a handler.

    Args:
        handler: see `Handler`.
        seconds: duration of each call, on the event loop's clock.

    Attributes:
        requests: every POST request.
        log: (time, text of the last message) of each request.
        max_in_flight: the largest number of requests in flight.
    """

    def __init__(self, handler: Handler, seconds: float = 1.0) -> None:
        self._handler = handler
        self._seconds = seconds
        self._in_flight = 0
        self.log: list[tuple[float, str]] = []
        self.requests: list[HttpRequest] = []
        self.max_in_flight = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Answer one request. GET requests (metrics) get status 404."""
        if request.method == "GET":
            return HttpResponse(404, b"", no_header)
        body = msgspec.json.decode(request.body)
        self.requests.append(request)
        self.log.append((asyncio.get_running_loop().time(), last_message(body) if "messages" in body else ""))
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._in_flight -= 1
        reply = self._handler(body)
        if isinstance(reply, Exception):
            raise reply
        return deliver(request, chat_response(reply) if isinstance(reply, str) else reply)

    async def close(self) -> None:
        """Do nothing: there is no connection to close."""

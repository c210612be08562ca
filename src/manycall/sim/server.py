"""The simulated server over HTTP: OpenAI's chat, completions, embeddings and models, as a plain ASGI app.

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

from manycall import clock
from manycall.errors import UsageError
from manycall.sim.model import Behaviour, Model, Quota, token_count

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
_encode = msgspec.json.encode
DIMENSIONS = 8


class Server:
    """One simulated server, as an ASGI app.

    Attributes:
        stats: started (calls that got a slot), finished (answered in full, or cut off after the work was
            done), refused (429), failed (500), dropped, tokens.
    """

    def __init__(self, behaviour: Behaviour, key: Mapping[str, str]) -> None:
        self.model = Model(behaviour, key)
        self._slots = asyncio.Semaphore(behaviour.slots)
        self._quotas = {
            "requests": Quota(behaviour.rpm) if behaviour.rpm else None,
            "tokens": Quota(behaviour.tpm) if behaviour.tpm else None,
        }
        self._ticket = 0
        self.stats = {"started": 0, "finished": 0, "refused": 0, "failed": 0, "dropped": 0, "tokens": 0}

    def __repr__(self) -> str:
        return f"<Server {self.stats}>"

    def report(self) -> dict[str, Any]:
        """What it has done so far."""
        return {**self.stats, "planted": self.model.planted}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/sim/stats":
            await _reply(send, 200, _encode(self.report()))
        elif path == "/v1/models":
            await _reply(send, 200, _encode({"object": "list", "data": [{"id": "sim", "object": "model"}]}))
        elif path in ANSWERS and scope["method"] == "POST":
            await self._call(path, await _body(receive), send)
        else:
            await _reply(send, 404, _error("not_found", f"there is nothing at {path}"))

    async def _call(self, path: str, body: bytes, send: Send) -> None:
        try:
            asked = msgspec.json.decode(body, type=dict[str, Any])
            prompt = _prompt(path, asked)
        except (msgspec.MsgspecError, KeyError, TypeError, IndexError, UnicodeDecodeError) as error:
            await _reply(send, 400, _error("invalid_request_error", f"not a request: {error}"))
            return
        if (refusal := self._refusal(asked, prompt)) is not None:
            self.stats["refused"] += 1
            await _reply(send, 429, _error("rate_limit_exceeded", "too many for now"), refusal)
            return
        self._ticket += 1
        ticket = self._ticket
        async with self._slots:
            self.stats["started"] += 1
            fault = self.model.fault(ticket)
            if fault == "error":
                self.stats["failed"] += 1
                await _reply(send, 500, _error("server_error", "a fault, as ordered"))
                return
            answer = self.model.answer(prompt, asked)
            if (seconds := self.model.seconds(answer, ticket)) > 0:
                await clock.sleep(seconds)
        used = {"prompt_tokens": token_count(prompt), "completion_tokens": answer.tokens}
        used["total_tokens"] = sum(used.values())
        self.stats["finished"] += 1
        self.stats["tokens"] += used["total_tokens"]
        self.stats["dropped"] += fault == "drop"
        reply = {"id": f"sim-{ticket}", "model": asked.get("model", "sim"), "usage": used}
        body = _encode({**reply, **ANSWERS[path](self.model, asked, answer)})
        await _reply(send, 200, body, self._limits(), whole=fault != "drop")

    def _refusal(self, asked: Mapping[str, Any], prompt: str) -> Headers | None:
        """None if the quotas let the call in; otherwise the headers of its 429."""
        costs = {"requests": 1.0, "tokens": token_count(prompt) + float(asked.get("max_tokens") or 16)}
        now = clock.now()
        for name, quota in self._quotas.items():
            if quota is not None and (wait := quota.take(costs[name], now)) > 0:
                ms = str(int(wait * 1000) + 1).encode()
                seconds = str(int(wait) + 1).encode()
                return [(b"retry-after-ms", ms), (b"retry-after", seconds), *self._limits()]
        return None

    def _limits(self) -> Headers:
        """OpenAI's headers for the quotas there are."""
        headers: Headers = []
        for name, quota in self._quotas.items():
            if quota is not None:
                headers.append((f"x-ratelimit-limit-{name}".encode(), str(int(quota.per_minute)).encode()))
                headers.append((f"x-ratelimit-remaining-{name}".encode(), str(quota.left).encode()))
        return headers


def _prompt(path: str, asked: Mapping[str, Any]) -> str:
    if path == "/v1/chat/completions":
        return "\n\n".join(str(message["content"]) for message in asked["messages"])
    asked_for = asked["prompt" if path == "/v1/completions" else "input"]
    return str(asked_for[0] if isinstance(asked_for, list) else asked_for)


def _chat(model: Model, asked: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return {"object": "chat.completion", "choices": [choice]}


def _completion(model: Model, asked: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    choice = {"index": 0, "text": answer.text, "finish_reason": answer.finish_reason}
    return {"object": "text_completion", "choices": [choice]}


def _embeddings(model: Model, asked: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [
        {"object": "embedding", "index": i, "embedding": [model.draw("vector", text, d) for d in range(DIMENSIONS)]}
        for i, text in enumerate(texts)
    ]
    return {"object": "list", "data": data}


ANSWERS: dict[str, Callable[[Model, Mapping[str, Any], Any], dict[str, Any]]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/embeddings": _embeddings,
}


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _reply(send: Send, status: int, body: bytes, headers: Headers | None = None, whole: bool = True) -> None:
    """Send a reply; if it is not to be whole, half of it, after which the server cuts the connection."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *(headers or [])]})
    await send(
        {"type": "http.response.body", "body": body if whole else body[: len(body) // 2], "more_body": not whole}
    )


def _error(code: str, message: str) -> bytes:
    return _encode({"error": {"message": message, "type": code, "code": code}})


def serve(behaviour: Behaviour, key: Mapping[str, str], *, host: str, port: int, until_stdin_closes: bool) -> None:
    """Serve until interrupted, or until standard input closes; print the base URL first, and the stats last.

    Raises:
        UsageError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise UsageError(f"{host}:{port} cannot be listened on: {error.strerror}") from None
        listener.listen(4096)
        port = listener.getsockname()[1]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1", flush=True)
        app = Server(behaviour, key)
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(uvicorn.Server(config), listener, until_stdin_closes))
        print(_encode(app.report()).decode(), flush=True)


async def _serve(server: uvicorn.Server, listener: socket.socket, until_stdin_closes: bool) -> None:
    def look() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            server.should_exit = True

    if until_stdin_closes:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), look)
    await server.serve(sockets=[listener])

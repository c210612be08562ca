"""Simulated providers over real HTTP, in this process, for the SDKs of the providers."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from manycall.sim.asgi import app
from manycall.sim.server import SimServer
from manycall.sim.sim_dialects import DIALECTS
from manycall.sim.sim_settings import SimSettings

CHAT_PROVIDERS = [
    name for name, dialect in DIALECTS.items() if name != "generic" and {"chat", "azure"} & set(dialect.apis)
]
THINKERS = {
    "openai": "gpt-5-mini",
    "azure": "gpt-5-mini",
    "azure_v1": "gpt-5-mini",
    "anthropic": "claude-sonnet-9",
    "gemini": "gemini-3-pro",
    "gemini_openai": "gemini-3-pro",
    "dashscope": "qwen-plus",
    "zhipu": "glm-5",
    "moonshot": "kimi-k3",
    "ark": "doubao-seed-2",
    "minimax": "MiniMax-M2",
    "openrouter": "owner/model",
    "groq": "openai/gpt-oss-120b",
    "mistral": "magistral-small",
    "xai": "grok-4",
}
"""A model that thinks, of the providers whose models do not all think."""


@contextmanager
def serving(key: Mapping[str, str] | None = None, **settings: Any) -> Iterator[str]:
    """Serve a simulated provider in a thread, and yield the address without a path."""
    given = {"latency": 0.0, "token_latency": 0.0, **settings}
    server = uvicorn.Server(
        uvicorn.Config(app(SimServer(SimSettings(**given), key or {})), log_level="critical", lifespan="off")
    )
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        for _ in range(1000):
            if server.started:
                break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def base_url(provider: str, **settings: Any) -> Iterator[str]:
    """As `serving`, but yield the base URL of the provider."""
    with serving(provider=provider, **settings) as origin:
        yield origin + DIALECTS[provider].base_paths[0]


def post(url: str, body: Any, **headers: str) -> tuple[int, str, bytes]:
    """Return (status, content type, body) of a request; of a response that breaks off, what was received."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", f"{parts.path}?{parts.query}", json.dumps(body), named)
    reply = connection.getresponse()
    try:
        data = reply.read()
    except IncompleteRead as error:
        data = error.partial
    connection.close()
    return reply.status, reply.getheader("content-type", ""), data

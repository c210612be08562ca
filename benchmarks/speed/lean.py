"""A minimal endpoint: 25,000 answers per second or more on one core, immediately or after a delay.

    python lean.py [--delay SECONDS]

Each answer contains its number, so that no two answers are equal. Prints the base URL, then `first` and the time of
the first call (`time.monotonic`, which all processes share). Ends when its standard input closes.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from typing import cast

import uvloop

SENTENCES = "The quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 6  # prose: ok


def answer(unique: str) -> str:
    """Return an answer of about 1 KB that contains a unique text of 32 characters.

    It includes `usage` and `finish_reason`, because some clients treat their absence as a failure.
    """
    message = {"role": "assistant", "content": f"{SENTENCES}Number {unique}. {SENTENCES}"}
    body = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "mock",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 160, "total_tokens": 360},
    }
    return json.dumps(body, separators=(",", ":"))


def reply(status: str, body: str) -> bytes:
    """Return a complete HTTP response."""
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


UNIQUE = "0" * 32
BEFORE, AFTER = reply("200 OK", answer(UNIQUE)).split(UNIQUE.encode())
ABSENT = reply("404 Not Found", "{}")


class Connection(asyncio.Protocol):
    """One connection that answers every complete request. Requests must have a Content-Length."""

    answered = 0

    def __init__(self, delay: float) -> None:
        self.delay, self.pending = delay, b""
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are not instances of it

    def data_received(self, data: bytes) -> None:
        self.pending = data = self.pending + data if self.pending else data
        while (head := data.find(b"\r\n\r\n")) >= 0:
            at = data[:head].lower().find(b"content-length:")
            length = int(data[at + 15 : head].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(data) < head + 4 + length:
                break
            self.answer(data.startswith(b"POST"))
            self.pending = data = data[head + 4 + length :]

    def answer(self, is_call: bool) -> None:
        """Answer immediately or after the delay. Other requests than calls, such as `/metrics`, get a 404."""
        if not is_call:
            self.transport.write(ABSENT)
            return
        if not Connection.answered:
            print("first", time.monotonic(), flush=True)
        Connection.answered += 1
        found = b"%s%032x%s" % (BEFORE, Connection.answered, AFTER)
        if self.delay:
            self.loop.call_later(self.delay, self.transport.write, found)
        else:
            self.transport.write(found)


async def serve(delay: float) -> None:
    """Serve until standard input closes."""
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            closed.set()

    loop.add_reader(sys.stdin.fileno(), look)
    server = await loop.create_server(lambda: Connection(delay), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await closed.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0)
    uvloop.run(serve(parser.parse_args().delay))

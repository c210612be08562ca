"""Small real servers on loopback, one behaviour each; for promises that are about sockets."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PIECE = 1 << 16
"""Bytes that are written at once."""


@contextmanager
def serving(connection: Connection, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve every connection by this coroutine, in a thread of its own, over TLS if there is a context; yields the
    base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    up: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await connection(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def main() -> None:
        down = asyncio.Event()
        async with await asyncio.start_server(guarded, sock=listener, ssl=context):
            up.set_result((asyncio.get_running_loop(), down))
            await down.wait()
            for _ in range(3):  # a connection that is being accepted, and is cancelled now, would not be closed
                await asyncio.sleep(0)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    loop, down = up.result(10)
    try:
        host = "127.0.0.1" if context is None else "localhost"
        yield f"http{'s' * (context is not None)}://{host}:{listener.getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join(10)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """(head, body) of one HTTP request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head, await reader.readexactly(length)


def saying(reply: bytes) -> Connection:
    """Read a request, say these bytes, hang up."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for start in range(0, len(reply), PIECE):
            writer.write(reply[start : start + PIECE])
            await writer.drain()

    return connection


def http(status: int, body: bytes, *headers: str) -> bytes:
    """A whole reply that closes the connection."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request and close."""
    await read_request(reader)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request and reset the connection."""
    await read_request(reader)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request and never answer."""
    await read_request(reader)
    await reader.read()


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer without end."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()

"""The connection between a driver and a worker."""

import asyncio
import socket
from contextlib import suppress
from typing import Protocol

HEADER_BYTES = 4


class Link(Protocol):
    """Carries messages both ways. A message may be lost, late or doubled (worker_messages.py)."""

    async def receive(self) -> bytes | None:
        """Wait for the next message. None: the other side is gone."""

    def send(self, message: bytes) -> None:
        """Send a message. Nothing happens if the other side is gone."""

    def close(self) -> None:
        """End the connection."""


class SocketLink:
    """A link over a socket: each message is preceded by its length in four bytes, the most significant byte first.

    Args:
        reader, writer: the streams of the socket.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def __repr__(self) -> str:
        return f"<SocketLink {'closed' if self._writer.is_closing() else 'open'}>"

    async def receive(self) -> bytes | None:
        """Wait for the next message. None: the other side is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(HEADER_BYTES))
            return await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            return None

    def send(self, message: bytes) -> None:
        """Send a message. Nothing happens if the other side is gone."""
        if not self._writer.is_closing():
            with suppress(OSError):
                self._writer.write(len(message).to_bytes(HEADER_BYTES) + message)

    def close(self) -> None:
        """End the connection, after what was sent."""
        with suppress(OSError):
            self._writer.close()


def send_now(connected: socket.socket, message: bytes) -> None:
    """Send a message as `SocketLink` does, blocking, before there is an event loop."""
    with suppress(OSError):
        connected.sendall(len(message).to_bytes(HEADER_BYTES) + message)


def receive_now(connected: socket.socket) -> bytes | None:
    """Receive a message as `SocketLink` does, blocking, before there is an event loop."""
    header = _receive_bytes(connected, HEADER_BYTES)
    return None if header is None else _receive_bytes(connected, int.from_bytes(header))


def _receive_bytes(connected: socket.socket, count: int) -> bytes | None:
    received = bytearray()
    while len(received) < count:
        try:
            piece = connected.recv(count - len(received))
        except OSError:
            return None
        if not piece:
            return None
        received += piece
    return bytes(received)


async def open_socket_link(connected: socket.socket) -> SocketLink:
    """Return a link over a connected socket, which it takes over."""
    return SocketLink(*await asyncio.open_connection(sock=connected))

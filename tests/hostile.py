"""Servers that lie, stall, flood or break off: one small behaviour each, on loopback."""

import asyncio
import gzip
import socket
import ssl
import struct
import subprocess
import zlib
from base64 import b64decode
from itertools import count
from pathlib import Path

from servers import PIECE, Connection, http, read_request, saying

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
FINE = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"fine"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}'
)
DEEP = 10**6
"""Brackets, digits or values: more than any reader should follow."""


def chat(content: bytes, more: bytes = b"", finish: bytes = b'"stop"') -> bytes:
    """A chat completion, of pieces of JSON that may be none."""
    return b'{"choices":[{"message":{"content":' + content + b'},"finish_reason":' + finish + b"}]" + more + b"}"


def answering(status: int, body: bytes = b"", *headers: str) -> Connection:
    """This reply to every request."""
    return saying(http(status, body, *headers))


def at_first(fault: Connection, times: int = 1) -> Connection:
    """So many connections meet the fault; the others are answered well."""
    number = count()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(number) < times:
            await fault(reader, writer)
        else:
            await read_request(reader)
            writer.write(http(200, FINE))
            await writer.drain()

    return connection


async def reset_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def half_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request, close the way back, and go on listening."""
    await read_request(reader)
    writer.write_eof()
    await reader.read()


async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept, and never say a word: no answer, no handshake."""
    await reader.read()


def stopping_after(reply: bytes) -> Connection:
    """Read a request, say so much, and then nothing for ever."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply)
        await reader.read()

    return connection


def without_end(head: bytes, piece: bytes, pause: float = 0.0) -> Connection:
    """Read a request, say the head, and then this piece for ever."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return connection


ENDLESS = without_end(CHUNKED, b"10000\r\n" + 65_536 * b" " + b"\r\n")
TEN_GB = without_end(OK + b"content-length: 10000000000\r\n\r\n", 65_536 * b" ")


def blank_lines(seconds: float) -> Connection:
    """Blank lines for so long, then the answer, as DeepSeek and OpenRouter do when they are busy."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(CHUNKED)
        for _ in range(round(seconds / 0.02)):
            writer.write(b"1\r\n\n\r\n")
            await asyncio.sleep(0.02)
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(FINE), FINE))
        await writer.drain()

    return connection


def blurting(reply: bytes) -> Connection:
    """Say this to whatever comes: a handshake, a CONNECT."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(PIECE)
        writer.write(reply)
        await writer.drain()

    return connection


async def tls_alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse the version of TLS, as servers do that know old ones only (RFC 8446 §6.2)."""
    await reader.read(1)
    writer.write(b"\x15\x03\x01\x00\x02\x02\x46")
    await reader.read()


def gzip_bomb() -> bytes:
    """100 MB of zeros, packed."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join([*(packer.compress(bytes(1_000_000)) for _ in range(100)), packer.flush()])


def zstd_bomb() -> bytes:
    """The same in 3 kB: blocks of one byte, repeated 128 KiB times (RFC 8878 §3.1.1.2)."""
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"0"
    last = struct.pack("<I", 1 << 3 | 1 << 1 | 1)[:3] + b"0"
    return b"\x28\xb5\x2f\xfd\x00\x70" + 800 * block + last


BROTLI_BOMB = b64decode(
    "y///P/gnAOKxQCD3/o///3/wTwDEYRGA7v0f////4J8AiMMCAN37P/7//8E/ARCHBQC693/8//+DfwIgDgsAdO//+P//B/8EQBwW"
    "AOje//H//w/+CYA4LADQvf/j//8f/BMAcVgAoHv/x///P/gnAOKwAED3/o///3/wTwDEYQGA7v0f////4J8AiMMCAN37v/wHr8M/"
    "ARCHBQC62HU="
)
"""The same in 158 bytes."""

BOMBS = {
    "gzip": gzip_bomb(),
    "deflate": zlib.compress(bytes(100_000_000), 9),
    "zstd": zstd_bomb(),
    "br": BROTLI_BOMB,
    "gzip, gzip": gzip.compress(gzip_bomb()),
}


def packed(encoding: str, body: bytes) -> bytes:
    """A reply in this encoding."""
    return http(200, body, f"content-encoding: {encoding}")


class Certificates:
    """Certificates made by the `openssl` command, all signed by one authority of our own.

    Attributes:
        authority: the file to be trusted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = folder / "ca.pem"
        self._openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN=tests")
        self._openssl("req -newkey rsa:2048 -nodes -keyout key.pem -out csr.pem -subj /CN=localhost")

    def context(self, name: str = "localhost", days: int = 3650, *, self_signed: bool = False) -> ssl.SSLContext:
        """A server that is called so; valid for so many days (below 0: expired)."""
        (self._folder / "names").write_text(f"subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\n")
        signer = "-signkey key.pem" if self_signed else "-CA ca.pem -CAkey ca.key -CAcreateserial"
        self._openssl(f"x509 -req -in csr.pem {signer} -days {days} -extfile names -out cert.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "cert.pem", self._folder / "key.pem")
        return context

    def _openssl(self, words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=self._folder, check=True, capture_output=True, timeout=60)

"""Connections of HTTP without TLS: which ones are used again or closed, and how responses are assembled."""

import asyncio
import gc
import gzip
import socket
import sys
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from manycall import errors
from manycall.providers.provider import BEARER
from manycall.records import Secret
from manycall.transport import server_connections
from manycall.transport.connection import MAX_HEAD_BYTES, Connection, find_header
from manycall.transport.http import HttpTransport, transport_class
from manycall.transport.http_library import LibraryTransport
from manycall.transport.messages import HttpRequest
from manycall.transport.plain_http import PlainTransport, encode_head
from servers import hang_up, http, read_request, saying, serving, silence

LONG = bytes(range(256)) * 4000
HI = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def run(use: Callable[[HttpTransport], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        transport = HttpTransport(**options)
        try:
            await use(transport)
        finally:
            await transport.close()

    asyncio.run(asyncio.wait_for(main(), 20))


class Counted:
    """A server that answers each request, and counts its connections, and those that the client has closed."""

    def __init__(self, reply: bytes = HI) -> None:
        self.reply, self.opened, self.closed = reply, 0, 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            while True:
                await read_request(reader)
                writer.write(self.reply)
        finally:
            self.closed += 1


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - the server runs in another thread
        await asyncio.sleep(0.005)


def test_a_cancelled_call_closes_its_connection_so_that_the_server_can_stop() -> None:
    seen: list[str] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        seen.append("request")
        assert await reader.read() == b""
        seen.append("end")

    async def use(transport: HttpTransport) -> None:
        call = asyncio.ensure_future(transport.send(HttpRequest(url, b"{}")))
        await until(lambda: seen == ["request"])
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: seen == ["request", "end"])

    with serving(server) as url:
        run(use)


def test_a_call_that_is_cancelled_when_its_response_has_arrived_leaves_nothing_for_the_next() -> None:
    async def exchange() -> None:
        connection = Connection(lambda _: None, 60.0)
        connection.connection_made(FakeTransport())
        for body in (b"hi", b"no"):
            connection.begin(lambda size: b"", b"", None, 0.0, 60.0)
            connection.data_received(HI.replace(b"hi", body))
            assert connection.is_reusable
        assert connection.take_body() == b"no"

    asyncio.run(exchange())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_server_that_closes_its_side_without_reading_the_request_ends_the_call(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        cast(asyncio.Transport, writer.transport).pause_reading()
        writer.write_eof()
        await asyncio.sleep(20)

    async def use() -> None:
        transport = HttpTransport()
        with pytest.raises(errors.ConnectionLost):
            await asyncio.wait_for(transport.send(HttpRequest(url, b"x" * (64 << 20))), 10)
        await transport.close()

    with serving(server) as url, asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(use())


def test_a_response_that_begins_another_protocol_is_returned_and_logs_nothing() -> None:
    reported: list[dict[str, Any]] = []

    async def use(transport: HttpTransport) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        assert (await transport.send(HttpRequest(url))).status == 101

    with serving(Counted(b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc")) as url:
        run(use)
    assert reported == []


def test_a_status_below_100_is_an_error_at_once() -> None:
    async def use(transport: HttpTransport) -> None:
        with pytest.raises(errors.IncompleteResponse, match="there is no status 0"):
            await transport.send(HttpRequest(url))

    with serving(Counted(HI.replace(b"200", b"000"))) as url:
        run(use)


def test_a_connection_that_was_idle_for_too_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_connections, "POOL_IDLE_SECONDS", 0.05)
    server = Counted()

    async def use(transport: HttpTransport) -> None:
        await transport.send(HttpRequest(url))
        await until(lambda: server.closed == 1)
        await transport.send(HttpRequest(url))

    with serving(server) as url:
        run(use)
    assert server.opened == 2


def test_calls_at_the_same_time_have_connections_of_their_own_and_later_ones_use_them_again() -> None:
    server = Counted()

    async def use(transport: HttpTransport) -> None:
        for _ in range(3):
            await asyncio.gather(*(transport.send(HttpRequest(url)) for _ in range(5)))

    with serving(server) as url:
        run(use)
    assert server.opened == 5


@pytest.mark.parametrize(
    "reply",
    [
        HI + HI.replace(b"hi", b"no"),
        HI + b"HTTP/1.1 2",
        HI + b"\r\nx",
        HI.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
    ],
    ids=["a second response", "the beginning of one", "something", "the server will close it"],
)
def test_a_connection_with_more_than_the_response_is_not_used_again(reply: bytes) -> None:
    server = Counted(reply)

    async def use(transport: HttpTransport) -> None:
        for _ in range(3):
            assert (await transport.send(HttpRequest(url))).body == b"hi"

    with serving(server) as url:
        run(use)
    assert server.opened == 3


def test_a_response_before_the_whole_request_was_sent_counts_and_ends_the_connection() -> None:
    opened = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno")
        await reader.read()

    async def use(transport: HttpTransport) -> None:
        for _ in range(2):
            assert (await transport.send(HttpRequest(url, b"x" * (64 << 20)))).status == 413

    with serving(server) as url:
        run(use)
    assert len(opened) == 2


def test_a_name_is_resolved_once_for_calls_that_begin_together(monkeypatch: pytest.MonkeyPatch) -> None:
    server, asked = Counted(), []
    resolve = asyncio.BaseEventLoop.getaddrinfo

    async def counted(self: asyncio.BaseEventLoop, host: str, port: int, **options: Any) -> Any:
        asked.append(host)
        if host != "gpu1.internal":
            return await resolve(self, host, port, **options)
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", counted)

    async def use(transport: HttpTransport) -> None:
        there = url.replace("127.0.0.1", "gpu1.internal")
        await asyncio.gather(*(transport.send(HttpRequest(there)) for _ in range(9)))

    with serving(server) as url:
        run(use)
    assert asked.count("gpu1.internal") == 1


def test_a_server_that_listens_on_one_address_of_its_name_is_found() -> None:
    async def use(transport: HttpTransport) -> None:
        assert (await transport.send(HttpRequest(url.replace("127.0.0.1", "localhost")))).body == b"hi"

    with serving(Counted()) as url:
        run(use)


def test_an_address_that_does_not_respond_is_left_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_connections, "ADDRESS_SECONDS", 0.05)
    monkeypatch.setattr(server_connections, "RESOLVED_SECONDS", 0.0)
    tried = []
    connect = asyncio.BaseEventLoop.create_connection

    async def resolve(self: asyncio.BaseEventLoop, host: str, port: int, **options: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("192.0.2.1", "127.0.0.1")]

    async def recorded(self: asyncio.BaseEventLoop, kind: Any, host: str, port: int) -> Any:
        tried.append(host)
        if host == "192.0.2.1":
            await asyncio.sleep(60)
        return await connect(self, kind, host, port)

    async def use(transport: HttpTransport) -> None:
        there = url.replace("127.0.0.1", "gpu1.internal")
        for count in (1, 2, 3):  # later calls need further connections
            await asyncio.gather(*(transport.send(HttpRequest(there)) for _ in range(count)))

    with serving(Counted()) as url:
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
        monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", recorded)
        run(use)
    assert tried == ["192.0.2.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"]


def test_a_name_that_cannot_be_resolved_does_not_delay_calls_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = asyncio.BaseEventLoop.getaddrinfo

    async def slow(self: asyncio.BaseEventLoop, host: str, port: int, **options: Any) -> Any:
        if host == "gpu1.internal":
            await asyncio.sleep(60)
        return await resolve(self, host, port, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", slow)

    async def use(transport: HttpTransport) -> None:
        waiting = asyncio.ensure_future(transport.send(HttpRequest("http://gpu1.internal/")))
        await asyncio.sleep(0)
        await asyncio.wait_for(transport.send(HttpRequest(url)), 5)
        waiting.cancel()

    with serving(Counted()) as url:
        run(use)


def test_a_connection_that_was_closed_before_the_request_was_sent_counts_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Connection.connection_made

    def closed(self: Connection, transport: asyncio.BaseTransport) -> None:
        made(self, transport)
        self.abort()

    async def use(transport: HttpTransport) -> None:
        monkeypatch.setattr(Connection, "connection_made", closed)
        with pytest.raises(errors.ConnectError, match="closed the connection"):
            await transport.send(HttpRequest(url))

    with serving(Counted()) as url:
        run(use)


def test_a_transport_that_was_closed_works_in_another_event_loop() -> None:
    transport, server = HttpTransport(), Counted()

    async def use() -> None:
        await asyncio.gather(*(transport.send(HttpRequest(url)) for _ in range(9)))
        with pytest.raises(errors.AttemptTimeout):
            await transport.send(HttpRequest(silent, timeout=0.05))
        await transport.close()

    with serving(server) as url, serving(silence) as silent:
        for _ in range(2):
            asyncio.run(asyncio.wait_for(use(), 5))


def test_sizes_of_chunks_may_be_padded_with_spaces() -> None:
    async def use(transport: HttpTransport) -> None:
        assert (await transport.send(HttpRequest(url))).body == b"hi"

    with serving(Counted(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2  \r\nhi\r\n0  \r\n\r\n")) as url:
        run(use)


def test_a_compressed_stream_is_refused_because_its_size_would_have_no_limit() -> None:
    async def use(transport: HttpTransport) -> None:
        with pytest.raises(errors.IncompleteResponse, match="the stream is compressed"):
            await transport.send(HttpRequest(url, on_chunk=lambda _: None))

    with serving(Counted(http(200, b"hi", "content-encoding: gzip"))) as url:
        run(use)


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (http(200, gzip.compress(b"one") + gzip.compress(b"two"), "content-encoding: gzip"), b"onetwo"),
        (http(200, gzip.compress(LONG) + gzip.compress(LONG), "content-encoding: gzip"), LONG + LONG),
        (http(200, gzip.compress(b"one") + b"\0" * 20, "content-encoding: gzip"), b"one"),
        (http(200, gzip.compress(b"one"), "Content-Encoding: GZIP"), b"one"),
        (http(200, gzip.compress(b"one"), "content-encoding: x-gzip"), b"one"),
        (http(200, zlib.compress(b"one"), "content-encoding: deflate"), b"one"),
        (http(200, b"", "content-encoding: gzip"), b""),
        (b"HTTP/1.1 204 X\r\ncontent-encoding: gzip\r\n\r\n", b""),
    ],
    ids=["two members", "two long ones", "padding", "upper case", "old name", "deflate", "empty", "none"],
)
def test_a_compressed_body_is_complete(reply: bytes, body: bytes) -> None:
    async def use(transport: HttpTransport) -> None:
        assert (await transport.send(HttpRequest(url))).body == body

    with serving(Counted(reply)) as url:
        run(use)


def test_a_million_empty_members_do_not_stop_the_event_loop() -> None:
    async def use(transport: HttpTransport) -> None:
        with pytest.raises(errors.ResponseTooLarge):
            await transport.send(HttpRequest(url))

    with serving(Counted(http(200, gzip.compress(b"") * 700_000, "content-encoding: gzip"))) as url:
        run(use)


@pytest.mark.parametrize("cut", [1, 15])
def test_a_second_member_that_is_cut_off_is_an_error(cut: int) -> None:
    data = gzip.compress(b"one") + gzip.compress(b"two")[:-cut]

    async def use(transport: HttpTransport) -> None:
        with pytest.raises(errors.IncompleteResponse):
            await transport.send(HttpRequest(url))

    with serving(Counted(http(200, data, "content-encoding: gzip"))) as url:
        run(use)


def test_a_call_that_waits_for_memory_ends_at_its_own_timeout() -> None:
    began = b"HTTP/1.1 200 OK\r\ncontent-length: 12000000\r\n\r\n" + bytes(11_999_999)

    async def use(transport: HttpTransport) -> None:
        first = asyncio.ensure_future(transport.send(HttpRequest(url, timeout=15.0)))
        await asyncio.sleep(0.3)
        with pytest.raises(errors.AttemptTimeout):
            await asyncio.wait_for(transport.send(HttpRequest(url, timeout=0.3)), 5)
        first.cancel()

    with serving(Counted(began)) as url:
        run(use)


@pytest.mark.parametrize("server", [hang_up, silence, saying(b"what?\r\n")], ids=["lost", "timeout", "not HTTP"])
def test_the_request_of_a_failed_call_is_freed_without_the_garbage_collector(server: Any) -> None:
    async def use(transport: HttpTransport) -> None:
        body = bytes(1000)
        references = sys.getrefcount(body)
        with suppress(errors.TransportError):
            await transport.send(HttpRequest(url, body, timeout=0.2))
        await asyncio.sleep(0.05)
        assert sys.getrefcount(body) == references

    gc.disable()
    try:
        with serving(server) as url:
            run(use)
    finally:
        gc.enable()


class FakeTransport(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.is_aborted = b"", False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_aborted

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None:
        self.is_aborted = True


BODIES = st.binary(max_size=300)


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces if each) + b"0\r\n\r\n"


@given(st.data(), st.lists(BODIES, max_size=4), st.sampled_from([200, 404, 500]), st.booleans(), st.booleans())
def test_a_response_may_be_cut_anywhere(
    data: st.DataObject, pieces: list[bytes], status: int, is_chunked: bool, has_interim: bool
) -> None:
    body = b"".join(pieces)
    framing = b"transfer-encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
    response = b"HTTP/1.1 %d X\r\nx-A: b\r\n%b\r\n\r\n%b" % (status, framing, chunked(pieces) if is_chunked else body)
    if has_interim:
        response = b"HTTP/1.1 103 Early\r\nx-a: early\r\n\r\n" + response
    cuts = sorted(data.draw(st.lists(st.integers(0, len(response)), max_size=6)))

    async def exchange() -> None:
        connection, transport = Connection(lambda _: None, 60.0), FakeTransport()
        connection.connection_made(transport)
        for _ in range(2):  # the parser starts again with each response
            news = connection.begin(lambda size: b"POST %d " % size, b"{}", None, 0.0, 60.0)
            for start, end in zip([0, *cuts], [*cuts, len(response)], strict=True):
                if start < end:
                    assert not connection.is_complete
                    connection.data_received(response[start:end])
            assert news.done()
            assert connection.is_complete
            assert connection.is_reusable
            assert (connection.status, connection.take_body()) == (status, body)
            assert find_header(connection.head, "X-a") == "b"
        assert transport.written == 2 * b"POST 2 {}"

    asyncio.run(exchange())


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=5))
def test_no_bytes_of_a_server_raise_anything_in_the_event_loop(rest: bytes, cuts: list[int]) -> None:
    async def exchange() -> None:
        connection = Connection(lambda _: None, 60.0)
        connection.connection_made(FakeTransport())
        connection.begin(lambda size: b"", b"", None, 0.0, 60.0)
        text = b"HTTP/1.1 200 OK\r\n" + rest
        start = 0
        for size in [*cuts, len(text)]:
            connection.data_received(text[start : start + size])
            start += size
        connection.connection_lost(None)
        error = connection.error
        assert connection.is_complete or isinstance(error, errors.ConnectionLost | errors.IncompleteResponse)

    asyncio.run(exchange())


def test_a_head_is_limited() -> None:
    async def exchange() -> None:
        connection = Connection(lambda _: None, 60.0)
        connection.connection_made(FakeTransport())
        connection.begin(lambda size: b"", b"", None, 0.0, 60.0)
        sent = 0
        while connection.error is None:
            connection.data_received(b"HTTP/1.1 200 OK\r\n" if not sent else b"x: " + b"a" * 995 + b"\r\n")
            sent += 1000
        assert sent < MAX_HEAD_BYTES + 2000
        assert "the head is too large" in str(connection.error)

    asyncio.run(exchange())


def head(url: str, **more: Any) -> str:
    return encode_head(HttpRequest(url, **more))[2](7).decode()


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("http://gpu1:8000/v1/chat/completions", "POST /v1/chat/completions HTTP/1.1", "gpu1:8000"),
        ("http://gpu1:80", "POST / HTTP/1.1", "gpu1"),
        ("http://[::1]:8/é?a=b c&d=ü", "POST /%C3%A9?a=b%20c&d=%C3%BC HTTP/1.1", "[::1]:8"),
    ],
)
def test_a_head_names_the_path_and_the_host(url: str, line: str, host: str) -> None:
    first, second, *rest = head(url).split("\r\n")
    assert (first, second) == (line, f"host: {host}")
    assert rest[-3:] == ["content-length: 7", "", ""]


def test_the_key_and_the_headers_of_the_user_are_in_the_head() -> None:
    text = head("http://h", key=Secret("sk-1"), headers=(("x-team", Secret("a")),))
    assert f"{BEARER}: Bearer sk-1\r\n" in text
    assert "x-team: a\r\n" in text
    assert "api-key: sk-1\r\n" in head("http://h", key=Secret("sk-1"), key_header="api-key")


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "ü", "\0"])
def test_a_header_that_would_break_the_head_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        head("http://h", headers=(("x-team", Secret(value)),))
    assert "x-team" in str(caught.value)
    assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["x\r\ny", "x: y", "", "ü", "\udc80"])
def test_a_name_that_would_break_the_head_is_refused(name: str) -> None:
    for more in ({"headers": ((name, Secret("a")),)}, {"key_header": name}):
        with pytest.raises(errors.UsageError, match="is not the name of a header"):
            head("http://h", key=Secret("sk-1"), **more)


def test_a_header_of_the_user_replaces_the_default() -> None:
    text = head("http://h", headers=(("User-Agent", Secret("mine")),))
    assert "User-Agent: mine\r\n" in text
    assert "manycall" not in text


def test_a_query_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(errors.UsageError, match="The URL is not valid"):
        head("http://h/v1?a=\udc80")


def test_no_variable_of_a_traceback_contains_the_key_if_sending_fails() -> None:
    class Failing(FakeTransport):
        def write(self, data: Any) -> None:
            raise MemoryError

    async def exchange() -> None:
        connection = Connection(lambda _: None, 60.0)
        connection.connection_made(Failing())
        encode = encode_head(HttpRequest("http://h", key=Secret("CANARY")))[2]
        with pytest.raises(MemoryError) as caught:
            connection.begin(encode, b"", None, 0.0, 60.0)
        assert "CANARY" not in repr([each.frame.f_locals for each in caught.traceback[1:]])

    asyncio.run(exchange())


@pytest.mark.parametrize(
    ("url", "variables", "kind"),
    [
        ("http://gpu1:8000/v1", {}, PlainTransport),
        ("http://gpu1:8000/v1", {"https_proxy": "http://proxy"}, PlainTransport),
        ("http://gpu1:8000/v1", {"http_proxy": "http://proxy"}, LibraryTransport),
        ("http://gpu1:8000/v1", {"ALL_PROXY": "socks5://proxy"}, LibraryTransport),
        ("http://127.0.0.1:8000/v1", {"HTTP_PROXY": "http://proxy"}, PlainTransport),
        ("HTTP://localhost/v1?a=b", {"HTTP_PROXY": "http://proxy"}, PlainTransport),
        ("https://localhost/v1", {}, LibraryTransport),
    ],
)
def test_what_needs_tls_or_a_proxy_goes_through_the_http_library(
    url: str, variables: dict[str, str], kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert transport_class(url) is cast(Any, kind)

import asyncio
import gzip
import inspect

import pytest
from pyreqwest import exceptions as http_errors

import manycall.transport.http
from manycall import errors
from manycall.records import Secret
from manycall.transport.body_memory import BodyMemoryLimit
from manycall.transport.http import HttpTransport
from manycall.transport.http_library import LibraryTransport, map_error
from manycall.transport.messages import HttpRequest, HttpResponse
from manycall.transport.plain_http import PlainTransport
from servers import Connection, flood, hang_up, http, read_request, reset, saying, serving, silence


@pytest.fixture(params=[PlainTransport, LibraryTransport], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each promise holds for both ways of sending."""
    monkeypatch.setattr(manycall.transport.http, "transport_class", lambda url: request.param)


def send(url: str, *, timeout: float = 20.0, key: Secret | None = None, most: int = 100_000) -> HttpResponse:
    async def once() -> HttpResponse:
        transport = HttpTransport(max_body_bytes=most)
        try:
            return await transport.send(HttpRequest(url, b'{"a":1}', key, timeout))
        finally:
            await transport.close()

    return asyncio.run(once())


def test_a_request_carries_its_body_and_key_and_the_reply_comes_back_whole() -> None:
    seen: list[bytes] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await read_request(reader))
        writer.write(http(429, b"x" * 90_000, "Retry-After: 7"))
        await writer.drain()

    with serving(server) as url:
        reply = send(url + "/chat/completions", key=Secret("sk-1"))
    head, body = seen
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"authorization: bearer sk-1\r\n" in head.lower()
    assert b"content-type: application/json\r\n" in head.lower()
    assert body == b'{"a":1}'
    assert (reply.status, len(reply.body), reply.header("retry-after")) == (429, 90_000, "7")


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("server", "kind"),
    [
        (hang_up, errors.ConnectionLost),
        (reset, errors.ConnectionLost),
        (saying(b"HTTP/1.1 200 OK\r\nConte"), errors.ConnectionLost),
        (saying(OK + b"content-length: 100\r\n\r\nhalf"), errors.IncompleteResponse),
        (saying(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n"), errors.IncompleteResponse),
        (saying(b"what?\r\n\r\n"), errors.IncompleteResponse),
        (saying(OK + b"x: " + b"a" * 1_000_000 + b"\r\n\r\n"), errors.IncompleteResponse),
        (saying(http(200, b"no gzip", "content-encoding: gzip")), errors.IncompleteResponse),
        (saying(http(200, b"x" * 100_001)), errors.ResponseTooLarge),
        (saying(http(200, gzip.compress(b"0" * 10_000_000), "content-encoding: gzip")), errors.ResponseTooLarge),
        (flood, errors.ResponseTooLarge),
    ],
)
def test_a_reply_that_does_not_come_whole_is_perhaps_billed(
    server: Connection, kind: type[errors.TransportError]
) -> None:
    with serving(server) as url, pytest.raises(errors.TransportError) as caught:
        send(url)
    assert type(caught.value) is kind
    assert caught.value.possibly_billed


def test_silence_ends_with_the_requests_own_timeout() -> None:
    with serving(silence) as url, pytest.raises(errors.AttemptTimeout):
        send(url, timeout=0.2)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://nosuch.invalid/v1"])
def test_what_was_never_sent_is_known_not_to_be_billed(url: str) -> None:
    with pytest.raises(errors.ConnectError) as caught:
        send(url)
    assert not caught.value.possibly_billed


@pytest.mark.parametrize(("bypass", "names_it"), [("", True), ("nosuch.invalid", False)])
def test_a_failed_connection_names_the_variable_of_its_proxy(
    bypass: str, names_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manycall.transport.http, "transport_class", lambda url: LibraryTransport)
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", bypass)
    with pytest.raises(errors.ConnectError) as caught:
        send("http://nosuch.invalid/v1")
    assert ("(through the proxy in HTTP_PROXY;" in str(caught.value)) is names_it
    assert "secret" not in str(caught.value)


def test_a_redirect_is_not_followed_so_the_key_stays_home() -> None:
    with serving(saying(http(307, b"", "location: http://127.0.0.1:1/"))) as url:
        assert send(url, key=Secret("sk-1")).status == 307


def test_a_connection_is_used_again() -> None:
    connections = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    async def thrice(url: str) -> None:
        transport = HttpTransport()
        for _ in range(3):
            assert (await transport.send(HttpRequest(url))).body == b"hi"
        await transport.close()

    with serving(server) as url:
        asyncio.run(thrice(url))
    assert len(connections) == 1


def test_every_error_of_the_http_library_has_one_of_ours() -> None:
    kinds = [
        k for _, k in inspect.getmembers(http_errors, inspect.isclass) if issubclass(k, http_errors.PyreqwestError)
    ]
    assert len(kinds) > 15
    for kind in kinds:
        details = {"causes": [{"message": "cause"}], "status": 500, "doc": "", "pos": 0}
        error = kind.__new__(kind)
        vars(error).update(message="message", details=details)
        ours = map_error(error, 600.0)
        expected = errors.UsageError if kind is http_errors.BuilderError else errors.TransportError
        assert isinstance(ours, expected), kind


def test_long_bodies_wait_for_one_another_and_none_is_lost() -> None:
    room, order = BodyMemoryLimit(100), []

    async def read(name: str, pieces: list[int]) -> None:
        size = 0
        for piece in pieces:
            size += piece
            await room.reserve(name, size)
            await asyncio.sleep(0)
        room.release(name)
        order.append(name)

    async def main() -> None:
        await asyncio.gather(read("first", [60, 60, 60, 60]), read("second", [50, 10]), read("third", [10]))
        assert repr(room) == "<BodyMemoryLimit: 0 of 100 bytes held by 0 responses>"

    asyncio.run(asyncio.wait_for(main(), 5))
    assert order[0] == "first"
    assert sorted(order) == ["first", "second", "third"]


def test_a_secret_never_shows_its_text() -> None:
    secret = Secret("sk-1")
    request = HttpRequest("http://h", key=secret)
    assert "sk-1" not in f"{secret} {secret!r} {request!r} {[secret]}"
    with pytest.raises(TypeError):
        secret.__reduce__()

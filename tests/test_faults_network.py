"""Names, certificates, proxies and redirects that lead nowhere, over real sockets."""

import asyncio
import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import hostile
from hostile import (
    FINE,
    Certificates,
    answering,
    blurting,
    tls_alert,
)
from manycall.control import retry
from servers import Connection, http, saying, serving
from trial import TIMEOUT, run


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made by the openssl command, which is not here")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, ""),
        ({"days": -1}, "certificate was rejected: .*Expired"),
        ({"self_signed": True}, "certificate was rejected: .*UnknownIssuer"),
        ({"name": "other.example"}, "certificate was rejected: .*not valid for name"),
    ],
    ids=["trusted", "expired", "self-signed", "another name"],
)
def test_a_certificate_is_trusted_or_the_run_stops(
    options: dict[str, Any], says: str, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with serving(saying(http(200, FINE)), certificates.context(**options)) as url:
        end = run(tmp_path, url, api_key="k")
    if not says:
        assert (len(end.done), end.stopped) == (3, "")
        return
    assert (end.done, end.failed, end.sent, end.in_doubt) == ([], {}, 1, 0)
    assert re.search(says, end.stopped)


NOBODY = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("url", "server", "says"),
    [
        (NOBODY, None, "connection failed: Connection refused"),
        ("http://nosuch.invalid/v1", None, "connection failed: Name or service not known"),
        ("https://localhost", blurting(http(400, b"speak HTTP")), "connection failed: .*InvalidContentType"),
        ("https://localhost", blurting(b""), "connection failed: tls handshake"),
        ("https://localhost", tls_alert, "connection failed: .*ProtocolVersion"),
    ],
    ids=["nobody there", "unknown name", "plain HTTP on a TLS port", "handshake cut off", "old TLS only"],
)
def test_without_a_connection_nothing_is_possibly_billed_and_the_run_stops(
    url: str, server: Connection | None, says: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        if server is not None:
            port = urlsplit(stack.enter_context(serving(server))).port
            url = f"{url}:{port}/v1"
        end = run(tmp_path, url, count=1)
    assert (end.done, end.failed, end.in_doubt) == ([], {}, 0)
    assert end.sent == retry.MAX_ATTEMPTS_NEVER_CONNECTED
    assert re.search(says, end.stopped)
    assert end.seconds < 5


def test_plain_http_to_a_tls_port_ends(certificates: Certificates, tmp_path: Path) -> None:
    with serving(saying(http(200, FINE)), certificates.context()) as url:
        end = run(tmp_path, url.replace("https", "http"))
    assert end.done == []
    assert len(end.failed) == 3
    assert end.seconds < 10


def test_a_handshake_that_never_ends_is_bounded(tmp_path: Path) -> None:
    with serving(hostile.deaf) as url:
        end = run(tmp_path, url.replace("http", "https"), count=1, timeout=TIMEOUT)
    assert "no complete response within" in end.failed["r0"]
    assert end.seconds < 4 * TIMEOUT + 3


def test_a_name_with_several_addresses_is_tried_until_one_answers(tmp_path: Path) -> None:
    """`localhost` may be ::1 first, where nobody is."""
    with serving(saying(http(200, FINE))) as url:
        end = run(tmp_path, url.replace("127.0.0.1", "localhost"))
    assert (len(end.done), end.sent) == (3, 3)


@pytest.mark.parametrize(
    ("scheme", "server", "stops", "says"),
    [
        ("http", blurting(http(407, b"who?")), True, "returned status 407: who?"),
        ("https", blurting(http(407, b"who?")), True, "connection failed: tunnel error: proxy authorization required"),
        ("http", blurting(http(502, b"gone")), False, "returned status 502: gone"),
        ("https", blurting(http(502, b"gone")), True, "connection failed: tunnel error: unsuccessful"),
        ("http", hostile.deaf, False, "no complete response within"),
        ("https", hostile.deaf, False, "no complete response within"),
        ("https", blurting(b"what?\r\n\r\n"), True, "connection failed: tunnel error"),
        ("http", None, True, "connection failed: Connection refused"),
        ("https", None, True, "connection failed: Connection refused"),
    ],
)
def test_a_proxy_that_refuses_hangs_or_is_gone(
    scheme: str, server: Connection | None, stops: bool, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        address = NOBODY if server is None else stack.enter_context(serving(server))
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", address.removesuffix("/v1"))
        end = run(tmp_path, f"{scheme}://nosuch.invalid/v1", count=1, timeout=TIMEOUT)
    assert end.done == []
    assert says in (end.stopped if stops else end.failed["r0"])
    assert end.seconds < 4 * TIMEOUT + 3


@pytest.mark.parametrize("name", ["http://127.0.0.1", "http://localhost"])
def test_this_machine_is_reached_without_a_proxy(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with serving(saying(http(200, FINE))) as url:
        end = run(tmp_path, url.replace("http://127.0.0.1", name))
    assert len(end.done) == 3


def test_a_name_that_only_begins_like_this_machine_goes_by_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(blurting(http(200, FINE))) as url:
        monkeypatch.setenv("HTTP_PROXY", url.removesuffix("/v1"))
        end = run(tmp_path, "http://localhost.invalid/v1")
    assert len(end.done) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_the_key_nowhere(status: int, tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))

    with serving(other) as elsewhere, serving(answering(status, b"", f"location: {elsewhere}")) as url:
        end = run(tmp_path, url, api_key="sk-canary")
    assert elsewhere in end.stopped
    assert (heard, end.sent) == ([], 1)

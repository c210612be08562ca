"""Hostile and broken servers, one row a fault, over real sockets: the verdict, the bill, the time and the memory."""

import asyncio
import gzip
import random
import re
import shutil
import subprocess
import sys
import time
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

import hostile
from fakes import FakeTransport, answer, refusal
from hostile import (
    BOMBS,
    CHUNKED,
    FINE,
    OK,
    Certificates,
    at_first,
    blurting,
    chat,
    packed,
    stopping_after,
    tls_alert,
    without_end,
)
from manycall import errors
from manycall.control import hints, retry
from manycall.data.sources import Source
from manycall.engine.client import Client
from manycall.engine.row import RowCalls
from manycall.engine.scheduler import Scheduler
from manycall.errors import Verdict
from manycall.records import Row
from manycall.sim import virtual
from manycall.store.manifest import Manifest
from manycall.store.run import Run
from servers import Connection, hang_up, http, read_request, reset, saying, serving, silence
from shell import rows

RETRY, GIVE_UP, STOP = Verdict.RETRY, Verdict.GIVE_UP, Verdict.STOP
MEMORY = 128 << 20
"""Bytes by which no fault may raise the memory of a run."""
TIMEOUT, PATIENT = 0.3, 10.0
"""Seconds, where the server lets it pass, and where it does not."""


class AtOnce(random.Random):
    """No jitter, so that retries need not be waited for."""

    def uniform(self, a: float, b: float) -> float:
        return a


class End(NamedTuple):
    """What a run came to. stopped: why it ended early; "" if it did not."""

    done: list[str]
    failed: dict[str, str]
    stopped: str
    sent: int
    in_doubt: int
    seconds: float


def run(folder: Path, url: str, count: int = 3, timeout: float = PATIENT, **options: Any) -> End:
    """Some rows, one call each, one after another."""

    async def ask(row: Row, llm: RowCalls) -> dict[str, Any]:
        return {"text": (await llm.chat(row.id)).text}

    async def main() -> End:
        began, stopped = time.monotonic(), ""
        output = Run(folder / "out.jsonl", Manifest("0", {}))
        client = Client("m", url=url, timeout=timeout, rng=AtOnce(), **{"concurrency": 1, **options})
        try:
            async with client:
                source = Source([{"id": f"r{n}"} for n in range(count)])
                await Scheduler(client, output, ask).run(source.rows(output.known))
        except errors.RunStopped as reason:
            stopped = str(reason)
        finally:
            output.close()
        failures = rows(folder / "out.jsonl.run" / "failures.jsonl")
        done = sorted(row["id"] for row in rows(folder / "out.jsonl") if row["text"])
        c = client.counters
        seconds = time.monotonic() - began
        return End(done, {row["id"]: row["error"] for row in failures}, stopped, c.sent, c.maybe_billed, seconds)

    return asyncio.run(main())


class Fault(NamedTuple):
    """What a server does, and what is promised of it.

    Attributes:
        verdict: of the first call that meets it.
        failure: its kind, which says whether it may have been billed and how often it is tried.
        says: part of the sentence.
    """

    name: str
    server: Connection
    verdict: Verdict
    failure: type[errors.CallFailed]
    says: str

    @property
    def timeout(self) -> float:
        return TIMEOUT if self.failure is errors.TimedOut else PATIENT


def answering(status: int, body: bytes = b"", *headers: str) -> Connection:
    return saying(http(status, body, *headers))


LOST, BROKEN, LATE, BAD = errors.ConnectionLost, errors.ReplyBroken, errors.TimedOut, errors.BadReply
TOO_LONG, EMPTY, REFUSED = errors.TooLong, errors.EmptyAnswer, errors.Refused
NO_ROOM, FILTERED = errors.OutOfTokens, errors.Filtered
ENDLESS = without_end(CHUNKED, b"10000\r\n" + 65_536 * b" " + b"\r\n")
TEN_GB = without_end(OK + b"content-length: 10000000000\r\n\r\n", 65_536 * b" ")
UPGRADE = b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
NO_MONEY = b'{"error":{"code":"insufficient_quota"}}'
ELSEWHERE = "location: http://127.0.0.1:1/"
PROMISED = "not what the API promises"
DEEP = 10**6

FAULTS = [
    Fault(*line)
    for line in (
        # the connection
        ("reset after the request", reset, RETRY, LOST, "connection was lost"),
        ("hang-up", hang_up, RETRY, LOST, "connection was lost"),
        ("half-close", hostile.half_close, RETRY, LOST, "connection was lost"),
        ("hang-up in the headers", saying(OK + b"Conte"), RETRY, LOST, "connection was lost"),
        ("silence", silence, RETRY, LATE, "no whole reply in time"),
        ("silence after the headers", stopping_after(CHUNKED), RETRY, LATE, "no whole reply in time"),
        ("silence in the body", stopping_after(CHUNKED + b'5\r\n{"cho'), RETRY, LATE, "no whole reply in time"),
        # framing
        ("half a body", saying(OK + b"content-length: 500\r\n\r\n" + FINE), RETRY, BROKEN, "broke off"),
        ("content-length too long", stopping_after(http(200, FINE).replace(b": 1", b": 9")), RETRY, LATE, "in time"),
        ("content-length too short", saying(OK + b"content-length: 30\r\n\r\n" + FINE), RETRY, BAD, PROMISED),
        ("content-length negative", saying(OK + b"content-length: -1\r\n\r\n" + FINE), RETRY, BROKEN, "content-length"),
        ("content-length no number", saying(OK + b"content-length: x\r\n\r\n"), RETRY, BROKEN, "content-length"),
        ("two content-lengths", answering(200, FINE, "content-length: 7"), RETRY, BROKEN, "content-length"),
        ("chunks cut off", saying(CHUNKED + b'5\r\n{"cho\r\n'), RETRY, BROKEN, "broke off"),
        ("chunk size no number", saying(CHUNKED + b"zz\r\n{}\r\n"), RETRY, BROKEN, "chunk size"),
        ("chunk size too large", saying(CHUNKED + b"f" * 20 + b"\r\n{}\r\n"), RETRY, BROKEN, "chunk size"),
        ("no HTTP", saying(b"what?\r\n\r\n"), RETRY, BROKEN, "could not be read"),
        ("end in the middle of the JSON", saying(OK + b"\r\n" + FINE[:40]), RETRY, BAD, PROMISED),
        ("gzip that is none", saying(packed("gzip", b"no")), RETRY, BROKEN, "could not be read"),
        ("gzip cut off", saying(packed("gzip", BOMBS["gzip"][:20])), RETRY, BROKEN, "could not be read"),
        # 200, and no answer
        ("error in a 200", answering(200, b'{"error":{"message":"overloaded"}}'), RETRY, BAD, "inside: overloaded"),
        ("HTML", answering(200, b"<html>sign in</html>"), RETRY, BAD, PROMISED),
        ("plain text", answering(200, b"OK"), RETRY, BAD, PROMISED),
        ("empty body", answering(200), RETRY, BAD, PROMISED),
        ("null", answering(200, b"null"), RETRY, BAD, PROMISED),
        ("null content", answering(200, chat(b"null")), RETRY, EMPTY, "is empty"),
        ("empty content", answering(200, chat(b'""')), RETRY, EMPTY, "is empty"),
        ("no choice", answering(200, b'{"choices":[]}'), RETRY, BAD, "no choice"),
        ("choices an object", answering(200, b'{"choices":{}}'), RETRY, BAD, PROMISED),
        ("content a number", answering(200, chat(b"5")), RETRY, BAD, PROMISED),
        ("finish_reason a number", answering(200, chat(b'"x"', finish=b"5")), RETRY, BAD, PROMISED),
        ("NaN", answering(200, chat(b'"x"', b',"usage":NaN')), RETRY, BAD, PROMISED),
        ("lone surrogate", answering(200, chat(b'"\\ud800"')), RETRY, BAD, PROMISED),
        ("invalid UTF-8", answering(200, chat(b'"\xff"')), RETRY, BAD, PROMISED),
        ("UTF-16", answering(200, FINE.decode().encode("utf-16")), RETRY, BAD, PROMISED),
        ("JSON, then more", answering(200, FINE + b"more"), RETRY, BAD, PROMISED),
        ("JSON too deep", answering(200, chat(b'"x"', b',"x":' + DEEP * b"[" + DEEP * b"]")), RETRY, BAD, PROMISED),
        ("events", answering(200, b"data: " + FINE + b"\n\ndata: [DONE]\n\n"), RETRY, BAD, "stream of events"),
        ("events without end", answering(200, b"data: " + FINE + b"\n\n"), RETRY, BAD, "stream of events"),
        ("error in events", answering(200, b'data: {"error":"died"}\n\ndata: [DONE]\n\n'), RETRY, BAD, "died"),
        ("only comments", answering(200, b": keep-alive\n\n" * 9), RETRY, BAD, PROMISED),
        (
            "no text within max_tokens",
            answering(200, chat(b'""', finish=b'"length"')),
            GIVE_UP,
            errors.OutOfTokens,
            "max",
        ),
        (
            "content filter",
            answering(200, chat(b"null", finish=b'"content_filter"')),
            GIVE_UP,
            errors.Filtered,
            "filter",
        ),
        # floods and drips
        ("blank lines for ever", without_end(CHUNKED, b"1\r\n\n\r\n", 0.02), RETRY, LATE, "no whole reply in time"),
        ("a byte now and then", without_end(OK + b"x: ", b"a", 0.02), RETRY, LATE, "no whole reply in time"),
        ("100 Continue for ever", without_end(b"", b"HTTP/1.1 100 X\r\n\r\n", 0.001), RETRY, LATE, "in time"),
        ("a header line without end", without_end(OK + b"x: ", b"a" * 65_536), RETRY, BROKEN, "head is too large"),
        ("headers without end", without_end(OK, b"x: " + b"a" * 60_000 + b"\r\n"), RETRY, BROKEN, "head is too large"),
        ("a status line without end", without_end(OK[:-2], b"a" * 65_536), RETRY, BROKEN, "head is too large"),
        ("trailers without end", without_end(CHUNKED + b"0\r\n", b"x: a\r\n" * 999), RETRY, BROKEN, "trailers"),
        (
            "a body without end",
            without_end(CHUNKED, b"10000\r\n" + 65_536 * b" " + b"\r\n"),
            GIVE_UP,
            TOO_LONG,
            "cut off",
        ),
        (
            "10 GB",
            without_end(OK + b"content-length: 10000000000\r\n\r\n", 65_536 * b" "),
            GIVE_UP,
            TOO_LONG,
            "cut off",
        ),
        *(
            (f"{name} bomb", saying(packed(name, BOMBS[name])), GIVE_UP, TOO_LONG, "cut off")
            for name in ("gzip", "deflate")
        ),
        *(
            (f"{name} bomb", saying(packed(name, BOMBS[name])), RETRY, BAD, PROMISED)  # not asked for, not unpacked
            for name in ("br", "zstd", "gzip, gzip")
        ),
        # refusals
        ("500", answering(500, b"oops"), RETRY, REFUSED, "answered 500: oops"),
        ("502 of a gateway", answering(502, b"<html>Bad\nGateway</html>"), RETRY, REFUSED, "<html>Bad Gateway</html>"),
        ("500 with an endless message", answering(500, b"x" * 9_000_000), RETRY, REFUSED, "answered 500: xxx"),
        ("500 with a deep body", answering(500, b"[" * DEEP), RETRY, REFUSED, "answered 500: [[["),
        ("500 with a huge number", answering(500, b"9" * DEEP), RETRY, REFUSED, "answered 500: 999"),
        ("400", answering(400, b'{"error":{"message":"too long"}}'), GIVE_UP, REFUSED, "answered 400: too long"),
        ("204", answering(204), GIVE_UP, REFUSED, "answered 204"),
        (
            "101",
            saying(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
            GIVE_UP,
            REFUSED,
            "answered 101",
        ),
        ("999", answering(999), RETRY, REFUSED, "answered 999"),
        ("401", answering(401, b"who?"), STOP, REFUSED, "set OPENAI_API_KEY"),
        ("402", answering(402, b"no money"), STOP, REFUSED, "no money"),
        ("403", answering(403, b"not you"), STOP, REFUSED, "not you"),
        ("404", answering(404, b'{"detail":"Not Found"}'), STOP, REFUSED, "Not Found"),
        (
            "no money, as a 429",
            answering(429, NO_MONEY),
            STOP,
            REFUSED,
            "insufficient",
        ),
        *(
            (
                f"{code} redirect",
                answering(code, b"", ELSEWHERE),
                STOP,
                REFUSED,
                "it redirects to",
            )
            for code in (301, 302, 303, 307, 308)
        ),
    )
]
by_name = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@by_name
def test_a_fault_that_passes_costs_what_is_promised_and_no_more(fault: Fault, tmp_path: Path) -> None:
    """The first call meets it; the server is well again at once."""
    with serving(at_first(fault.server)) as url:
        end = run(tmp_path, url, timeout=fault.timeout)
    billed = int(fault.failure.maybe_billed)
    match fault.verdict:
        case Verdict.RETRY:
            assert (end.done, end.failed, end.stopped) == (["r0", "r1", "r2"], {}, "")
            assert (end.sent, end.in_doubt) == (4, billed)
        case Verdict.GIVE_UP:
            assert (end.done, [*end.failed], end.stopped) == (["r1", "r2"], ["r0"], "")
            assert (end.sent, end.in_doubt) == (3, billed)
            assert fault.says in end.failed["r0"]
        case Verdict.STOP:
            assert (end.done, end.failed, end.sent, end.in_doubt) == ([], {}, 1, billed)
            assert fault.says in end.stopped
    assert end.seconds < TIMEOUT + 3


@pytest.mark.parametrize("fault", [one for one in FAULTS if one.verdict is RETRY], ids=lambda fault: fault.name)
def test_a_fault_that_stays_is_the_rows_failure_with_its_reason(fault: Fault, tmp_path: Path) -> None:
    with serving(fault.server) as url:
        end = run(tmp_path, url, count=1, timeout=fault.timeout)
    failure = REFUSED("", status=500) if fault.failure is REFUSED else fault.failure("")
    attempts = retry.rule(failure).attempts
    assert (end.done, [*end.failed], end.stopped) == ([], ["r0"], "")
    assert fault.says in end.failed["r0"]
    assert "\n" not in end.failed["r0"]
    assert len(end.failed["r0"]) < 500
    assert (end.sent, end.in_doubt) == (attempts, attempts * fault.failure.maybe_billed)
    assert end.seconds < attempts * TIMEOUT + 3


def test_a_reset_before_anything_was_read_costs_no_row(tmp_path: Path) -> None:
    """It may or may not be seen before the request is written, so it may or may not be in doubt."""
    with serving(at_first(hostile.reset_at_once, 3)) as url:
        end = run(tmp_path, url)
    assert (end.done, end.failed, end.stopped, end.sent) == (["r0", "r1", "r2"], {}, "", 6)
    assert end.in_doubt <= 3


def test_a_server_that_only_resets_ends_the_run_or_its_rows_soon(tmp_path: Path) -> None:
    with serving(hostile.reset_at_once) as url:
        end = run(tmp_path, url)
    assert end.done == []
    assert end.stopped or len(end.failed) == 3
    assert end.sent <= 3 * retry.GONE.attempts
    assert end.seconds < 5


RIGHT: dict[str, Connection] = {
    "a byte order mark": answering(200, b"\xef\xbb\xbf" + FINE),
    "blank lines around it": answering(200, b"\n\r\n  " + FINE + b"\n\n"),
    "comments before it": answering(200, b": keep-alive\n\n: keep-alive\n\n" + FINE),
    "blank lines while it works": hostile.blank_lines(0.2),
    "HTTP/1.0, ended by the hang-up": saying(b"HTTP/1.0 200 OK\r\n\r\n" + FINE),
    "100 Continue before it": saying(b"HTTP/1.1 100 Continue\r\n\r\n" + http(200, FINE)),
    "the same length twice": answering(200, FINE, f"content-length: {len(FINE)}"),
    "a header that is not ASCII": saying(http(200, FINE).replace(b"close", "close\r\nx: é".encode())),
    "an encoding that is none": answering(200, FINE, "content-encoding: identity"),
    "gzip": saying(packed("gzip", gzip.compress(FINE))),
    "deflate": saying(packed("deflate", zlib.compress(FINE))),
    **{
        f"usage {usage.decode()[:20]}": answering(200, chat(b'"x"', b',"usage":' + usage))
        for usage in (b'"many"', b"[]", b"null", b'{"prompt_tokens":"3"}', b'{"prompt_tokens":1e999}', b"9" * DEEP)
    },
    "usage below nothing": answering(200, chat(b'"x"', b',"usage":{"prompt_tokens":-1e300}')),
    "a huge number elsewhere": answering(200, chat(b'"x"', b',"created":' + b"9" * DEEP)),
    "a key twice": answering(200, b'{"choices":[],' + FINE[1:]),
    "cut by length, with text": answering(200, chat(b'"x"', finish=b'"length"')),
    "a surrogate pair": answering(200, chat(b'"\\ud83d\\ude00"')),
    "control characters": answering(200, chat(b'"\\u0000\\u001b[31m\xef\xbf\xbd"')),
}


@pytest.mark.parametrize("name", RIGHT)
def test_an_odd_reply_that_holds_the_answer_is_an_answer(name: str, tmp_path: Path) -> None:
    with serving(RIGHT[name]) as url:
        end = run(tmp_path, url, count=2)
    assert (end.done, end.failed, end.stopped) == (["r0", "r1"], {}, "")
    assert (end.sent, end.in_doubt) == (2, 0)


@pytest.mark.parametrize(
    "data",
    [b'"abcd"', b"null", b'{"0":1}', b"[NaN]", b"[1e999]", b'["1"]', b"[" + 9_999 * b"9" + b"]", b"[]", b"[null]"],
)
def test_an_embedding_that_is_none_is_no_answer(data: bytes) -> None:
    async def main(url: str) -> None:
        async with Client("m", url=url, rng=AtOnce()) as llm:
            with pytest.raises(errors.BadReply) as caught:
                await llm.embed("text")
            assert (caught.value.attempts, llm.counters.maybe_billed) == (4, 4)

    with serving(answering(200, b'{"data":[{"index":0,"embedding":' + data + b"}]}")) as url:
        asyncio.run(main(url))


# how long it asks us to wait, and how long that is


SPELLINGS = {
    "retry-after: 0.3": 0.3,
    "retry-after-ms: 300": 0.3,
    "x-ms-retry-after-ms: 300": 0.3,
    "llm_provider-retry-after: 0.3": 0.3,
    **{
        f"retry-after: {text}": 0.0
        for text in (
            "0", "-5", "nan", "inf", "soon", "", "1e-300", "0x10", "9" * 400, "\u0663",
            "Thu, 01 Jan 1970 00:00:00 GMT", "Thursday, 01-Jan-70 00:00:00 GMT", "Thu Jan  1 00:00:00 1970",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("said", SPELLINGS)
def test_every_spelling_of_retry_after_is_kept_to_or_does_no_harm(said: str, tmp_path: Path) -> None:
    refusing = saying(http(503, b"busy").replace(b"close", b"close\r\n" + said.encode()))
    with serving(at_first(refusing)) as url:
        end = run(tmp_path, url, count=2)
    assert (end.done, end.failed, end.stopped) == (["r0", "r1"], {}, "")
    assert (end.sent, end.in_doubt) == (3, 0)
    assert SPELLINGS[said] <= end.seconds < SPELLINGS[said] + 3


DATES = ("Thu, 01 Jan 2026 00:00:30 GMT", "Thursday, 01-Jan-26 00:00:30 GMT", "Thu Jan  1 00:00:30 2026")
"""The three formats of HTTP (RFC 9110 §5.6.7)."""


@pytest.mark.parametrize("text", DATES)
def test_every_format_of_a_date_is_understood(text: str) -> None:
    assert hints.retry_after({"retry-after": text}.get, 1_767_225_600.0) == 30


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("40", 40, 50),
        ("-40", 0, 10),
        ("soon", 0, 10),
        ("1e9", 3600, 3610),
        ("Thu, 01 Jan 2999 00:00:00 GMT", 3600, 3610),
    ],
)
def test_who_asks_for_more_than_an_hour_gets_an_hour(status: int, text: str, least: float, most: float) -> None:
    replies = iter([refusal(status, headers={"retry-after": text}), answer()])
    transport = FakeTransport(lambda body: next(replies), seconds=0.0)

    async def main() -> None:
        async with Client("m", url="http://h", transport=transport) as llm:
            await llm.chat("hi")

    virtual.run(main())
    first, second = (at for at, _ in transport.log)
    assert least <= second - first <= most


LIES = {
    "-1": ("-1", "-1", "-1"),
    "0": ("0", "0", "0"),
    "nothing left, for ever": ("600000", "0", "9999h"),
    "nothing left of nobody knows what": ("", "0", "1s"),
    "overflow": ("9" * 400, "9" * 400, "9" * 400),
    "nan": ("nan", "nan", "nan"),
    "garbage": ("{}", "many", "soon"),
    "more left than there is": ("60000", "99999999", "1s"),
    "a limit of a day": ("86400000", "86399999", "23h59m"),
    "a reset in the past": ("60000", "100", "2001-01-01T00:00:00Z"),
}


@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie_of_limits_stop_nothing(lie: str, tmp_path: Path) -> None:
    limit, remaining, reset = LIES[lie]
    headers = [
        f"x-ratelimit-{what}-{unit}: {value}"
        for unit in ("requests", "tokens")
        for what, value in (("limit", limit), ("remaining", remaining), ("reset", reset))
    ]
    with serving(answering(200, FINE, *headers)) as url:
        end = run(tmp_path, url, count=12, concurrency=None, api_key="k")
    assert (len(end.done), end.failed, end.stopped, end.sent) == (12, {}, "", 12)
    assert end.seconds < 5


def test_headers_out_of_order_and_stale_stop_nothing(tmp_path: Path) -> None:
    """Each reply says another number, as several backends behind one name do."""
    left = iter([500, 3, 499, 0, 1, 600, 2, 0] * 9)

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        said = ("x-ratelimit-limit-requests: 60000", f"x-ratelimit-remaining-requests: {next(left)}")
        writer.write(http(200, FINE, *said, "x-ratelimit-reset-requests: 6m0s"))
        await writer.drain()

    with serving(server) as url:
        end = run(tmp_path, url, count=20, concurrency=None, api_key="k")
    assert (len(end.done), end.failed, end.stopped) == (20, {}, "")
    assert end.seconds < 10


# TLS, names, proxies


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made by the openssl command, which is not here")
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, ""),
        ({"days": -1}, "certificate was refused: .*Expired"),
        ({"self_signed": True}, "certificate was refused: .*UnknownIssuer"),
        ({"name": "other.example"}, "certificate was refused: .*not valid for name"),
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
        (NOBODY, None, "no connection: Connection refused"),
        ("http://nosuch.invalid/v1", None, "no connection: failed to lookup address"),
        ("https://localhost", blurting(http(400, b"speak HTTP")), "no connection: .*InvalidContentType"),
        ("https://localhost", blurting(b""), "no connection: tls handshake"),
        ("https://localhost", tls_alert, "no connection: .*ProtocolVersion"),
    ],
    ids=["nobody there", "unknown name", "plain HTTP on a TLS port", "handshake cut off", "old TLS only"],
)
def test_where_no_connection_can_be_made_nothing_is_in_doubt_and_the_run_stops(
    url: str, server: Connection | None, says: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        if server is not None:
            port = urlsplit(stack.enter_context(serving(server))).port
            url = f"{url}:{port}/v1"
        end = run(tmp_path, url, count=1)
    assert (end.done, end.failed, end.in_doubt) == ([], {}, 0)
    assert end.sent == retry.UNREACHED_ATTEMPTS
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
    assert "no whole reply in time" in end.failed["r0"]
    assert end.seconds < 4 * TIMEOUT + 3


def test_a_name_with_several_addresses_is_tried_until_one_answers(tmp_path: Path) -> None:
    """`localhost` may be ::1 first, where nobody is."""
    with serving(saying(http(200, FINE))) as url:
        end = run(tmp_path, url.replace("127.0.0.1", "localhost"))
    assert (len(end.done), end.sent) == (3, 3)


@pytest.mark.parametrize(
    ("scheme", "server", "stops", "says"),
    [
        ("http", blurting(http(407, b"who?")), True, "answered 407: who?"),
        ("https", blurting(http(407, b"who?")), True, "no connection: tunnel error: proxy authorization required"),
        ("http", blurting(http(502, b"gone")), False, "answered 502: gone"),
        ("https", blurting(http(502, b"gone")), True, "no connection: tunnel error: unsuccessful"),
        ("http", hostile.deaf, False, "no whole reply in time"),
        ("https", hostile.deaf, False, "no whole reply in time"),
        ("https", blurting(b"what?\r\n\r\n"), True, "no connection: tunnel error"),
        ("http", None, True, "no connection: Connection refused"),
        ("https", None, True, "no connection: Connection refused"),
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


# memory, over all calls in flight together


HEAVY = {
    "endless": ENDLESS,
    "10 GB": TEN_GB,
    "10 MB, then silence": stopping_after(OK + b"content-length: 20000000\r\n\r\n" + 10_000_000 * b" "),
    "header": without_end(OK + b"x: ", 65_536 * b"a"),
    "headers": without_end(OK, b"x: " + 60_000 * b"a" + b"\r\n"),
    "deep": answering(200, DEEP * 8 * b"["),
    "values": answering(200, b'{"data":[{"embedding":[' + DEEP * 7 * b"0," + b"0]}]}"),
    "choices": answering(200, b'{"choices":[' + DEEP * 5 * b"{}," + b"{}]}"),
    "tool calls": answering(200, chat(b'null,"tool_calls":[' + DEEP * 5 * b"[]," + b"[]]")),
    "refusal": answering(400, b"[" + DEEP * 5 * b"[]," + b"[]]"),
    **{name: saying(packed(name, bomb)) for name, bomb in BOMBS.items()},
}

CALLS = """
import asyncio, random, sys
from manycall import errors
from manycall.engine.client import Client

class AtOnce(random.Random):
    def uniform(self, a, b):
        return a

async def ask(llm, n):
    try:
        await (llm.embed(str(n)) if n % 2 else llm.chat(str(n)))
    except (errors.CallFailed, errors.RunStopped):
        pass

async def main(url):
    async with Client("m", url=url, concurrency=16, timeout=1.0, rng=AtOnce()) as llm:
        await asyncio.gather(*(ask(llm, n) for n in range(16)))

for url in sys.argv[1:]:
    asyncio.run(main(url))
"""
COMMAND_LINE = "from manycall.cli.main import main; main()"


class Measured(NamedTuple):
    """A program that has ended. memory: bytes, at its peak."""

    code: int
    said: str
    memory: int


def measured(program: str, *words: str) -> Measured:
    """Run a Python program; it tells its peak itself, since what the system tells counts the process it came from."""
    tell = "print(open('/proc/self/status').read(), file=open('peak', 'w'))"
    program = f"import atexit\natexit.register(lambda: {tell})\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=100, check=False
    )
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("peak").read_text())
    assert found is not None
    return Measured(done.returncode, done.stderr + done.stdout, 1024 * int(found[1]))


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process's memory")


@on_linux
@pytest.mark.parametrize("names", [[*HEAVY][0::3], [*HEAVY][1::3], [*HEAVY][2::3]], ids=", ".join)
def test_no_server_fills_our_memory(names: list[str]) -> None:
    with serving(answering(200, FINE)) as url:
        healthy = measured(CALLS, url)
    with ExitStack() as stack:
        ill = measured(CALLS, *(stack.enter_context(serving(HEAVY[name])) for name in names))
    assert (healthy.code, healthy.said, ill.code, ill.said) == (0, "", 0, "")
    assert ill.memory - healthy.memory < MEMORY


@on_linux
@pytest.mark.parametrize("name", ["10 GB", "gzip"])
def test_the_command_ends_with_a_sentence_and_little_memory(name: str, tmp_path: Path) -> None:
    words = ["generate", "-p", "hi", "-n", "40", "-m", "m", "-j", "8", "-o"]
    with serving(answering(200, FINE)) as well, serving(HEAVY[name]) as url:
        healthy = measured(COMMAND_LINE, *words, str(tmp_path / "well.jsonl"), "-u", well)
        ill = measured(COMMAND_LINE, *words, str(tmp_path / "ill.jsonl"), "-u", url)
    assert (healthy.code, ill.code) == (0, 4)
    assert "the first 10 rows all failed, the last with: http" in ill.said
    assert "a reply of more than 16,777,216 bytes was cut off" in ill.said
    assert "Traceback" not in ill.said
    assert 10 <= len(rows(tmp_path / "ill.jsonl.run" / "failures.jsonl")) <= 20
    assert ill.memory - healthy.memory < MEMORY

"""Hostile and broken servers, one row a fault, over real sockets: the verdict, the bill, the time.

What servers say of limits, what networks do, and the memory that all this takes: test_faults_*.py.
"""

import asyncio
import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

import hostile
from fakes import SoloClient
from hostile import (
    BOMBS,
    CHUNKED,
    DEEP,
    FINE,
    OK,
    answering,
    at_first,
    chat,
    packed,
    stopping_after,
    without_end,
)
from manycall import errors
from manycall.control import retry
from manycall.errors import FailureAction, FailureClass
from manycall.providers.error_codes import classify
from servers import Connection, hang_up, http, reset, saying, serving, silence
from trial import PATIENT, TIMEOUT, AtOnce, run

RETRY, FAIL, STOP = FailureAction.RETRY, FailureAction.FAIL, FailureAction.STOP_RUN


class Fault(NamedTuple):
    """What a server does, and what is promised of it.

    Attributes:
        verdict: of the first call that meets it.
        failure: its kind, which says whether it may have been billed and how often it is tried.
        says: part of the sentence.
    """

    name: str
    server: Connection
    verdict: FailureAction
    failure: type[errors.CallError]
    says: str

    @property
    def timeout(self) -> float:
        return TIMEOUT if self.failure is errors.AttemptTimeout else PATIENT


LOST, BROKEN, LATE, BAD = (
    errors.ConnectionLost,
    errors.IncompleteResponse,
    errors.AttemptTimeout,
    errors.InvalidResponse,
)
TOO_LONG, EMPTY, REFUSED = errors.ResponseTooLarge, errors.EmptyCompletion, errors.HttpStatusError
NO_ROOM, FILTERED = errors.MaxTokensReached, errors.ContentFiltered
UPGRADE = b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
NO_MONEY = b'{"error":{"code":"insufficient_quota"}}'
ELSEWHERE = "location: http://127.0.0.1:1/"
PROMISED = "does not have the expected format"

FAULTS = [
    Fault(*line)
    for line in (
        # the connection
        ("reset after the request", reset, RETRY, LOST, "connection was lost"),
        ("hang-up", hang_up, RETRY, LOST, "connection was lost"),
        ("half-close", hostile.half_close, RETRY, LOST, "connection was lost"),
        ("hang-up in the headers", saying(OK + b"Conte"), RETRY, LOST, "connection was lost"),
        ("silence", silence, RETRY, LATE, "no complete response within"),
        ("silence after the headers", stopping_after(CHUNKED), RETRY, LATE, "no complete response within"),
        ("silence in the body", stopping_after(CHUNKED + b'5\r\n{"cho'), RETRY, LATE, "no complete response within"),
        # framing
        ("half a body", saying(OK + b"content-length: 500\r\n\r\n" + FINE), RETRY, BROKEN, "ended early"),
        (
            "content-length too long",
            stopping_after(http(200, FINE).replace(b": 1", b": 9")),
            RETRY,
            LATE,
            "no complete response",
        ),
        ("content-length too short", saying(OK + b"content-length: 30\r\n\r\n" + FINE), RETRY, BAD, PROMISED),
        ("content-length negative", saying(OK + b"content-length: -1\r\n\r\n" + FINE), RETRY, BROKEN, "content-length"),
        ("content-length no number", saying(OK + b"content-length: x\r\n\r\n"), RETRY, BROKEN, "content-length"),
        ("two content-lengths", answering(200, FINE, "content-length: 7"), RETRY, BROKEN, "content-length"),
        ("one twice", answering(200, FINE, f"content-length: {len(FINE)}"), RETRY, BROKEN, "content-length"),
        ("chunks cut off", saying(CHUNKED + b'5\r\n{"cho\r\n'), RETRY, BROKEN, "ended early"),
        ("chunk size no number", saying(CHUNKED + b"zz\r\n{}\r\n"), RETRY, BROKEN, "chunk size"),
        ("chunk size too large", saying(CHUNKED + b"f" * 20 + b"\r\n{}\r\n"), RETRY, BROKEN, "chunk size"),
        ("no HTTP", saying(b"what?\r\n\r\n"), RETRY, BROKEN, "could not be read"),
        ("end in the middle of the JSON", saying(OK + b"\r\n" + FINE[:40]), RETRY, BAD, PROMISED),
        ("gzip that is none", saying(packed("gzip", b"no")), RETRY, BROKEN, "could not be read"),
        ("gzip cut off", saying(packed("gzip", BOMBS["gzip"][:20])), RETRY, BROKEN, "could not be read"),
        # 200, and no answer
        (
            "error in a 200",
            answering(200, b'{"error":{"message":"overloaded"}}'),
            RETRY,
            BAD,
            "contains an error: overloaded",
        ),
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
        ("invalid UTF-8", answering(200, chat(b'"\xff"')), RETRY, BAD, PROMISED),
        ("UTF-16", answering(200, FINE.decode().encode("utf-16")), RETRY, BAD, PROMISED),
        ("JSON, then more", answering(200, FINE + b"more"), RETRY, BAD, PROMISED),
        ("JSON too deep", answering(200, chat(b'"x"', b',"x":' + DEEP * b"[" + DEEP * b"]")), RETRY, BAD, PROMISED),
        ("events", answering(200, b"data: " + FINE + b"\n\ndata: [DONE]\n\n"), RETRY, BAD, "is an event stream"),
        ("events without end", answering(200, b"data: " + FINE + b"\n\n"), RETRY, BAD, "is an event stream"),
        ("error in events", answering(200, b'data: {"error":"died"}\n\ndata: [DONE]\n\n'), RETRY, BAD, "died"),
        ("only comments", answering(200, b": keep-alive\n\n" * 9), RETRY, BAD, PROMISED),
        (
            "no text within max_tokens",
            answering(200, chat(b'""', finish=b'"length"')),
            FAIL,
            errors.MaxTokensReached,
            "max",
        ),
        (
            "content filter",
            answering(200, chat(b"null", finish=b'"content_filter"')),
            FAIL,
            errors.ContentFiltered,
            "filter",
        ),
        # floods and drips
        (
            "blank lines for ever",
            without_end(CHUNKED, b"1\r\n\n\r\n", 0.02),
            RETRY,
            LATE,
            "no complete response within",
        ),
        ("a byte now and then", without_end(OK + b"x: ", b"a", 0.02), RETRY, LATE, "no complete response within"),
        (
            "100 Continue for ever",
            without_end(b"", b"HTTP/1.1 100 X\r\n\r\n", 0.001),
            RETRY,
            LATE,
            "no complete response",
        ),
        ("a header line without end", without_end(OK + b"x: ", b"a" * 65_536), RETRY, BROKEN, "head is too large"),
        ("headers without end", without_end(OK, b"x: " + b"a" * 60_000 + b"\r\n"), RETRY, BROKEN, "head is too large"),
        ("a status line without end", without_end(OK[:-2], b"a" * 65_536), RETRY, BROKEN, "head is too large"),
        ("trailers without end", without_end(CHUNKED + b"0\r\n", b"x: a\r\n" * 999), RETRY, BROKEN, "trailers"),
        (
            "a body without end",
            without_end(CHUNKED, b"10000\r\n" + 65_536 * b" " + b"\r\n"),
            FAIL,
            TOO_LONG,
            "was discarded",
        ),
        (
            "10 GB",
            without_end(OK + b"content-length: 10000000000\r\n\r\n", 65_536 * b" "),
            FAIL,
            TOO_LONG,
            "was discarded",
        ),
        *(
            (f"{name} bomb", saying(packed(name, BOMBS[name])), FAIL, TOO_LONG, "was discarded")
            for name in ("gzip", "deflate")
        ),
        *(
            (f"{name} bomb", saying(packed(name, BOMBS[name])), RETRY, BAD, PROMISED)  # not asked for, not unpacked
            for name in ("br", "zstd", "gzip, gzip")
        ),
        # refusals
        ("500", answering(500, b"oops"), RETRY, REFUSED, "returned status 500: oops"),
        ("502 of a gateway", answering(502, b"<html>Bad\nGateway</html>"), RETRY, REFUSED, "<html>Bad Gateway</html>"),
        ("500 with an endless message", answering(500, b"x" * 9_000_000), RETRY, REFUSED, "returned status 500: xxx"),
        ("500 with a deep body", answering(500, b"[" * DEEP), RETRY, REFUSED, "returned status 500: [[["),
        ("500 with a huge number", answering(500, b"9" * DEEP), RETRY, REFUSED, "returned status 500: 999"),
        ("400", answering(400, b'{"error":{"message":"too long"}}'), FAIL, REFUSED, "returned status 400: too long"),
        ("204", answering(204), FAIL, REFUSED, "returned status 204"),
        (
            "101",
            saying(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
            FAIL,
            REFUSED,
            "returned status 101",
        ),
        ("999", answering(999), RETRY, REFUSED, "returned status 999"),
        ("401", answering(401, b"who?"), STOP, REFUSED, "returned status 401: who?"),
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
                "the URL redirects to",
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
    billed = int(fault.failure.possibly_billed)
    match fault.verdict:
        case FailureAction.RETRY:
            assert (end.done, end.failed, end.stopped) == (["r0", "r1", "r2"], {}, "")
            assert (end.sent, end.in_doubt) == (4, billed)
        case FailureAction.FAIL:
            assert (end.done, [*end.failed], end.stopped) == (["r1", "r2"], ["r0"], "")
            assert (end.sent, end.in_doubt) == (3, billed)
            assert fault.says.lower() in end.failed["r0"].lower()
        case FailureAction.STOP_RUN:
            assert (end.done, end.failed, end.sent, end.in_doubt) == ([], {}, 1, billed)
            assert fault.says in end.stopped
    assert end.seconds < TIMEOUT + 3


@pytest.mark.parametrize("fault", [one for one in FAULTS if one.verdict is RETRY], ids=lambda fault: fault.name)
def test_a_fault_that_stays_is_the_rows_failure_with_its_reason(fault: Fault, tmp_path: Path) -> None:
    with serving(fault.server) as url:
        end = run(tmp_path, url, count=1, timeout=fault.timeout)
    failure = REFUSED("", status=500) if fault.failure is REFUSED else fault.failure("")
    attempts = retry.RULES[classify(failure)].max_attempts
    assert (end.done, [*end.failed], end.stopped) == ([], ["r0"], "")
    assert fault.says.lower() in end.failed["r0"].lower()
    assert "\n" not in end.failed["r0"]
    assert len(end.failed["r0"]) < 500
    assert (end.sent, end.in_doubt) == (attempts, attempts * fault.failure.possibly_billed)
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
    assert end.sent <= 3 * retry.RULES[FailureClass.UNREACHABLE].max_attempts
    assert end.seconds < 5


RIGHT: dict[str, Connection] = {
    "a byte order mark": answering(200, b"\xef\xbb\xbf" + FINE),
    "blank lines around it": answering(200, b"\n\r\n  " + FINE + b"\n\n"),
    "comments before it": answering(200, b": keep-alive\n\n: keep-alive\n\n" + FINE),
    "blank lines while it works": hostile.blank_lines(0.2),
    "HTTP/1.0, ended by the hang-up": saying(b"HTTP/1.0 200 OK\r\n\r\n" + FINE),
    "100 Continue before it": saying(b"HTTP/1.1 100 Continue\r\n\r\n" + http(200, FINE)),
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
    "half a surrogate pair": answering(200, chat(b'"a \\ud83d"')),
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
        async with SoloClient("m", base_url=url, rng=AtOnce()) as llm:
            with pytest.raises(errors.InvalidResponse) as caught:
                await llm.embed("text")
            attempts = retry.RULES[classify(caught.value)].max_attempts
            assert (caught.value.attempts, llm.counters.possibly_billed) == (attempts, attempts)

    with serving(answering(200, b'{"data":[{"index":0,"embedding":' + data + b"}]}")) as url:
        asyncio.run(main(url))

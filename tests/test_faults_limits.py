"""Servers that say odd things of their limits: how long to wait, and how much is left."""

import asyncio
from pathlib import Path

import pytest

from fakes import FakeTransport, SoloClient, answer, refusal
from hostile import (
    FINE,
    answering,
    at_first,
)
from manycall.providers import rate_limit_headers
from manycall.sim import virtual_time
from servers import http, read_request, saying, serving
from trial import run

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
    assert rate_limit_headers.parse_retry_after({"retry-after": text}.get, 1_767_225_600.0) == 30


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
        async with SoloClient("m", base_url="http://h", transport=transport) as llm:
            await llm.chat("hi")

    virtual_time.run_virtual(main())
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

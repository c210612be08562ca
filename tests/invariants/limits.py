"""What servers say of their limits and of their queue."""
# ruff: noqa: PT017 (an error may come, and need not)

import asyncio
import math

from fakes import FakeTransport
from invariants import sentence
from manycall.control import gauges, hints
from manycall.control.quota import Cost, Limits
from manycall.control.window import MOST, Window
from manycall.engine.endpoint import Endpoint
from manycall.errors import CallFailed
from manycall.records import Secret
from manycall.sim.virtual import VirtualLoop
from manycall.wire.transport import HttpReply

WALL = 1_767_225_600.0


def check_headers(host: str, headers: dict[str, str], wall: float) -> str:
    """Whatever is said: what is taken up is a finite number, not negative, and of a size that makes sense."""
    spoken = hints.dialect(host, headers.get)
    told = spoken.read(headers.get, wall) if spoken else []
    for one in told:
        for number, most in ((one.limit, hints.MOST), (one.remaining, hints.MOST), (one.reset, hints.LONGEST_RESET)):
            assert number is None or 0 <= number <= most
        assert one.limit != 0
        assert one[2:] != (None, None, None)
    for seconds in (hints.until_reset(told), hints.retry_after(headers.get, wall)):
        assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
    return f"{spoken.name if spoken else None}, {len(told)} told"


LONGEST_WAIT = 10 * hints.DAY
"""At 1000 tokens or one request a day, the least that is believed, for the calls of `check_endpoint`."""
SAID = Secret("0123456789secret")


Reply = tuple[int, dict[str, str], bytes]


def check_endpoint(host: str, limits: tuple[float | None, ...], replies: list[Reply]) -> str:
    """A server that answers so, call after call: the next may go at a moment that comes; nothing is ever NaN."""

    async def talk() -> str:
        endpoint, longest = Endpoint(f"https://{host}/v1", SAID, Limits(*limits)), 0.0
        endpoint.window = Window()
        for status, headers, body in replies:
            longest = max(longest, await admitted(endpoint, cost := Cost(1.0, 1500.0)))
            await answered(endpoint, HttpReply(status, body, headers.get))
            endpoint.in_flight -= 1
            endpoint.quota.settle(cost, Cost(1.0, 10.0))
        assert all(len(change.what) < 200 and change.what.isprintable() for change in endpoint.changes)
        return f"waited 10^{math.log10(longest + 1e-3):.0f} s, {endpoint.throttle.rate is None}"

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(talk())
    finally:
        loop.close()


async def admitted(endpoint: Endpoint, cost: Cost) -> float:
    """Wait until a call may go, and begin it; return how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(9):
        at = endpoint.when(cost, loop.time())
        assert not math.isnan(at)
        if at <= loop.time():
            endpoint.begin(cost, loop.time())
            return loop.time() - began
        assert at - began <= LONGEST_WAIT
        await asyncio.sleep(at - loop.time())
    raise AssertionError("it never lets a call go")


async def answered(endpoint: Endpoint, reply: HttpReply) -> None:
    """The reply comes: whatever it says ends in a sentence at most."""
    try:
        await endpoint.send(FakeTransport(lambda asked: reply), "chat", b"{}", 9.0)
    except CallFailed as error:
        sentence(error, endpoint.url)
        assert str(error).isprintable()
        assert SAID.reveal() not in str(error)
    rate = endpoint.throttle.rate
    assert rate is None or 0 < rate < math.inf


def check_gauges(text: str, model: str | None) -> str:
    """A page of metrics: numbers that make sense, or none; and a window that believes them keeps its bounds."""
    found = gauges.read(text, model)
    if found is None:
        return "none"
    assert all(0 <= number < math.inf for number in found)
    window = Window()
    for second in range(8):
        window.read(found, in_flight=window.size, now=float(second))
        assert 1 <= window.size <= MOST
        assert not math.isnan(window.when(0, float(second)))
    return f"window {window.size}"

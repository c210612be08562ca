"""What servers say of their limits and of their queue."""

import asyncio
import math

from endpoints import endpoint_at
from fakes import FakeTransport, attempt
from invariants import sentence
from manycall.client.endpoint import Endpoint
from manycall.control.concurrency_window import MAX_WINDOW, ConcurrencyWindow
from manycall.control.retry import FailedAttempt
from manycall.limits import DAY_SECONDS, CallCost, RateLimits
from manycall.providers import rate_limit_headers, server_metrics
from manycall.providers.rate_limit_dialects import find_dialect
from manycall.records import Secret
from manycall.sim.virtual_time import VirtualLoop
from manycall.transport.messages import HttpResponse

WALL = 1_767_225_600.0


def check_headers(host: str, headers: dict[str, str], wall: float) -> str:
    """Whatever is said: what is taken up is a finite number, not negative, and of a size that makes sense."""
    spoken = find_dialect(host, headers.get)
    told = spoken.parse(headers.get, wall) if spoken else []
    for one in told:
        for number, most in (
            (one.limit, rate_limit_headers.MAX_PLAUSIBLE_AMOUNT),
            (one.remaining, rate_limit_headers.MAX_PLAUSIBLE_AMOUNT),
            (one.reset, rate_limit_headers.MAX_RESET_SECONDS),
        ):
            assert number is None or 0 <= number <= most
        assert one.limit != 0
        assert one[2:] != (None, None, None)
    for seconds in (rate_limit_headers.reset_seconds(told), rate_limit_headers.parse_retry_after(headers.get, wall)):
        assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
    return f"{spoken.name if spoken else None}, {len(told)} told"


LONGEST_WAIT = 10 * DAY_SECONDS
"""At 1000 tokens or one request a day, the least that is believed, for the calls of `check_endpoint`."""
SAID = Secret("0123456789secret")


Reply = tuple[int, dict[str, str], bytes]


def check_endpoint(host: str, limits: tuple[float | None, ...], replies: list[Reply]) -> str:
    """A server that answers so, call after call: the next may go at a moment that comes; nothing is ever NaN."""

    async def talk() -> str:
        endpoint, longest = endpoint_at(f"https://{host}/v1", SAID, RateLimits(*limits)), 0.0
        endpoint.window = ConcurrencyWindow()
        for status, headers, body in replies:
            longest = max(longest, await admitted(endpoint, cost := CallCost(1.0, 1500.0)))
            await answered(endpoint, HttpResponse(status, body, headers.get))
            endpoint.in_flight -= 1
            endpoint.quota.settle(cost, CallCost(1.0, 10.0))
        assert all(len(change.what) < 200 and change.what.isprintable() for change in endpoint.events)
        return f"waited 10^{math.log10(longest + 1e-3):.0f} s, {endpoint.throttle.rate is None}"

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(talk())
    finally:
        loop.close()


async def admitted(endpoint: Endpoint, cost: CallCost) -> float:
    """Wait until a call may go, and begin it; return how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(9):
        at = endpoint.earliest(cost, loop.time())
        assert not math.isnan(at)
        if at <= loop.time():
            endpoint.reserve(cost, loop.time())
            return loop.time() - began
        assert at - began <= LONGEST_WAIT
        await asyncio.sleep(at - loop.time())
    raise AssertionError("it never lets a call go")


async def answered(endpoint: Endpoint, reply: HttpResponse) -> None:
    """The reply comes: whatever it says ends in a sentence at most."""
    outcome = await attempt(endpoint, FakeTransport(lambda asked: reply))
    if isinstance(outcome, FailedAttempt):
        sentence(outcome.error, endpoint.url)
        assert str(outcome.error).isprintable()
        assert SAID.reveal() not in str(outcome.error)
    rate = endpoint.throttle.rate
    assert rate is None or 0 < rate < math.inf


def check_gauges(text: str, model: str | None) -> str:
    """A page of metrics: numbers that make sense, or none; and a window that believes them keeps its bounds."""
    found = server_metrics.parse_metrics(text, model)
    if found is None:
        return "none"
    assert all(0 <= number < math.inf for number in found)
    window = ConcurrencyWindow()
    for second in range(8):
        window.update_from_metrics(found, in_flight=window.size, now=float(second))
        assert 1 <= window.size <= MAX_WINDOW
        assert not math.isnan(window.earliest(0, float(second)))
    return f"window {window.size}"

"""Hedging: send a second copy of a stalled call to another endpoint, because its server hangs or is far slower.

Calls are hedged only at the end of a run, when other endpoints are idle; only where a second answer is free (no key) or
permitted (`resend = true` in endpoints.toml); and at most one call in fifty ("The Tail at Scale", J. Dean and L. A.
Barroso, CACM 2013). A long answer alone is no reason to hedge, because the copy would take as long. The threshold is
therefore the 99th percentile of the duration at the endpoint that would get the copy.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

from manycall import clock
from manycall.client.call_counters import CallCounters
from manycall.client.endpoint import AttemptResult, Endpoint
from manycall.client.permits import Permits
from manycall.errors import CallError
from manycall.records import Api
from manycall.transport.messages import Transport

MAX_HEDGED_SHARE = 0.02
"""Maximum share of hedged calls, in addition to MIN_HEDGES calls that are always allowed."""
MIN_HEDGES = 2
STALL_FACTOR = 2.0
"""A call has stalled after this multiple of the other endpoint's 99th percentile."""


class InFlightCall:
    """One call in flight.

    Attributes:
        since: when the call was sent.
        task: the task that waits for the call.
        cancelling: the task's number of pending cancellations at the start of the call.
        hedge: the copy of the call at another endpoint; None if there is none.
        hedge_result: the copy's answer, if it arrived first.
        original_failed: the original call has failed, and its task waits for the copy.
    """

    __slots__ = (
        "api",
        "body",
        "cancelling",
        "endpoint",
        "hedge",
        "hedge_result",
        "original_failed",
        "since",
        "task",
        "timeout",
    )

    def __init__(self, endpoint: Endpoint, api: Api, body: bytes, timeout: float) -> None:
        task = asyncio.current_task()
        assert task is not None, "calls are made by tasks"
        self.endpoint, self.api, self.body, self.timeout = endpoint, api, body, timeout
        self.since = clock.now()
        self.task, self.cancelling = task, task.cancelling()
        self.hedge: asyncio.Task[None] | None = None
        self.original_failed = False
        self.hedge_result: AttemptResult | None = None


class Hedger:
    """The calls in flight, oldest first, and their hedges."""

    def __init__(self, endpoints: Sequence[Endpoint], permits: Permits, counters: CallCounters) -> None:
        self._endpoints, self._permits, self._counters = endpoints, permits, counters
        self._in_flight: dict[InFlightCall, None] = {}

    def __repr__(self) -> str:
        return f"<Hedger: {len(self._in_flight)} in flight>"

    def send(
        self, transport: Transport, endpoint: Endpoint, api: Api, body: bytes, timeout: float
    ) -> Coroutine[Any, Any, AttemptResult]:
        """Send a call like `endpoint.send`. The answer may come from another endpoint."""
        if len(self._endpoints) < 2:
            return endpoint.send(transport, api, body, timeout)
        return self._send_hedged(transport, endpoint, api, body, timeout)

    async def _send_hedged(
        self, transport: Transport, endpoint: Endpoint, api: Api, body: bytes, timeout: float
    ) -> AttemptResult:
        call = InFlightCall(endpoint, api, body, timeout)
        self._in_flight[call] = None
        try:
            return await endpoint.send(transport, api, body, timeout)
        except asyncio.CancelledError:
            if call.hedge_result is None or call.task.uncancel() > call.cancelling:
                raise  # the task was also cancelled for another reason
            return call.hedge_result
        except CallError:
            if call.hedge is None:
                raise
            call.original_failed = True
            await asyncio.wait([call.hedge])
            if call.hedge_result is None:
                raise
            return call.hedge_result
        finally:
            del self._in_flight[call]
            if call.hedge is not None and not call.hedge.done():
                self._counters.possibly_billed += 1
                call.hedge.cancel()

    def hedge_stalled(self, transport: Transport) -> None:
        """Hedge stalled calls if other endpoints are idle. Call this once a second."""
        if self._permits.waiting or len(self._endpoints) < 2:
            return
        now = clock.now()
        for call in list(self._in_flight):
            if self._counters.hedged >= MIN_HEDGES + MAX_HEDGED_SHARE * self._counters.attempts:
                return
            if call.hedge is None and call.endpoint.may_hedge:
                other = next(self._faster_endpoints(call, now), None)
                if other is not None and self._permits.try_acquire_at(other):
                    self._counters.attempts += 1
                    self._counters.hedged += 1
                    other.note(now, f"hedging a call stalled for {now - call.since:.0f} s at {call.endpoint.url}")
                    call.hedge = asyncio.create_task(self._send_copy(call, other, transport))
                    call.hedge.add_done_callback(partial(self._on_hedge_done, other))

    def _on_hedge_done(self, other: Endpoint, copy: asyncio.Task[None]) -> None:
        """Release the permit in any case, even if the task was cancelled before it started."""
        self._permits.release(other)

    def _faster_endpoints(self, call: InFlightCall, now: float) -> Iterator[Endpoint]:
        """Yield the endpoints that would probably answer the call sooner."""
        for other in self._endpoints:
            if other is call.endpoint or not other.may_hedge or other.rests(now) or other.latency_p99 is None:
                continue
            if now - call.since > STALL_FACTOR * other.latency_p99:
                yield other

    async def _send_copy(self, call: InFlightCall, other: Endpoint, transport: Transport) -> None:
        try:
            result = await other.send(transport, call.api, call.body, call.timeout)
        except CallError as failure:
            self._counters.possibly_billed += failure.possibly_billed
            return  # the original is still in flight and has its own retries
        if call in self._in_flight:
            call.hedge_result = result
            if not call.original_failed:
                self._counters.possibly_billed += 1
                call.task.cancel()

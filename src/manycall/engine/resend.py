"""A call that stalls is sent again elsewhere: the server that has it hangs, or is far slower than the others.

Only at the end of a run, when other endpoints have nothing to do; only where a second answer costs nothing (no key, or
`resend = true` in endpoints.toml); at most one call in fifty ("The Tail at Scale", J. Dean and L. A. Barroso, CACM
2013). That an answer is long is no reason: the copy would be as long. So the measure is what nearly all answers take
at the endpoint that would get the copy.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

from manycall import clock
from manycall.engine.endpoint import Endpoint, Landed
from manycall.engine.permits import Permits
from manycall.engine.progress import Counters
from manycall.errors import CallFailed
from manycall.records import Api
from manycall.wire.transport import Transport

BUDGET = 0.02
"""Of the calls may be sent twice; and a few in any case."""
FEW = 2
STALLED = 2.0
"""Times what 99 % of the answers take at the other endpoint."""


class Flight:
    """One call on its way.

    Attributes:
        task: who waits for it; cancelling: how many cancellations it had already lived through.
        copy: the same call elsewhere; rescued: the answer that came from there.
    """

    __slots__ = ("api", "body", "cancelling", "copy", "endpoint", "lost", "rescued", "since", "task", "timeout")

    def __init__(self, endpoint: Endpoint, api: Api, body: bytes, timeout: float) -> None:
        task = asyncio.current_task()
        assert task is not None, "calls are made by tasks"
        self.endpoint, self.api, self.body, self.timeout = endpoint, api, body, timeout
        self.since = clock.now()
        self.task, self.cancelling = task, task.cancelling()
        self.copy: asyncio.Task[None] | None = None
        self.lost = False
        self.rescued: Landed | None = None


class Flights:
    """The calls on their way, oldest first, where one may be sent again."""

    def __init__(self, endpoints: Sequence[Endpoint], permits: Permits, counters: Counters) -> None:
        self._endpoints, self._permits, self._counters = endpoints, permits, counters
        self._flying: dict[Flight, None] = {}

    def __repr__(self) -> str:
        return f"<Flights: {len(self._flying)} on their way>"

    def send(
        self, transport: Transport, endpoint: Endpoint, api: Api, body: bytes, timeout: float
    ) -> Coroutine[Any, Any, Landed]:
        """As `endpoint.send`; it may come from another endpoint."""
        if len(self._endpoints) < 2:
            return endpoint.send(transport, api, body, timeout)
        return self._watched(transport, endpoint, api, body, timeout)

    async def _watched(self, transport: Transport, endpoint: Endpoint, api: Api, body: bytes, timeout: float) -> Landed:
        flight = Flight(endpoint, api, body, timeout)
        self._flying[flight] = None
        try:
            return await endpoint.send(transport, api, body, timeout)
        except asyncio.CancelledError:
            if flight.rescued is None or flight.task.uncancel() > flight.cancelling:
                raise  # somebody else has cancelled it too
            return flight.rescued
        except CallFailed:
            if flight.copy is None:
                raise
            flight.lost = True
            await asyncio.wait([flight.copy])
            if flight.rescued is None:
                raise
            return flight.rescued
        finally:
            del self._flying[flight]
            if flight.copy is not None and not flight.copy.done():
                self._counters.maybe_billed += 1
                flight.copy.cancel()

    def rescue(self, transport: Transport) -> None:
        """Send again what stalls, as far as others have nothing to do. Call it once a second."""
        if self._permits.waiting or len(self._endpoints) < 2:
            return
        now = clock.now()
        for flight in list(self._flying):
            if self._counters.resent >= FEW + BUDGET * self._counters.sent:
                return
            if flight.copy is None and flight.endpoint.may_resend:
                other = next(self._idle(flight, now), None)
                if other is not None and self._permits.take(other):
                    self._counters.sent += 1
                    self._counters.resent += 1
                    stalled = f"{now - flight.since:.0f} s at {flight.endpoint.url}"
                    other.note(now, f"gets a call that has stalled for {stalled}")
                    flight.copy = asyncio.create_task(self._copy(flight, other, transport))
                    flight.copy.add_done_callback(partial(self._landed, other))

    def _landed(self, other: Endpoint, copy: asyncio.Task[None]) -> None:
        """However it ended, even before it began, its permit comes back."""
        self._permits.release(other)

    def _idle(self, flight: Flight, now: float) -> Iterator[Endpoint]:
        """Those that would most likely answer it sooner."""
        for other in self._endpoints:
            if other is flight.endpoint or not other.may_resend or other.rests(now) or other.most_take is None:
                continue
            if now - flight.since > STALLED * other.most_take:
                yield other

    async def _copy(self, flight: Flight, other: Endpoint, transport: Transport) -> None:
        try:
            landed = await other.send(transport, flight.api, flight.body, flight.timeout)
        except CallFailed as failure:
            self._counters.maybe_billed += failure.maybe_billed
            return  # the original is still on its way, and has its own retries
        if flight in self._flying:
            flight.rescued = landed
            if not flight.lost:
                self._counters.maybe_billed += 1
                flight.task.cancel()

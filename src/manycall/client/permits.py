"""Permits to send a call: when, and to which endpoint. A permit is for one attempt. The oldest call goes first."""

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence
from typing import Protocol

from manycall import clock
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_selector import EndpointSelector
from manycall.client.waiter import Waiter
from manycall.errors import ManycallError
from manycall.limits import CallCost

CANARY_CALLS = 8
"""Maximum calls in flight until the first answer or the end of the canary time. If the key, the model or the address is
wrong, a few calls show it as well as hundreds."""


class Group(Protocol):
    """A job that shares the permits with others (client/permit_group.py).

    Attributes:
        changed: set when a row may be able to start.
        count_rows_left: returns the number of rows that have not started yet; inf if their calls cannot be counted.
        expected_rows: number of rows that the job had to do at its start; 0 if it is unknown.
    """

    changed: asyncio.Event
    count_rows_left: Callable[[], float]
    expected_rows: int

    def end_outage(self) -> None:
        """Handle the end of an outage."""

    def client_closed(self, why: ManycallError) -> None:
        """Handle that the shared permits were closed."""


class Permits:
    """A priority queue of permits. Each permit allows one call to one endpoint; the oldest waiting call goes first.

    There are `max_permits` permits, and for each endpoint no more than its window. If no endpoint can take the oldest
    call now, it waits for the first that can, and all other calls wait behind it, so that small calls never delay a
    large one indefinitely. The scheduler checks `has_room` before it starts a row, so that rows exist only while there
    is work for them.

    Args:
        max_permits: number of permits.
        endpoints: the endpoints that they are for.
        selector: chooses among the endpoints; default: by load.
        canary_seconds: how long, from the first call, no more than CANARY_CALLS are in flight without an answer.
        now: returns the time.

    Attributes:
        in_flight: number of permits in use.
        lease_until: time from which on no permits are granted: this process may have lost its share of the limits
            (control/worker_leases.py). Default: inf.
        closed: why no more permits are granted; None while they are.
        has_answer: a call was answered.
    """

    def __init__(
        self,
        max_permits: int,
        endpoints: Sequence[Endpoint],
        *,
        selector: EndpointSelector | None = None,
        canary_seconds: float = 0.0,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self.max_permits = max_permits
        self.in_flight = 0
        self.lease_until = math.inf
        self.closed: ManycallError | None = None
        self.has_answer = False
        self._endpoints, self._now = endpoints, now
        self._only = endpoints[0] if len(endpoints) == 1 else None
        self._selector = selector or EndpointSelector(endpoints)
        self._canary_seconds, self._canary_ends = canary_seconds, float("-inf")
        self._groups: tuple[Group, ...] = ()
        self._waiting: list[Waiter] = []  # a heap; a call served out of turn stays until it reaches the top
        self._served = 0
        self._ticket = self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        return f"<Permits {self.in_flight}/{self.max_permits} in flight, {len(self._waiting)} waiting>"

    def join(self, group: Group) -> None:
        """Notify a job of changes from now on."""
        self._groups += (group,)

    def leave(self, group: Group) -> None:
        """Notify a job of no more changes."""
        self._groups = tuple(each for each in self._groups if each is not group)

    @property
    def expected_rows(self) -> int:
        """Number of rows that all jobs together had to do at their start."""
        return sum([group.expected_rows for group in self._groups])

    async def acquire(
        self, priority: int, cost: CallCost, prompt: Sequence[int] = (), owner: object = None
    ) -> Endpoint:
        """Acquire a permit, waiting behind every older call.

        Args:
            priority: position of the call; the smallest goes first.
            cost: what the call takes from its quotas; reserved when this returns.
            prompt: hashes of the request's prefixes, if the selector needs them.
            owner: the job that the call belongs to.

        Raises:
            ManycallError: the permits are closed, for this reason.
        """
        if (endpoint := self.try_acquire(cost, prompt)) is not None:
            return endpoint
        if self.closed is not None:
            raise self.closed.with_traceback(None)
        turn: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self._ticket += 1
        heapq.heappush(self._waiting, Waiter(priority, self._ticket, cost, prompt, turn, owner))
        try:
            endpoint = await turn
            if self.closed is not None:
                raise self.closed.with_traceback(None)
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.cancel(turn.result(), cost)  # granted just before the cancellation: pass it on
            raise
        return endpoint

    def try_acquire(self, cost: CallCost, prompt: Sequence[int] = ()) -> Endpoint | None:
        """Acquire a permit if no call is waiting and one is available now."""
        if self._waiting or self.closed is not None:
            return None
        now = self._now()
        endpoint = self._available_endpoint(cost, now)
        if endpoint is None:
            return None
        if prompt:
            endpoint = self._selector.prefer(endpoint, prompt, cost, now)
        self._reserve(endpoint, cost, prompt, now)
        return endpoint

    def try_acquire_at(self, endpoint: Endpoint) -> bool:
        """Acquire a permit for this endpoint if no call is waiting and one is available now."""
        now = self._now()
        if self.closed is not None or self._waiting or self.in_flight >= self.max_permits or now >= self.lease_until:
            return False
        if endpoint.earliest(CallCost(), now) > now:
            return False
        endpoint.reserve(CallCost(), now)
        self._record_in_flight(endpoint, now)
        self.in_flight += 1
        return True

    def release(self, endpoint: Endpoint) -> None:
        """Return a permit."""
        endpoint.release()
        if self._only is None:
            self._record_in_flight(endpoint, self._now())
        self.in_flight -= 1
        if self._waiting:
            self._grant()
        for group in self._groups:
            group.changed.set()

    def cancel(self, endpoint: Endpoint, cost: CallCost) -> None:
        """Return a permit whose call was not sent."""
        endpoint.cancel(cost)
        self.release(endpoint)

    @staticmethod
    def _record_in_flight(endpoint: Endpoint, now: float) -> None:
        """Measure the mean duration of calls, by which several endpoints are compared."""
        endpoint.mean_duration.record_in_flight(endpoint.in_flight, now)

    def _notify(self) -> None:
        for group in self._groups:
            group.changed.set()

    def _available_endpoint(self, cost: CallCost, now: float) -> Endpoint | None:
        """Return an endpoint with room for a call now, or None after starting a timer for the next check."""
        if self.in_flight >= self.max_permits or now >= self.lease_until:
            return None
        if self._only is not None:
            endpoint, at = self._only, self._only.earliest(cost, now)
        else:
            endpoint, at = self._selector.find(cost, now, self._turn, self._calls_left)
        if self._canary_ends > at and self.in_flight >= CANARY_CALLS:
            at = self._canary_ends
        if at > now:
            if at < float("inf") and (self._timer is None or self._timer_at > at):
                self._stop_timer()
                self._timer, self._timer_at = asyncio.get_running_loop().call_at(at, self._on_timer), at
            return None
        return endpoint

    @property
    def _calls_left(self) -> float:
        """Number of calls that have not been sent yet; inf if it is unknown."""
        return sum([group.count_rows_left() for group in self._groups], float(len(self._waiting)))

    def _reserve(self, endpoint: Endpoint, cost: CallCost, prompt: Sequence[int], now: float) -> None:
        if self._turn == 0 and not self.has_answer:
            self._canary_ends = now + self._canary_seconds
        self._turn += 1
        endpoint.reserve(cost, now)
        if self._only is None:
            self._record_in_flight(endpoint, now)
        self.in_flight += 1
        if prompt:
            self._selector.record(endpoint, prompt)

    def record_answer(self) -> None:
        """Record that a call was answered. After the first, more than CANARY_CALLS may be in flight."""
        if not self.has_answer:
            self.has_answer = True
            self._canary_ends = float("-inf")
            self.recheck()

    def skip_canary(self) -> None:
        """Let all calls go at once, because calls were answered in an earlier session."""
        self._canary_seconds = 0.0

    @property
    def was_used(self) -> bool:
        """Whether a permit was granted."""
        return self._turn > 0

    @property
    def waiting(self) -> int:
        """Number of calls that wait for a permit."""
        return len(self._waiting) - self._served

    @property
    def total_window(self) -> int:
        """Maximum calls in flight now: the smaller of the number of permits and the sum of the endpoints' windows."""
        windows = [endpoint.window for endpoint in self._endpoints if not endpoint.is_closed]
        return min(self.max_permits, sum(self.max_permits if window is None else window.size for window in windows))

    def has_room(self) -> bool:
        """Return whether a new row could call now, or would be one of the calls that the selector chooses from."""
        if self.in_flight < self.max_permits and not self._waiting:
            return True
        return self.waiting < self._selector.max_waiting

    def renew_lease(self, until: float, max_permits: int | None = None) -> None:
        """Grant permits until this time, because the driver of several processes has renewed the shares.

        Args:
            max_permits: number of permits from now on; None: as before.
        """
        self.lease_until = until
        if max_permits is not None:
            self.max_permits = max_permits
        self.recheck()

    def recheck(self) -> None:
        """Check for room after a window has changed."""
        self._grant()
        self._notify()

    def _grant(self) -> None:
        """Grant permits to waiting calls in order, as long as there are any."""
        while self._waiting:
            first = self._waiting[0]
            if first.turn.done():
                heapq.heappop(self._waiting)
                self._served -= first.is_served
                continue
            now = self._now()
            endpoint = self._available_endpoint(first.cost, now)
            if endpoint is None:
                return
            chosen = self._selector.choose_waiter(endpoint, self._waiting)
            self._reserve(endpoint, chosen.cost, chosen.prompt, now)
            if chosen is first:
                chosen.turn.set_result(endpoint)
                heapq.heappop(self._waiting)
            else:
                chosen.serve_out_of_turn(endpoint)
                self._served += 1

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._grant()
        if not self._waiting:
            self._notify()

    def end_outage(self) -> None:
        """End the retry waits, because an endpoint responds again."""
        for group in self._groups:
            group.end_outage()

    def refuse(self, owner: object, why: ManycallError) -> None:
        """Raise an exception in the waiting calls of a job."""
        for each in self._waiting:
            if each.owner is owner:
                each.refuse(why)
        self._grant()

    def close(self, why: ManycallError) -> None:
        """Grant no more permits. Raise `why` in calls that wait now or later."""
        if self.closed is None:
            self.closed = why
            for each in self._waiting:
                each.refuse(why)
            self._waiting.clear()
            self._served = 0
            self._stop_timer()
            for group in self._groups:
                group.client_closed(why)

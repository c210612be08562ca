"""Permits to send a call: when, and to which endpoint. A permit is valid for one attempt. The oldest row goes first.

There is one exception. With several self-hosted servers that cache prompt prefixes, a server with room may prefer one
of the next few rows, whose prefix it has cached (control/prefix_affinity.py). The number of such overtakes is limited.
"""

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import Protocol

from manycall import clock
from manycall.client.endpoint import Endpoint
from manycall.control import load_balance
from manycall.control.budget import Budget
from manycall.control.prefix_affinity import PrefixAffinity
from manycall.errors import BudgetExceeded, RunStopped
from manycall.limits import CallCost

AFFINITY_LOOKAHEAD = 32
"""Number of waiting rows from which a server may choose the one with the longest cached prefix."""
MAX_OVERTAKES = 128
"""Number of calls that may overtake an older one for that reason."""
MAX_LOAD_RATIO = 1.25
"""A server is preferred for its cached prefix only up to this multiple of the mean load."""
CANARY_CALLS = 8
"""Maximum calls in flight until the first answer or the end of the canary time. If the key, the model or the address is
wrong, a few calls show it as well as hundreds."""


class Group(Protocol):
    """A job that shares the permits with others (client/permit_group.py)."""

    @property
    def on_capacity(self) -> Callable[[], None]:
        """Callback for when a row may be able to start."""

    def wake_waiting(self) -> None:
        """Handle the end of an outage."""

    def client_closed(self) -> None:
        """Handle that the shared permits were closed."""


class Waiter:
    """A call that waits for a permit.

    Attributes:
        priority: position of the row in the run; the smallest goes first.
        ticket: order of arrival, for calls of the same row.
        cost: what the call takes from its quotas.
        prompt: hashes of the request's prefixes.
        turn: resolves to the endpoint.
        group: the job that the call belongs to, if several jobs share the permits.
        overtaken: number of later calls that were served first.
        served: the call was served out of turn and is still in the heap.
    """

    __slots__ = ("cost", "group", "overtaken", "priority", "prompt", "served", "ticket", "turn")

    def __init__(
        self,
        priority: int,
        ticket: int,
        cost: CallCost,
        prompt: Sequence[int],
        turn: "asyncio.Future[Endpoint]",
        group: Group | None = None,
    ) -> None:
        self.group = group
        self.priority, self.ticket, self.cost, self.prompt, self.turn = priority, ticket, cost, prompt, turn
        self.overtaken = 0
        self.served = False

    def __lt__(self, other: "Waiter") -> bool:
        return (self.priority, self.ticket) < (other.priority, other.ticket)


class Permits:
    """A priority queue of permits. Each permit allows one call to one endpoint; the oldest waiting row is served first.

    There are `max_permits` permits, and for each endpoint no more than its window. If no endpoint can take the oldest
    call now, it waits for the first that can, and all other calls wait behind it, so that small calls never delay a
    large one indefinitely. The scheduler checks `has_room` before it starts a row, so that rows exist only while there
    is work for them.

    Args:
        max_permits: number of permits.

    Attributes:
        in_flight: number of permits in use.
        closed: why no more permits are granted; None while they are.
        wake_event: set when the permits are closed. At the end of an outage it is set and replaced by a new event, so
            that calls in a retry wait check again.
        affinity: which endpoint has received which prompt prefixes; None if it does not matter.
        budget: what the calls may cost; None if there is no limit.
        groups: the jobs that share the permits; empty if there is one job only.
        on_capacity: called when there may be room again.
        canary_seconds: how long, from the first call, no more than CANARY_CALLS are in flight without an answer.
    """

    def __init__(self, max_permits: int, endpoints: Sequence[Endpoint]) -> None:
        self.max_permits = max_permits
        self.in_flight = 0
        self.closed: RunStopped | None = None
        self.wake_event = asyncio.Event()
        self.affinity: PrefixAffinity | None = None
        self.budget: Budget | None = None
        self.canary_seconds = 0.0
        self.on_capacity: Callable[[], None] = self._notify_groups
        self.groups: set[Group] = set()
        self._canary_ends = float("-inf")
        self._endpoints = endpoints
        self._waiting: list[Waiter] = []  # a heap; a call served out of turn stays until it reaches the top
        self._served = 0
        self._ticket = self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        return f"<Permits {self.in_flight}/{self.max_permits} in flight, {len(self._waiting)} waiting>"

    async def acquire(
        self, priority: int, cost: CallCost, prompt: Sequence[int] = (), group: Group | None = None
    ) -> Endpoint:
        """Acquire a permit, waiting behind every older row.

        Args:
            priority: position of the row in the run; the smallest goes first.
            cost: what the call takes from its quotas; reserved when this returns.
            prompt: hashes of the request's prefixes, if prefix affinity is in use.
            group: the job that the call belongs to.

        Raises:
            RunStopped: no new calls are permitted.
        """
        if (endpoint := self.try_acquire(cost, prompt)) is not None:
            return endpoint
        if self.closed is not None:
            raise self.closed.with_traceback(None)
        turn: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self._ticket += 1
        heapq.heappush(self._waiting, Waiter(priority, self._ticket, cost, prompt, turn, group))
        try:
            endpoint = await turn
            if self.closed is not None:
                raise self.closed.with_traceback(None)
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                turn.result().cancel(cost)  # granted just before the cancellation: pass it on
                self._returned()
            raise
        return endpoint

    def try_acquire(self, cost: CallCost, prompt: Sequence[int] = ()) -> Endpoint | None:
        """Acquire a permit if no call is waiting and one is available now."""
        if self._waiting or self.closed is not None:
            return None
        now = clock.now()
        endpoint = self._available_endpoint(cost, now)
        if endpoint is None:
            return None
        if self.affinity is not None and prompt:
            endpoint = self._prefer_cached(endpoint, prompt, cost, now)
        self._reserve(endpoint, cost, prompt, now)
        return endpoint

    def refuse(self, group: Group, why: RunStopped) -> None:
        """Raise an exception in the waiting calls of a job."""
        for each in self._waiting:
            if each.group is group and not each.turn.done():
                each.turn.set_exception(why)
        self._grant()

    def _notify_groups(self) -> None:
        for group in list(self.groups):
            group.on_capacity()

    def release(self, endpoint: Endpoint) -> None:
        """Return a permit."""
        endpoint.in_flight -= 1
        self._returned()

    def _returned(self) -> None:
        self.in_flight -= 1
        if self._waiting:
            self._grant()
        self.on_capacity()

    def _available_endpoint(self, cost: CallCost, now: float) -> Endpoint | None:
        """Return an endpoint with room for a call now, or None after starting a timer for the next check."""
        if self.in_flight >= self.max_permits or not (self.budget is None or self._may_spend(self.budget)):
            return None
        endpoint, at = load_balance.choose_endpoint(self._endpoints, cost, now, self._turn)
        if self.in_flight >= CANARY_CALLS:
            at = max(at, self._canary_ends)
        if at > now:
            if at < float("inf") and (self._timer is None or self._timer_at > at):
                self._stop_timer()
                self._timer, self._timer_at = asyncio.get_running_loop().call_at(at, self._on_timer), at
            return None
        return endpoint

    def _may_spend(self, budget: Budget) -> bool:
        """Whether the budget has room for a call. If it is exhausted, close the permits."""
        if not self.in_flight and (why := budget.exhausted) is not None:
            self.close(BudgetExceeded(why))
        return budget.has_room(self.in_flight)

    def end_canary(self) -> None:
        """Handle the first answer: more than CANARY_CALLS may be in flight from now on."""
        if self._canary_ends > float("-inf"):
            self._canary_ends = float("-inf")
            self.recheck()

    def _reserve(self, endpoint: Endpoint, cost: CallCost, prompt: Sequence[int], now: float) -> None:
        if self._turn == 0 and self.canary_seconds:
            self._canary_ends = now + self.canary_seconds
        self._turn += 1
        endpoint.reserve(cost, now)
        self.in_flight += 1
        if self.affinity is not None and prompt:
            self.affinity.record(prompt, self._endpoints.index(endpoint))

    def _prefer_cached(self, endpoint: Endpoint, prompt: Sequence[int], cost: CallCost, now: float) -> Endpoint:
        """Return the endpoint with room that has cached the longest prefix, or this one if the others are too busy."""
        assert self.affinity is not None
        max_load = MAX_LOAD_RATIO * sum(each.load for each in self._endpoints) / len(self._endpoints)
        best, best_chunks = endpoint, self.affinity.cached_chunks(prompt, self._endpoints.index(endpoint))
        for number, other in enumerate(self._endpoints):
            if other.load <= max_load and not other.rests(now) and other.earliest(cost, now) <= now:
                chunks = self.affinity.cached_chunks(prompt, number)
                if chunks > best_chunks:
                    best, best_chunks = other, chunks
        return best

    def _best_waiter(self, endpoint: Endpoint) -> Waiter:
        """Return the waiting call to serve: the first, or the one of the next with the longest prefix in the cache."""
        first = self._waiting[0]
        if self.affinity is None or not self.affinity.has_prefixes or first.overtaken >= MAX_OVERTAKES:
            return first
        number, count = self._endpoints.index(endpoint), len(self._endpoints)
        candidates = heapq.nsmallest(AFFINITY_LOOKAHEAD, (each for each in self._waiting if not each.turn.done()))
        best = max(candidates, key=lambda each: self.affinity.advantage(each.prompt, number, count))  # type: ignore[union-attr]
        if best is not first:
            first.overtaken += 1
        return best

    @property
    def waiting(self) -> bool:
        """Whether a call is waiting."""
        return bool(self._waiting)

    def try_acquire_at(self, endpoint: Endpoint) -> bool:
        """Acquire a permit for this endpoint if no call is waiting and one is available now."""
        now = clock.now()
        if (
            self.closed is not None
            or self._waiting
            or self.in_flight >= self.max_permits
            or endpoint.earliest(CallCost(), now) > now
        ):
            return False
        if self.budget is not None and not self.budget.has_room(self.in_flight):
            return False
        endpoint.reserve(CallCost(), now)
        self.in_flight += 1
        return True

    @property
    def total_window(self) -> int:
        """Maximum calls in flight now: the smaller of the number of permits and the sum of the endpoints' windows."""
        windows = [endpoint.window for endpoint in self._endpoints if endpoint.disabled_reason is None]
        return min(self.max_permits, sum(self.max_permits if window is None else window.size for window in windows))

    def recheck(self) -> None:
        """Check for room after a window has changed."""
        self._grant()
        self.on_capacity()

    def _grant(self) -> None:
        """Grant permits to waiting calls in order, as long as there are any."""
        while self._waiting:
            first = self._waiting[0]
            if first.turn.done():
                heapq.heappop(self._waiting)
                self._served -= first.served
                continue
            now = clock.now()
            endpoint = self._available_endpoint(first.cost, now)
            if endpoint is None:
                return
            chosen = self._best_waiter(endpoint)
            self._reserve(endpoint, chosen.cost, chosen.prompt, now)
            chosen.turn.set_result(endpoint)
            if chosen is first:
                heapq.heappop(self._waiting)
            else:
                chosen.served = True
                self._served += 1

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._grant()
        if not self._waiting:
            self.on_capacity()

    @property
    def has_room(self) -> bool:
        """Whether a new row could call now, be the first to wait for a quota, or be a candidate for prefix affinity."""
        if self.affinity is not None and self.affinity.has_prefixes:
            return len(self._waiting) - self._served < AFFINITY_LOOKAHEAD
        return self.in_flight < self.max_permits and not self._waiting

    def wake_waiting(self) -> None:
        """End the retry waits after an outage, because an endpoint responds again."""
        if self.closed is None:
            self.wake_event.set()
            self.wake_event = asyncio.Event()
        for group in list(self.groups):
            group.wake_waiting()

    def close(self, why: RunStopped) -> None:
        """Grant no more permits. Raise `why` in calls that wait now or later."""
        if self.closed is None:
            self.closed = why
            self.wake_event.set()
            for each in self._waiting:
                if not each.turn.done():
                    each.turn.set_exception(why)
            self._waiting.clear()
            self._served = 0
            self._stop_timer()
            self.on_capacity()
            for group in list(self.groups):
                group.client_closed()

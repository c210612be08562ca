"""Who may call, when, and where. Oldest first; nobody overtakes; a permit lives for one attempt."""

import asyncio
import heapq
from collections.abc import Sequence

from manycall import clock
from manycall.control import balance
from manycall.control.quota import Cost
from manycall.engine.endpoint import Endpoint
from manycall.errors import RunStopped


class Permits:
    """Permits, each for one call to one endpoint, handed to the oldest row that waits: `limit` of them, and for each
    endpoint no more than its window.

    If every endpoint says "later", the oldest waits for the first that will, and all others behind it:
    so a large call is never overtaken by small ones for ever. The scheduler asks `room()` before it begins a
    row, so that rows exist only while there is work for them.

    Attributes:
        limit: how many permits there are.
        in_flight: how many are out.
        closed: why no more are given; None while they are.
        closing: set when that happens.
    """

    def __init__(self, limit: int, endpoints: Sequence[Endpoint]) -> None:
        self.limit = limit
        self.in_flight = 0
        self.closed: RunStopped | None = None
        self.closing = asyncio.Event()
        self._endpoints = endpoints
        self._waiting: list[tuple[int, int, Cost, asyncio.Future[Endpoint]]] = []
        self._ticket = self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._room: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Permits {self.in_flight}/{self.limit} in flight, {len(self._waiting)} waiting>"

    async def acquire(self, age: int, cost: Cost) -> Endpoint:
        """Take a permit, waiting behind every older row.

        Args:
            age: the row's place in the run; smaller is older and goes first.
            cost: what the call will take from its quotas; reserved when this returns.

        Raises:
            RunStopped: no new calls.
        """
        if self.closed is not None:
            raise self.closed.with_traceback(None)
        if not self._waiting and (granted := self._grant(cost)) is not None:
            return granted
        turn: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self._ticket += 1
        heapq.heappush(self._waiting, (age, self._ticket, cost, turn))
        try:
            endpoint = await turn
            if self.closed is not None:
                raise self.closed.with_traceback(None)
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._unused(turn.result(), cost)  # it was ours for a moment: pass it on
            raise
        return endpoint

    def release(self, endpoint: Endpoint) -> None:
        """Give a permit back."""
        self.in_flight -= 1
        endpoint.in_flight -= 1
        self._serve()
        self.wake()

    def _unused(self, endpoint: Endpoint, cost: Cost) -> None:
        endpoint.quota.settle(cost, Cost(0.0, 0.0))
        self.release(endpoint)

    def _grant(self, cost: Cost) -> Endpoint | None:
        """A permit, if there is one now; otherwise see to it that we look again when there may be."""
        if self.in_flight >= self.limit:
            return None
        now = clock.now()
        endpoint, at = balance.pick(self._endpoints, cost, now, self._turn)
        if at > now:
            if at < float("inf") and (self._timer is None or self._timer_at > at):
                self._stop_timer()
                self._timer, self._timer_at = asyncio.get_running_loop().call_at(at, self._time_has_come), at
            return None
        self._turn += 1
        endpoint.begin(cost, now)
        self.in_flight += 1
        return endpoint

    @property
    def width(self) -> int:
        """How many calls may be in flight now: the permits, or what the endpoints' windows have room for."""
        windows = [endpoint.window for endpoint in self._endpoints if endpoint.retired is None]
        return min(self.limit, sum(self.limit if window is None else window.size for window in windows))

    def look_again(self) -> None:
        """A window has changed for another reason than an answer."""
        self._serve()
        self.wake()

    def _serve(self) -> None:
        """Give permits to whoever is first, as long as there are any."""
        while self._waiting:
            _, _, cost, turn = self._waiting[0]
            if not turn.done():
                granted = self._grant(cost)
                if granted is None:
                    return
                turn.set_result(granted)
            heapq.heappop(self._waiting)
        self.wake()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_has_come(self) -> None:
        self._timer = None
        self._serve()

    @property
    def free(self) -> bool:
        """Whether a new row could call, or be the first to wait for a quota."""
        return self.in_flight < self.limit and not self._waiting

    async def room(self) -> None:
        """Wait for the next time that something has changed."""
        self._room = asyncio.get_running_loop().create_future()
        await self._room

    def wake(self) -> None:
        """Let whoever waits for room look again."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def close(self, why: RunStopped) -> None:
        """Give no more: whoever waits, now or later, is told why."""
        if self.closed is None:
            self.closed = why
            self.closing.set()
            for _, _, _, turn in self._waiting:
                if not turn.done():
                    turn.set_exception(why)
            self._waiting.clear()
            self._stop_timer()
            self.wake()

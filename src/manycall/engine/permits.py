"""Who may call, when, and where. Oldest first; nobody overtakes; a permit lives for one attempt.

With one exception: where several servers of one's own remember prompts, a row may be overtaken by a few others that the
server with room knows better (control/affinity.py), but not for long.
"""

import asyncio
import heapq
from collections.abc import Callable, Sequence

from manycall import clock
from manycall.control import balance
from manycall.control.affinity import Affinity
from manycall.control.budget import Budget
from manycall.control.quota import Cost
from manycall.engine.endpoint import Endpoint
from manycall.errors import BudgetSpent, RunStopped

AHEAD = 32
"""Rows that may wait, so that a server can choose the one that it knows best."""
OVERTAKEN = 128
"""Calls that may go before an older one for that reason."""
UNEVEN = 1.25
"""Times the mean load that a server may have and still be preferred for what it knows."""
CANARY_CALLS = 8
"""In flight at first, until something was answered or a moment has gone by: if the key, the model or the address is
wrong, a few calls tell it as well as hundreds."""


class Waiting:
    """Somebody who waits for a permit."""

    __slots__ = ("age", "cost", "overtaken", "prompt", "served", "ticket", "turn")

    def __init__(
        self, age: int, ticket: int, cost: Cost, prompt: Sequence[int], turn: "asyncio.Future[Endpoint]"
    ) -> None:
        self.age, self.ticket, self.cost, self.prompt, self.turn = age, ticket, cost, prompt, turn
        self.overtaken = 0
        self.served = False

    def __lt__(self, other: "Waiting") -> bool:
        return (self.age, self.ticket) < (other.age, other.ticket)


class Permits:
    """Permits, each for one call to one endpoint, handed to the oldest row that waits: `limit` of them, and for each
    endpoint no more than its window.

    If every endpoint says "later", the oldest waits for the first that will, and all others behind it:
    so a large call is never overtaken by small ones for ever. The scheduler asks `free` before it begins a
    row, so that rows exist only while there is work for them.

    Attributes:
        limit: how many permits there are.
        in_flight: how many are out.
        closed: why no more are given; None while they are.
        alarm: set when that happens; and, to be replaced at once, when an outage is over: whoever waits to send a call
            again should look.
        affinity: who has had which prompts; None where that does not matter.
        budget: what the calls may cost; None: whatever they do.
        changed: called when there may be room, where there was none.
        canary_seconds: how long, from the first call, an answer is awaited before there are more than CANARY_CALLS.
    """

    def __init__(self, limit: int, endpoints: Sequence[Endpoint]) -> None:
        self.limit = limit
        self.in_flight = 0
        self.closed: RunStopped | None = None
        self.alarm = asyncio.Event()
        self.affinity: Affinity | None = None
        self.budget: Budget | None = None
        self.canary_seconds = 0.0
        self.changed: Callable[[], None] = lambda: None
        self._canary_ends = float("-inf")
        self._endpoints = endpoints
        self._waiting: list[Waiting] = []  # a heap; those that were served out of turn leave it when they come up
        self._served = 0
        self._ticket = self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        return f"<Permits {self.in_flight}/{self.limit} in flight, {len(self._waiting)} waiting>"

    async def acquire(self, age: int, cost: Cost, prompt: Sequence[int] = ()) -> Endpoint:
        """Take a permit, waiting behind every older row.

        Args:
            age: the row's place in the run; smaller is older and goes first.
            cost: what the call will take from its quotas; reserved when this returns.
            prompt: hashes of the request's beginnings, if it matters who has had them.

        Raises:
            RunStopped: no new calls.
        """
        if (endpoint := self.at_once(cost, prompt)) is not None:
            return endpoint
        if self.closed is not None:
            raise self.closed.with_traceback(None)
        turn: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self._ticket += 1
        heapq.heappush(self._waiting, Waiting(age, self._ticket, cost, prompt, turn))
        try:
            endpoint = await turn
            if self.closed is not None:
                raise self.closed.with_traceback(None)
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                turn.result().unused(cost)  # it was ours for a moment: pass it on
                self._returned()
            raise
        return endpoint

    def at_once(self, cost: Cost, prompt: Sequence[int] = ()) -> Endpoint | None:
        """Take a permit, if nobody waits and there is one now."""
        if self._waiting or self.closed is not None:
            return None
        now = clock.now()
        endpoint = self._open(cost, now)
        if endpoint is None:
            return None
        if self.affinity is not None and prompt:
            endpoint = self._near(endpoint, prompt, cost, now)
        self._begin(endpoint, cost, prompt, now)
        return endpoint

    def release(self, endpoint: Endpoint) -> None:
        """Give a permit back."""
        endpoint.in_flight -= 1
        self._returned()

    def _returned(self) -> None:
        self.in_flight -= 1
        if self._waiting:
            self._serve()
        self.changed()

    def _open(self, cost: Cost, now: float) -> Endpoint | None:
        """An endpoint with room for a call, if there is one now; otherwise see to it that we look again in time."""
        if self.in_flight >= self.limit or not (self.budget is None or self._may_spend(self.budget)):
            return None
        endpoint, at = balance.pick(self._endpoints, cost, now, self._turn)
        if self.in_flight >= CANARY_CALLS:
            at = max(at, self._canary_ends)
        if at > now:
            if at < float("inf") and (self._timer is None or self._timer_at > at):
                self._stop_timer()
                self._timer, self._timer_at = asyncio.get_running_loop().call_at(at, self._time_has_come), at
            return None
        return endpoint

    def _may_spend(self, budget: Budget) -> bool:
        """Whether the budget has room for a call. If it never will have, that is the end."""
        if not self.in_flight and (why := budget.used_up) is not None:
            self.close(BudgetSpent(why))
        return budget.room(self.in_flight)

    def answered(self) -> None:
        """Something was: no canary is needed any more."""
        if self._canary_ends > float("-inf"):
            self._canary_ends = float("-inf")
            self.look_again()

    def _begin(self, endpoint: Endpoint, cost: Cost, prompt: Sequence[int], now: float) -> None:
        if self._turn == 0 and self.canary_seconds:
            self._canary_ends = now + self.canary_seconds
        self._turn += 1
        endpoint.begin(cost, now)
        self.in_flight += 1
        if self.affinity is not None and prompt:
            self.affinity.note(prompt, self._endpoints.index(endpoint))

    def _near(self, endpoint: Endpoint, prompt: Sequence[int], cost: Cost, now: float) -> Endpoint:
        """Rather than this one, another with room that knows more of the prompt, if it is not much busier."""
        assert self.affinity is not None
        most = UNEVEN * sum(each.load for each in self._endpoints) / len(self._endpoints)
        best, known = endpoint, self.affinity.known(prompt, self._endpoints.index(endpoint))
        for number, other in enumerate(self._endpoints):
            if other.load <= most and not other.rests(now) and other.when(cost, now) <= now:
                more = self.affinity.known(prompt, number)
                if more > known:
                    best, known = other, more
        return best

    def _suited(self, endpoint: Endpoint) -> Waiting:
        """Of those that wait, the one for this endpoint: the first, or one of the next of which it knows most."""
        first = self._waiting[0]
        if self.affinity is None or not self.affinity.useful or first.overtaken >= OVERTAKEN:
            return first
        number, count = self._endpoints.index(endpoint), len(self._endpoints)
        some = heapq.nsmallest(AHEAD, (each for each in self._waiting if not each.turn.done()))
        best = max(some, key=lambda each: self.affinity.gain(each.prompt, number, count))  # type: ignore[union-attr]
        if best is not first:
            first.overtaken += 1
        return best

    @property
    def waiting(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def take(self, endpoint: Endpoint) -> bool:
        """Take a permit for this endpoint, if nobody waits and there is one now."""
        now = clock.now()
        if self.closed is not None or self._waiting or self.in_flight >= self.limit or endpoint.when(Cost(), now) > now:
            return False
        if self.budget is not None and not self.budget.room(self.in_flight):
            return False
        endpoint.begin(Cost(), now)
        self.in_flight += 1
        return True

    @property
    def width(self) -> int:
        """How many calls may be in flight now: the permits, or what the endpoints' windows have room for."""
        windows = [endpoint.window for endpoint in self._endpoints if endpoint.retired is None]
        return min(self.limit, sum(self.limit if window is None else window.size for window in windows))

    def look_again(self) -> None:
        """There may be room for another reason than an answer: a window has changed."""
        self._serve()
        self.changed()

    def _serve(self) -> None:
        """Give permits to whoever is first, as long as there are any."""
        while self._waiting:
            first = self._waiting[0]
            if first.turn.done():
                heapq.heappop(self._waiting)
                self._served -= first.served
                continue
            now = clock.now()
            endpoint = self._open(first.cost, now)
            if endpoint is None:
                return
            chosen = self._suited(endpoint)
            self._begin(endpoint, chosen.cost, chosen.prompt, now)
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

    def _time_has_come(self) -> None:
        self._timer = None
        self._serve()
        if not self._waiting:
            self.changed()

    @property
    def free(self) -> bool:
        """Whether a new row could call, or be the first to wait for a quota, or one of a few to choose from."""
        if self.affinity is not None and self.affinity.useful:
            return len(self._waiting) - self._served < AHEAD
        return self.in_flight < self.limit and not self._waiting

    def sound(self) -> None:
        """An endpoint answers again: the calls that wait for it need not wait any longer."""
        if self.closed is None:
            self.alarm.set()
            self.alarm = asyncio.Event()

    def close(self, why: RunStopped) -> None:
        """Give no more: whoever waits, now or later, is told why."""
        if self.closed is None:
            self.closed = why
            self.alarm.set()
            for each in self._waiting:
                if not each.turn.done():
                    each.turn.set_exception(why)
            self._waiting.clear()
            self._served = 0
            self._stop_timer()
            self.changed()

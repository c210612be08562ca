"""The permits of one job: its part of the permits of a client, with a separate budget, stop and number in flight.

The calls of a job may go to several pools, each with its own `Permits`. Then rows start while a pool in which rows
begin has room, so that one full pool does not stop the calls to the others. The number of calls that wait in all pools
is limited: if rows pass through a fast pool and then through a slow one, they would otherwise pile up between the two.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence

from manycall.client.endpoint import Endpoint
from manycall.client.permits import Permits
from manycall.client.shared_budget import SharedBudget
from manycall.errors import BudgetExceeded, ManycallError
from manycall.limits import CallCost

ENTRY_ROWS = 64
"""Rows begin in a pool if the first call of one of the last 64 rows went there."""


class PermitGroup:
    """A job's view of the shared permits, which grant them to the oldest call of all jobs.

    Args:
        shared: the permits of the default pool.
        budget: what the job may spend, possibly together with others; None if there is no limit.
        wants_rows: returns whether the job may start another row, which it may not while its results are not read fast
            enough; None: it always may.
        others: the permits of the other pools.

    Attributes:
        in_flight: calls of this job that have a permit or wait for one.
        closed: why the job makes no more calls; None while it does.
        count_rows_left: returns the number of rows that have not started yet; inf if their calls cannot be counted.
        expected_rows: number of rows that the job had to do at its start; 0 if it is unknown.
        changed: set when a row may be able to start, and when a call has ended. The scheduler clears it.
        wake_event: set when the job is closed. At the end of an outage it is set and replaced by a new event, so that
            calls in a retry wait check again.
    """

    def __init__(
        self,
        shared: Permits,
        budget: SharedBudget | None = None,
        wants_rows: Callable[[], bool] | None = None,
        others: Iterable[Permits] = (),
    ) -> None:
        self._shared, self._budget, self._wants_rows = shared, budget, wants_rows
        self._all = (shared, *others)
        self._used: dict[Permits, int] = {}  # pool → number of the last row that has begun there, 0: none has
        self._begun, self._newest = 0, -1
        self.in_flight = 0
        self.count_rows_left: Callable[[], float] = lambda: math.inf
        self.expected_rows = 0
        self.changed = asyncio.Event()
        self.wake_event = asyncio.Event()
        self.closed = next((each.closed for each in self._all if each.closed is not None), None)
        self._waiting_for_budget = 0
        if budget is not None:
            budget.join(self)
        for each in self._all:
            each.join(self)

    def __repr__(self) -> str:
        return f"<PermitGroup {self.in_flight} in flight of {self._shared!r}>"

    def leave(self) -> None:
        """Detach the job from the shared permits, after it has ended."""
        for each in self._all:
            each.leave(self)

    def has_room(self) -> bool:
        """Return whether a new row of this job could call."""
        if self.closed is not None or self._waiting_for_budget:
            return False
        if not (self._pools_have_room if self._used else self._shared.has_room()):
            return False
        return self._wants_rows is None or self._wants_rows()

    @property
    def _pools_have_room(self) -> bool:
        """Whether a pool in which rows begin has room, while no more calls wait than may be in flight."""
        if sum(each.waiting for each in self._used) > self.total_window:
            return False
        oldest = max(0, self._begun - ENTRY_ROWS)
        return any(row > oldest and each.has_room() for each, row in self._used.items())

    def record_call(self, shared: Permits, priority: int) -> None:
        """Record that a call will need a permit of this pool. A job with one pool need not record its calls."""
        if priority > self._newest:  # the first call of a row
            self._newest = priority
            self._begun += 1
            self._used[shared] = self._begun
        elif shared not in self._used:
            self._used[shared] = 0

    @property
    def total_window(self) -> int:
        """Maximum calls in flight now, including those of other jobs, in the pools that the job uses."""
        return sum(each.total_window for each in self._used) if self._used else self._shared.total_window

    def try_acquire(self, shared: Permits, cost: CallCost, prompt: Sequence[int] = ()) -> Endpoint | None:
        """Acquire a permit of a pool if one is available now."""
        if self.closed is not None or (self._budget is not None and not self._may_spend_now()):
            return None
        endpoint = shared.try_acquire(cost, prompt)
        if endpoint is not None:
            self.in_flight += 1
        return endpoint

    def try_acquire_at(self, shared: Permits, endpoint: Endpoint) -> bool:
        """Acquire a permit for this endpoint of a pool if one is available now."""
        if self.closed is not None or not self._may_spend_now() or not shared.try_acquire_at(endpoint):
            return False
        self.in_flight += 1
        return True

    async def acquire(self, shared: Permits, priority: int, cost: CallCost, prompt: Sequence[int] = ()) -> Endpoint:
        """Acquire a permit of a pool, waiting behind every older call.

        Raises:
            ManycallError: the job makes no more calls, for this reason.
        """
        if self._budget is not None:
            await self._wait_for_budget(self._budget)
        self.in_flight += 1
        try:
            if self.closed is not None:
                raise self.closed.with_traceback(None)
            endpoint = await shared.acquire(priority, cost, prompt, self)
            if self.closed is not None:  # since the permit was granted
                shared.cancel(endpoint, cost)
                raise self.closed.with_traceback(None)
            return endpoint
        except BaseException:
            self.in_flight -= 1
            self._wake_spenders()
            self.changed.set()
            raise

    def release(self, shared: Permits, endpoint: Endpoint) -> None:
        """Return a permit of a pool."""
        self.in_flight -= 1
        if self._budget is not None:
            self._budget.call_ended.set()
        shared.release(endpoint)

    def _wake_spenders(self) -> None:
        if self._budget is not None:
            self._budget.call_ended.set()

    def _may_spend_now(self) -> bool:
        return self._budget is None or (not self._waiting_for_budget and self._has_budget(self._budget))

    async def _wait_for_budget(self, budget: SharedBudget) -> None:
        self._waiting_for_budget += 1
        try:
            budget.call_ended.clear()
            while not self._has_budget(budget) and self.closed is None:
                await budget.call_ended.wait()
                budget.call_ended.clear()
        finally:
            self._waiting_for_budget -= 1

    def _has_budget(self, budget: SharedBudget) -> bool:
        """Whether the budget has room for a call. If it is used up, close the job."""
        if (why := budget.exhausted) is not None:
            self.close(BudgetExceeded(why))
        return self.closed is None and budget.has_room

    def expect_rows(self, rows: int) -> None:
        """Record the number of rows that the job has still to do, at its start."""
        self.expected_rows = rows

    def count_rows_with(self, count: Callable[[], float]) -> None:
        """Set what returns how many rows have not started yet, each of which makes one call; inf if they make more."""
        self.count_rows_left = count

    def recheck(self) -> None:
        """Check for room after a window has changed, or because a result was read."""
        self._shared.recheck()

    def end_outage(self) -> None:
        """End the retry waits, because an endpoint responds again."""
        if self.closed is None:
            self.wake_event.set()
            self.wake_event = asyncio.Event()

    def close(self, why: ManycallError) -> None:
        """Grant no more permits to this job. Raise `why` in its waiting calls."""
        if self.closed is None:
            self.closed = why
            for each in self._all:
                each.refuse(self, why)
            self.wake_event.set()
            self._wake_spenders()
            self.changed.set()

    def client_closed(self, why: ManycallError) -> None:
        """Grant no more permits, because a pool grants none."""
        self.close(why)

"""The permits of one job on a client that several jobs share, with a separate budget, stop and number in flight."""

import asyncio
from collections.abc import Callable, Sequence

from manycall.client.endpoint import Endpoint
from manycall.client.permits import Permits
from manycall.control.budget import Budget
from manycall.errors import BudgetExceeded, RunStopped
from manycall.limits import CallCost


def _always() -> bool:
    return True


class PermitGroup:
    """A job's view of the shared permits. The shared `Permits` grant them, oldest row first.

    Args:
        shared: the permits of the client.
        wants_rows: whether the job may start another row; False while its results are not read fast enough.

    Attributes:
        in_flight: calls of this job that have a permit or wait for one.
        closed: why the job makes no more calls; None while it does.
        wake_event: set when the job is closed or an outage ends.
        budget: what the job may spend; None if there is no limit.
        on_capacity: called when a row may be able to start.
    """

    def __init__(self, shared: Permits, wants_rows: Callable[[], bool] = _always) -> None:
        self._shared, self._wants_rows = shared, wants_rows
        self.in_flight = 0
        self.wake_event = asyncio.Event()
        self.budget: Budget | None = None
        self.on_capacity: Callable[[], None] = lambda: None
        self._closed: RunStopped | None = None
        self._over_budget = 0
        self._spent = asyncio.Event()
        shared.groups.add(self)

    def __repr__(self) -> str:
        return f"<PermitGroup {self.in_flight} in flight of {self._shared!r}>"

    def leave(self) -> None:
        """Unsubscribe the job from the shared permits, after it has ended."""
        self._shared.groups.discard(self)

    @property
    def closed(self) -> RunStopped | None:
        """Why no more permits are granted; None while they are."""
        return self._closed or self._shared.closed

    @property
    def has_room(self) -> bool:
        """Whether a new row of this job could call."""
        return self._wants_rows() and not self._over_budget and self._shared.has_room

    @property
    def total_window(self) -> int:
        """Maximum calls in flight now, including those of other jobs."""
        return self._shared.total_window

    def try_acquire(self, cost: CallCost, prompt: Sequence[int] = ()) -> Endpoint | None:
        """Acquire a permit if one is available now."""
        if self._closed is not None or self._over_budget or not self._may_spend():
            return None
        endpoint = self._shared.try_acquire(cost, prompt)
        self.in_flight += endpoint is not None
        return endpoint

    async def acquire(self, priority: int, cost: CallCost, prompt: Sequence[int] = ()) -> Endpoint:
        """Acquire a permit, waiting behind every older row.

        Raises:
            RunStopped: the job makes no more calls.
        """
        await self._wait_for_budget()
        self.in_flight += 1
        try:
            if self.closed is not None:
                raise self.closed.with_traceback(None)
            return await self._shared.acquire(priority, cost, prompt, self)
        except BaseException:
            self._returned()
            raise

    def release(self, endpoint: Endpoint) -> None:
        """Return a permit."""
        self._returned()
        self._shared.release(endpoint)

    def _returned(self) -> None:
        self.in_flight -= 1
        self._spent.set()
        self.on_capacity()

    async def _wait_for_budget(self) -> None:
        self._over_budget += 1
        try:
            self._spent.clear()
            while not self._may_spend() and self.closed is None:
                await self._spent.wait()
                self._spent.clear()
        finally:
            self._over_budget -= 1

    def _may_spend(self) -> bool:
        """Whether the budget has room for a call. If it is exhausted, close the job."""
        if self.budget is None:
            return True
        if not self.in_flight and (why := self.budget.exhausted) is not None:
            self.close(BudgetExceeded(why))
        return self._closed is None and self.budget.has_room(self.in_flight)

    def end_canary(self) -> None:
        """Handle the first answer: all permits may be used from now on."""
        self._shared.end_canary()

    def recheck(self) -> None:
        """Check for room after a window has changed."""
        self._shared.recheck()

    def wake_waiting(self) -> None:
        """End the retry waits after an outage."""
        if self.closed is None:
            self.wake_event.set()
            self.wake_event = asyncio.Event()

    def close(self, why: RunStopped) -> None:
        """Grant no more permits to this job. Raise `why` in its waiting calls."""
        if self._closed is None:
            self._closed = why
            self.wake_event.set()
            self._spent.set()
            self._shared.refuse(self, why)
            self.on_capacity()

    def client_closed(self) -> None:
        """Handle that the shared permits were closed."""
        self.wake_event.set()
        self._spent.set()
        self.on_capacity()

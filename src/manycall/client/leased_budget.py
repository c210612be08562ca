"""The budget of one of several worker processes: it may use what the driver allows, and then waits for more.

The driver divides the amounts (control/amounts.py). A budget that is used up ends a run in the driver alone, because a
worker does not know whether others will return a part of theirs.
"""

import asyncio
from collections.abc import Sequence

from manycall.client.shared_budget import SharedBudget
from manycall.control.amounts import AmountUse
from manycall.control.budget import Budget


class LeasedBudget(SharedBudget):
    """A budget whose limits are the worker's allowances. Until the first ones arrive, no call starts.

    Args:
        budget: counts what this worker uses, from 0 at its start. Its limits are replaced.

    Attributes:
        needs_more: set when a call begins to wait for a larger allowance, so that the worker reports at once. `uses`
            clears it.
    """

    def __init__(self, budget: Budget) -> None:
        super().__init__(budget)
        self.needs_more = asyncio.Event()
        self._is_short = False
        self._allowances = [0.0] * len(budget.spent())
        budget.set_maximums(self._allowances)

    def set_allowances(self, allowances: Sequence[float]) -> None:
        """Allow these amounts in all since the start of the worker, in the order of the budget's limits."""
        if any(new > old for new, old in zip(allowances, self._allowances, strict=True)):
            self._is_short = False
        self._allowances = [*allowances]
        self.budget.set_maximums(allowances)
        self.call_ended.set()  # calls that wait check again

    @property
    def has_room(self) -> bool:
        """Whether another call may start."""
        if super().has_room:
            return True
        if not self._is_short:
            self._is_short = True
            self.needs_more.set()
        return False

    @property
    def exhausted(self) -> str | None:
        """None: only the driver knows whether the whole budget is used up."""
        return None

    def uses(self) -> list[AmountUse]:
        """Return what to report to the driver, in the order of the budget's limits."""
        self.needs_more.clear()
        amounts = zip(self.budget.spent(), self.budget.reserved(self.in_flight), self.budget.reserved(1), strict=True)
        return [AmountUse(*each, is_waiting=self._is_short) for each in amounts]

"""STUB"""

from manycall.client.shared_budget import SharedBudget
from manycall.control.amounts import AmountUse


class LeasedBudget(SharedBudget):
    def set_allowances(self, allowances: list[float]) -> None:
        pass

    @property
    def uses(self) -> list[AmountUse]:
        return []

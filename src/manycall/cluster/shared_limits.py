"""The limits of a run, divided among its workers: the quotas of the endpoints, -j and the budgets."""

from collections.abc import Sequence

from manycall.client.call_client import CallClient
from manycall.client.leases import EndpointShare
from manycall.client.shared_budget import SharedBudget
from manycall.cluster.messages import Report
from manycall.errors import ManycallError


class SharedLimits:
    def __init__(self, client: CallClient, concurrency: int | None, budget: SharedBudget | None) -> None:
        self.holders: set[int] = set()
        self.exhausted: ManycallError | None = None

    def record(self, worker: int, report: Report) -> None: ...
    def update(self, now: float, workers: Sequence[int]) -> None:
        self.holders = set(workers)

    def changed(self) -> list[int]:
        return []

    def shares(self, worker: int, serial: int) -> dict[str, EndpointShare]:
        return {}

    def allowances(self, worker: int, serial: int) -> list[float]:
        return []

    def remove(self, worker: int) -> None: ...

"""The limits of a run, divided among its workers: the quotas of the endpoints, -j and the budgets.

Which worker holds how much is decided in control/: `share_holders.py`, `shares.py`, `amounts.py`.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from manycall.client.leases import EndpointReport, EndpointShare
from manycall.cluster.worker_messages import Report
from manycall.control.amounts import DividedAmount
from manycall.control.share_holders import EndpointDemand, HolderLimit, active_workers, assign_holders
from manycall.control.shares import SHARE_PARTS, DividedLimit

CONCURRENCY = "-j"
"""A worker that gets rows needs a part of -j, as if it were an endpoint of a further pool."""


class SharedEndpoint:
    """One endpoint, as all workers together know it.

    Attributes:
        pool: number of its pool.
        quota: the division of all its limits.
        disabled_reason: why no more calls are sent to it; None while it is in use. Once set, it stays.
    """

    def __init__(self, pool: int) -> None:
        self.pool = pool
        self.quota = DividedLimit(SHARE_PARTS)
        self.disabled_reason: str | None = None
        self._holders_limit = HolderLimit()
        self._refused = self._refused_before = 0

    def record(self, report: EndpointReport) -> None:
        """Record what a worker reports."""
        if self.disabled_reason is None:
            self.disabled_reason = report.disabled_reason

    def remove(self, last: EndpointReport) -> None:
        """Count what a worker that is gone has last reported. It says nothing more about the endpoint's state."""
        self._refused_before += last.refused

    def demand(self, now: float, reports: Sequence[EndpointReport], workers: int) -> EndpointDemand:
        """Return how many workers may hold a share, from the newest reports of those that are there."""
        rates = [each.calls_per_second for each in reports if each.calls_per_second is not None]
        rate = max(rates, default=None)
        refused = self._refused_before + sum(each.refused for each in reports)
        busy = [each for each in reports if each.in_flight] or reports
        limit = self._holders_limit.update(
            now, workers, rate=rate, was_refused=refused > self._refused,
            is_client_bound=bool(busy) and all(each.is_client_bound for each in busy),
        )  # fmt: skip
        self._refused = max(refused, self._refused)
        is_ejected = bool(reports) and all(each.is_ejected for each in reports)
        return EndpointDemand(limit, self.disabled_reason is None and not is_ejected)


class SharedLimits:
    """Divides the limits.

    Args:
        concurrency: -j; None: the workers adapt the concurrency.
        budgets: what this session may use of each budget.

    Attributes:
        active: the workers that hold a share of an endpoint in each pool and get rows.
    """

    def __init__(self, concurrency: int | None, budgets: Sequence[float]) -> None:
        self._concurrency = None if concurrency is None else DividedLimit(concurrency)
        self._amounts = [DividedAmount(maximum) for maximum in budgets]
        self._endpoints: dict[str, SharedEndpoint] = {}
        self._reports: dict[int, Mapping[str, EndpointReport]] = {}
        self.active: set[int] = set()

    def __repr__(self) -> str:
        return f"<SharedLimits of {len(self._endpoints)} endpoints, active {sorted(self.active)}>"

    def record(self, worker: int, report: Report) -> None:
        """Record what a worker reports."""
        self._reports[worker] = report.endpoints
        for name, each in report.endpoints.items():
            if name not in self._endpoints:
                self._endpoints[name] = SharedEndpoint(each.pool)
            self._endpoints[name].record(each)
        for amount, use in zip(self._amounts, report.used, strict=False):
            amount.record_use(worker, use)
        for divided in self._divided:
            divided.acknowledge(worker, report.answers)

    @property
    def _divided(self) -> list[DividedLimit | DividedAmount]:
        quotas = [each.quota for each in self._endpoints.values()]
        return [*quotas, *([] if self._concurrency is None else [self._concurrency]), *self._amounts]

    def update(
        self, now: float, workers: Sequence[int], idle: Collection[int] = (), busy: Collection[int] = ()
    ) -> None:
        """Decide anew which worker wants how much.

        Args:
            workers: those that may make calls, in a stable order.
            idle: those of them that have no rows, while no rows wait.
            busy: those of them that have rows. They keep a share until these have ended, even if they get no more.
        """
        pools: dict[int, dict[str, EndpointDemand]] = {}
        for name, endpoint in self._endpoints.items():
            reports = [each[name] for each in self._reports.values() if name in each]
            pools.setdefault(endpoint.pool, {})[name] = endpoint.demand(now, reports, len(workers))
        demands: list[dict[str, EndpointDemand]] = [*pools.values()]
        if self._concurrency is not None:
            demands.append({CONCURRENCY: EndpointDemand(self._concurrency.total)})
        holders = assign_holders(demands, workers, busy)
        self.active = {*active_workers(demands, workers)}
        for name, endpoint in self._endpoints.items():
            endpoint.quota.set_demands(_demands(holders.get(name, ()), idle, SHARE_PARTS))
        if self._concurrency is not None:
            last_first = holders.get(CONCURRENCY, ())[::-1]  # those that only finish their rows
            self._concurrency.set_demands(_demands(last_first, idle, self._concurrency.total))

    def changed(self) -> set[int]:
        """Return the workers whose next grant would give them another share or allowance."""
        return set(chain.from_iterable(each.changed() for each in self._divided))

    def shares(self, worker: int, serial: int) -> dict[str, EndpointShare]:
        """Return the shares that a grant with this serial number gives a worker, and record them."""
        return {
            name: EndpointShare(endpoint.quota.grant(worker, serial) / SHARE_PARTS, endpoint.disabled_reason)
            for name, endpoint in self._endpoints.items()
        }

    def concurrency(self, worker: int, serial: int) -> int | None:
        """Return the part of -j that the grant gives, and record it."""
        return None if self._concurrency is None else self._concurrency.grant(worker, serial)

    def allowances(self, worker: int, serial: int) -> list[float]:
        """Return what the grant allows of each budget, and record it."""
        return [each.grant(worker, serial) for each in self._amounts]

    def remove(self, worker: int, used: Sequence[float] | None) -> None:
        """Take the shares of a worker that makes no more calls.

        Args:
            used: what it has used of each budget, also if it was removed before; empty if it has made no call. None:
                unknown, because it may still run.
        """
        for name, last in self._reports.pop(worker, {}).items():
            self._endpoints[name].remove(last)
        for divided in self._divided:
            if isinstance(divided, DividedLimit):
                divided.remove(worker)
        for number, amount in enumerate(self._amounts):
            amount.remove(worker, None if used is None else used[number] if used else 0.0)


def _demands(holders: Sequence[int], idle: Collection[int], total: int) -> dict[int, int]:
    """Each holder wants all, except those that have nothing to do. If none has, the limits stay as they are."""
    busy = [worker for worker in holders if worker not in idle] or holders
    return dict.fromkeys(busy, total)

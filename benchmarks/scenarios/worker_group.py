"""A driver and its workers in one virtual loop: real clients and real decisions.

Journal, output and processes are left out, because only the limits are measured.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.job_client import JobClient
from manycall.client.leased_budget import LeasedBudget
from manycall.client.leases import EndpointReport, EndpointShare, apply_shares, endpoint_reports
from manycall.control.amounts import AmountUse, DividedAmount
from manycall.control.budget import Budget, Charge, SpendLimit
from manycall.control.share_holders import EndpointDemand, HolderLimit, active_workers, assign_holders
from manycall.control.shares import SHARE_PARTS, DividedLimit
from manycall.control.work_units import Orders, RowsReport, WorkUnits
from manycall.control.worker_leases import HeldLease, WorkerLeases
from manycall.errors import ManycallError
from manycall.providers import openai

HEARTBEAT_SECONDS = 1.0
POLL_SECONDS = 0.05
"""How often a worker looks whether its budget is short."""
TOKENS = SpendLimit(0.0, lambda charge: charge.tokens, "{:,.0f} tokens".format, "--max-total-tokens")


class Grant(NamedTuple):
    serial: int
    answers: int
    shares: dict[str, EndpointShare]
    allowance: float | None
    orders: Orders


class Report(NamedTuple):
    serial: int
    applied: int
    rows: RowsReport
    has_room: bool
    begun: int
    in_progress: int
    endpoints: dict[str, EndpointReport]
    use: AmountUse | None


class SimulatedWorker:
    """A worker: a client, its rows, its lease.

    Attributes:
        ended: number of rows that have ended.
        failed: number of them that failed.
    """

    def __init__(self, name: int, client: CallClient, *, has_budget: bool, prompt: str) -> None:
        self.name, self._client, self._prompt = name, client, prompt
        self.ended = self.failed = 0
        self._done: list[str] = []
        self._lease = HeldLease()
        self._not_begun: deque[str] = deque()
        self._serial = self._applied = self._last_unit = self._last_return = self._begun = 0
        self._returned: tuple[str, ...] = ()
        self._wake, self._report_now = asyncio.Event(), asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        apply_shares(client, {}, -math.inf)
        budget = Budget([TOKENS], Charge(512, 0))
        self._budget = LeasedBudget(budget) if has_budget else None
        self._calls = JobClient(
            client.pool, client.model, {}, budget=self._budget,
            charge=lambda call, reply: budget.spend(_charge(reply.body)),
        )  # fmt: skip

    @property
    def spent(self) -> float:
        """Tokens that were used."""
        return 0.0 if self._budget is None else self._budget.budget.spent()[0]

    def apply(self, grant: Grant) -> None:
        """Apply a grant, and confirm it at once if it changes anything."""
        if grant.serial <= self._applied:
            return
        self._applied = grant.serial
        self._lease.record_grant(grant.answers)
        apply_shares(self._client, grant.shares, self._lease.until)
        if self._budget is not None and grant.allowance is not None:
            self._budget.set_allowances([grant.allowance])
        for unit in grant.orders.units:
            if unit.number > self._last_unit:
                self._last_unit = unit.number
                self._not_begun.extend(unit.row_ids)
        request = grant.orders.give_back
        if request is not None and request.number > self._last_return:
            count = min(request.rows, len(self._not_begun))
            self._last_return = request.number
            self._returned = tuple(self._not_begun.pop() for _ in range(count))
        self._wake.set()
        self._report_now.set()

    def report(self) -> Report:
        """Return a report of all that the worker knows."""
        self._serial += 1
        self._lease.record_report(self._serial, clock.now())
        return Report(
            self._serial, self._applied,
            RowsReport(self._last_unit, len(self._not_begun), self._last_return, self._returned),
            self._calls.permits.has_room(), self._begun, self._begun - self.ended, endpoint_reports(self._client),
            None if self._budget is None else self._budget.uses()[0],
        )  # fmt: skip

    async def wait_for_report(self) -> None:
        """Wait until a report is due."""
        until = clock.now() + HEARTBEAT_SECONDS
        while clock.now() < until and (self._budget is None or not self._budget.needs_more.is_set()):
            if await clock.wait_for_event(self._report_now, POLL_SECONDS):
                break
        self._report_now.clear()

    async def run(self) -> None:
        """Begin rows while there is room, as the scheduler does."""
        changed = self._calls.permits.changed
        while True:
            while self._not_begun and self._calls.permits.has_room():
                task = asyncio.create_task(self._row(self._not_begun.popleft()))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                self._begun += 1
                if not self._not_begun:
                    self._report_now.set()
                await asyncio.sleep(0)
            changed.clear()
            if self._not_begun:
                await changed.wait()
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _row(self, row: str) -> None:
        try:
            await self._calls.chat(f"{row} {self._prompt}")
        except ManycallError:
            self.failed += 1
        self.ended += 1
        self._done.append(row)

    def take_done(self) -> list[str]:
        """Return the rows that have ended since the last time, as the driver finds them in the segment."""
        done, self._done = self._done, []
        return done

    def stop(self) -> None:
        """Begin no more rows; calls that wait end."""
        for task in self._running:
            task.cancel()


def _charge(body: bytes) -> Charge:
    usage = openai.usage(body)
    return Charge(usage.prompt_tokens + usage.completion_tokens, 0.0)


class SimulatedDriver:
    """What the driver of several workers decides, from their reports.

    Attributes:
        units: the rows.
        amount: the budget; None if there is none.
    """

    def __init__(self, rows: int, workers: Sequence[int], budget: float | None) -> None:
        self._workers = workers
        self.units, self._leases = WorkUnits(), WorkerLeases()
        self.units.offer(f"r{number}" for number in range(rows))
        self.amount = None if budget is None else DividedAmount(budget)
        self._budget = math.inf if budget is None else budget
        self._limits: dict[str, DividedLimit] = {}
        self._holder_limits: dict[str, HolderLimit] = {}
        self._refused: dict[str, int] = {}
        self._reports: dict[int, Report] = {}
        self._begun: dict[int, tuple[int, float]] = {}  # worker → rows begun at the last tick, and its rate
        self._serials = dict.fromkeys(workers, 0)
        self._active: set[int] = set()

    def receive(self, worker: int, report: Report, done: Sequence[str]) -> list[int]:
        """Record a report. Return the workers that need a grant at once."""
        assert self._leases.renew(worker, clock.now())
        if worker in self._reports and report.serial <= self._reports[worker].serial:
            return []
        self._reports[worker] = report
        self.units.record_done(done)
        self.units.record_report(worker, report.rows)
        if self.amount is not None and report.use is not None:
            self.amount.record_use(worker, report.use)
            self.amount.acknowledge(worker, report.applied)
        for limit in self._limits.values():
            limit.acknowledge(worker, report.applied)
        self._demand()
        urgent = {each for limit in self._limits.values() for each in limit.changed()}
        urgent |= {*self.amount.changed()} if self.amount is not None else set()
        if self._assign(worker):
            urgent.add(worker)
        elif worker in self._active and report.has_room and (victim := self.units.steal_for(worker)) is not None:
            urgent.add(victim)
        return [each for each in urgent if each in self._reports]

    def tick(self) -> None:
        """Do what is due once a second."""
        assert not self._leases.expire(clock.now())
        for worker, report in self._reports.items():
            begun, rate = self._begun.get(worker, (0, 0.0))
            self._begun[worker] = report.begun, max(report.begun - begun, 0.5 * rate)
        self._demand()
        for worker, report in self._reports.items():
            if worker in self._active:
                self._assign(worker)
            elif report.rows.not_begun:
                self.units.request_return(worker, report.rows.not_begun)

    def _assign(self, worker: int) -> Sequence[str]:
        if worker not in self._active:
            return ()
        _, rate = self._begun.get(worker, (0, 0.0))
        return self.units.assign(worker, rate=rate, unread=0.0, workers=len(self._active))

    def _demand(self) -> None:
        """Decide who holds a share of which endpoint. One worker alone, until a call was answered."""
        merged: dict[str, list[EndpointReport]] = {}
        for report in self._reports.values():
            for name, endpoint in report.endpoints.items():
                merged.setdefault(name, []).append(endpoint)
        is_canary = not any(each.answered for found in merged.values() for each in found)
        workers = self._workers[:1] if is_canary else self._workers
        pool = {name: EndpointDemand(self._max_holders(name, found)) for name, found in merged.items()}
        begun = [worker for worker, report in self._reports.items() if report.in_progress]
        self._active = {*active_workers([pool], workers)}
        holders = assign_holders([pool], workers, begun)
        for name, found in holders.items():
            if name not in self._limits:
                self._limits[name] = DividedLimit()
            self._limits[name].set_demands(dict.fromkeys(found, SHARE_PARTS))

    def _max_holders(self, name: str, reports: Sequence[EndpointReport]) -> int:
        rates = [each.calls_per_second for each in reports if each.calls_per_second is not None]
        refused = sum(each.refused for each in reports)
        was_refused, self._refused[name] = refused > self._refused.get(name, 0), refused
        limit = self._holder_limits.setdefault(name, HolderLimit())
        return limit.update(
            clock.now(), len(self._workers), rate=min(rates, default=None), was_refused=was_refused,
            is_client_bound=False,
        )  # fmt: skip

    def grant(self, worker: int) -> Grant:
        """Return a grant for a worker."""
        serial = self._serials[worker] = self._serials[worker] + 1
        shares = {
            name: EndpointShare(limit.grant(worker, serial) / SHARE_PARTS) for name, limit in self._limits.items()
        }
        allowance = None if self.amount is None else self.amount.grant(worker, serial)
        return Grant(serial, self._reports[worker].serial, shares, allowance, self.units.orders(worker))

    @property
    def is_finished(self) -> bool:
        """Whether all rows have ended, or the budget is used up."""
        return self.units.is_finished or (self.amount is not None and self.amount.used >= self._budget)

"""A driver and its workers as far as the pure modules of `control/` decide what they do, in a network that may lose,
repeat, delay and reorder messages. Time is a number, and each process has its own clock.

The driver follows the docstrings of these modules word by word; run as a program would run them.
"""

from collections.abc import Iterator
from typing import NamedTuple

from manycall.control.amounts import AmountUse, DividedAmount
from manycall.control.shares import SHARE_PARTS, DividedLimit
from manycall.control.work_units import Orders, RowsReport, WorkUnits
from manycall.control.worker_leases import HeldLease, WorkerLeases

PER_CALL = 10.0
"""Cost of a call."""


class Grant(NamedTuple):
    worker: int
    serial: int
    answers: int
    part: int
    allowance: float
    orders: Orders


class Report(NamedTuple):
    worker: int
    serial: int
    applied: int
    rows: RowsReport
    use: AmountUse


class Worker:
    """A worker process: it begins rows as it likes, and each ends when the test says so.

    Attributes:
        drift: relative error of its clock.
        is_frozen: it reads no messages and does nothing, until it is thawed.
        is_alive: it was not killed.
        expected: cost of a call as it expects it, never less than the real one.
    """

    def __init__(self, name: int, drift: float) -> None:
        self.name, self.drift = name, drift
        self.is_frozen, self.is_alive = False, True
        self.lease = HeldLease()
        self.part, self.allowance, self.used, self.expected = 0, 0.0, 0.0, PER_CALL
        self.serial = self.applied = self.last_unit = self.last_return = 0
        self.not_begun: list[str] = []
        self.in_flight: list[str] = []
        self.returned: tuple[str, ...] = ()
        self.inbox: list[Grant] = []

    def clock(self, time: float) -> float:
        return time * (1 + self.drift)

    def has_lease(self, time: float) -> bool:
        """Whether it would begin a call now if it were not frozen."""
        return self.is_alive and self.clock(time) < self.lease.until

    def report(self, time: float) -> Report:
        self.serial += 1
        self.lease.record_report(self.serial, self.clock(time))
        rows = RowsReport(self.last_unit, len(self.not_begun), self.last_return, self.returned)
        reserved = self.expected * len(self.in_flight)
        use = AmountUse(self.used, reserved, self.expected, bool(self.not_begun) and not self.has_allowance)
        return Report(self.name, self.serial, self.applied, rows, use)

    def apply(self, grant: Grant) -> None:
        if grant.serial <= self.applied:
            return
        self.lease.record_grant(grant.answers)
        self.applied, self.part, self.allowance = grant.serial, grant.part, grant.allowance
        for unit in grant.orders.units:
            if unit.number > self.last_unit:
                self.last_unit = unit.number
                self.not_begun.extend(unit.row_ids)
        request = grant.orders.give_back
        if request is not None and request.number > self.last_return:
            kept = max(0, len(self.not_begun) - request.rows)
            self.last_return, self.returned = request.number, tuple(self.not_begun[kept:])
            del self.not_begun[kept:]

    @property
    def has_allowance(self) -> bool:
        """The rule of control/budget.py for calls of equal cost."""
        return self.used + self.expected * len(self.in_flight) < self.allowance

    def can_begin(self, time: float) -> bool:
        may_run = self.has_lease(time) and not self.is_frozen
        return may_run and self.part > 0 and bool(self.not_begun) and self.has_allowance

    def begin(self) -> None:
        self.in_flight.append(self.not_begun.pop(0))

    def end(self) -> str:
        """End the oldest row in flight: its line stands in the segment when this returns."""
        self.used += PER_CALL
        return self.in_flight.pop(0)


class Driver:
    """The driver. `send` is called with each grant."""

    def __init__(self, rows: int, budget: float, drift: float, smallest_part: int) -> None:
        self.drift = drift
        self.leases, self.units = WorkerLeases(), WorkUnits()
        self.limit, self.amount = DividedLimit(SHARE_PARTS, smallest_part), DividedAmount(budget)
        self.units.offer(map(str, range(rows)))
        self.newest: dict[int, Report] = {}
        self.serials: dict[int, int] = {}

    def clock(self, time: float) -> float:
        return time * (1 + self.drift)

    def receive(self, report: Report, time: float) -> list[Grant]:
        """Return the grants to send at once."""
        if not self.leases.renew(report.worker, self.clock(time)):
            return []  # it is told to end
        if report.worker in self.newest and report.serial <= self.newest[report.worker].serial:
            return []
        is_new = report.worker not in self.newest
        self.newest[report.worker] = report
        self.units.record_report(report.worker, report.rows)
        self.limit.acknowledge(report.worker, report.applied)
        self.amount.record_use(report.worker, report.use)
        self.amount.acknowledge(report.worker, report.applied)
        if is_new:
            self._demand()
        return [*self._grants({*self.limit.changed(), *self.amount.changed()})]

    def _demand(self) -> None:
        self.limit.set_demands(dict.fromkeys(self.newest, SHARE_PARTS))

    def tick(self, time: float) -> list[Grant]:
        """What the driver does once a second, after it has read all messages and segments."""
        for worker in self.leases.expire(self.clock(time)):
            self._forget(worker, None)
        self._demand()
        for worker, report in self.newest.items():
            self.units.assign(worker, rate=1.0, unread=0.0, workers=len(self.newest))
            if not report.rows.not_begun:
                self.units.steal_for(worker)
        return [*self._grants(self.newest)]

    def record_end(self, worker: int, used: float) -> None:
        """The process is known to have ended."""
        self.leases.remove(worker)
        self._forget(worker, used)

    def _forget(self, worker: int, used: float | None) -> None:
        self.newest.pop(worker, None)
        self.units.remove(worker)
        self.limit.remove(worker)
        self.amount.remove(worker, used)

    def _grants(self, workers: object) -> Iterator[Grant]:
        for worker in [each for each in self.newest if each in workers]:  # type: ignore[operator]
            serial = self.serials[worker] = self.serials.get(worker, 0) + 1
            part, allowance = self.limit.grant(worker, serial), self.amount.grant(worker, serial)
            yield Grant(worker, serial, self.newest[worker].serial, part, allowance, self.units.orders(worker))

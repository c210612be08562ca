"""Which worker process has which rows.

The driver reads the rows and hands them out in work units. A unit has the rows that a worker begins in UNIT_SECONDS,
and fewer near the end (guided self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Computers, 1987). When no rows
wait, a worker that has none left gets half of the rows that another one has not begun (work stealing: Blumofe and
Leiserson, JACM 1999). Rows that were begun stay where they are, because their calls are paid.

Only ids are kept here; the driver keeps the rows until `record_done`.

How the driver uses it:

* `offer` rows as it reads them, so that a few units' worth are always waiting.
* For each report that is newer than the last one of that worker: `record_report`, with what the worker says of itself,
  and `record_done` with the ids that its segment has gained. A row is done when it is in a segment or in the output,
  whichever worker wrote it.
* Then `assign` for each worker that holds a share of the limits. If nothing is left to read, also `steal_for` each
  worker that could begin a row and has none; it names the worker that must return some.
* `request_return` all rows of a worker that has lost its share.
* Send a grant with `orders(worker)` to every worker whose orders have changed.
* `remove` a worker when its lease is over (control/worker_leases.py) or its process is known to have ended. Its rows
  wait again, first.

Messages may be lost, repeated, delayed and reordered, so orders are repeated until a report confirms them:

* Units are numbered from 1 for each worker. A worker ignores the units up to the number that it has received, and
  reports that number. A grant contains all units that are not confirmed, so none is skipped.
* Requests to return rows are numbered as well, and one is open at a time. A worker obeys each number once, after the
  units of the same grant, and repeats its answer in each report until it gets a request with another number.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

UNIT_SECONDS = 20.0
MIN_UNIT_ROWS, MAX_UNIT_ROWS = 64, 20_000
"""A unit lasts UNIT_SECONDS, within these numbers of rows. The next one is sent when half of it has begun."""
UNITS_LEFT, MIN_LAST_UNIT_ROWS = 4, 16
"""When fewer than UNITS_LEFT units for each worker remain, a unit has that part of the remaining rows, at least 16."""


class WorkUnit(NamedTuple):
    """Rows that a worker is to process."""

    number: int
    row_ids: tuple[str, ...]


class ReturnRequest(NamedTuple):
    """A request to return up to `rows` rows that the worker has not begun: the last ones."""

    number: int
    rows: int


class Orders(NamedTuple):
    """The part of a grant about rows: the units to add, then the request to return rows, if there is one."""

    units: tuple[WorkUnit, ...]
    give_back: ReturnRequest | None


class RowsReport(NamedTuple):
    """What a report says about rows.

    Attributes:
        last_unit: number of the last unit that was received; 0: none.
        not_begun: number of rows of the units received that have not begun.
        last_return: number of the last request to return rows that was obeyed; 0: none.
        returned: the rows that were returned then.
    """

    last_unit: int = 0
    not_begun: int = 0
    last_return: int = 0
    returned: tuple[str, ...] = ()


def unit_rows(rate: float, rows_left: float, workers: int) -> int:
    """Return the number of rows that a worker should have before it, those not begun.

    Args:
        rate: rows that the worker begins per second; 0 if it is unknown.
        rows_left: rows of the run that are not assigned to a worker; inf if they cannot be counted.
        workers: number of workers that get rows.
    """
    rows = min(MAX_UNIT_ROWS, max(MIN_UNIT_ROWS, round(UNIT_SECONDS * rate)))
    if rows_left < UNITS_LEFT * workers * rows:
        rows = min(rows, max(MIN_LAST_UNIT_ROWS, math.ceil(rows_left / (UNITS_LEFT * workers))))
    return rows


class _Assignment:
    """The orders that a worker has not confirmed, and how many rows it had not begun when it sent its last report."""

    def __init__(self) -> None:
        self.units: list[WorkUnit] = []
        self.request: ReturnRequest | None = None
        self.idle = self._last_unit = self._last_return = 0

    @property
    def not_begun(self) -> int:
        """Rows that the worker had not begun when it sent its last report, and rows on their way to it."""
        return self.idle + sum(len(unit.row_ids) for unit in self.units)

    def add(self, row_ids: tuple[str, ...]) -> None:
        self._last_unit += 1
        self.units.append(WorkUnit(self._last_unit, row_ids))

    def request_return(self, rows: int) -> None:
        self._last_return += 1
        self.request = ReturnRequest(self._last_return, rows)

    def confirm(self, report: RowsReport) -> tuple[str, ...]:
        """Drop the orders that a report confirms. Return the rows that the worker has returned since."""
        self.units = [unit for unit in self.units if unit.number > report.last_unit]
        self.idle = report.not_begun
        if self.request is None or report.last_return != self.request.number:
            return ()
        self.request = None
        return report.returned


class WorkUnits:
    """The rows of a run that are known and not done: those that wait, and those that workers have.

    Workers are named by numbers that are never used again.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, None] = OrderedDict()
        self._worker_of: dict[str, int] = {}
        self._assignments: dict[int, _Assignment] = {}

    def __repr__(self) -> str:
        return f"<WorkUnits: {self.waiting} rows wait, {len(self._worker_of)} are with workers>"

    def offer(self, row_ids: Iterable[str]) -> None:
        """Add rows behind those that wait. None of them may have been offered before."""
        self._waiting.update(dict.fromkeys(row_ids))

    @property
    def waiting(self) -> int:
        """Number of rows that no worker has."""
        return len(self._waiting)

    @property
    def is_finished(self) -> bool:
        """Whether all rows that were offered are done."""
        return not self._waiting and not self._worker_of

    def assigned(self, worker: int) -> list[str]:
        """Return the rows that a worker has and that are not done."""
        return [row for row, holder in self._worker_of.items() if holder == worker]

    def not_begun(self, worker: int) -> int:
        """Return how many rows a worker has not begun, according to its last report."""
        return self._of(worker).not_begun

    def orders(self, worker: int) -> Orders:
        """Return the orders that the worker has not confirmed, for the next grant."""
        assignment = self._of(worker)
        return Orders(tuple(assignment.units), assignment.request)

    def assign(self, worker: int, *, rate: float, unread: float, workers: int) -> Sequence[str]:
        """Assign waiting rows to a worker that has begun at least half of its unit. Return them.

        Args:
            rate: rows that the worker begins per second; 0 if it is unknown.
            unread: rows of the run that were not offered yet; inf if they cannot be counted.
            workers: number of workers that get rows.
        """
        assignment = self._of(worker)
        if assignment.request is not None:
            return ()
        rows_left = unread + len(self._waiting)
        rows = unit_rows(rate, rows_left, workers)
        if assignment.not_begun > rows // 2:
            return ()
        # Not more than an equal part of the rows that no worker has begun, so that stolen rows do not go back.
        idle = sum(each.not_begun for each in self._assignments.values())
        rows = min(rows, math.ceil(min(rows_left + idle, MAX_UNIT_ROWS * workers) / workers))
        count = min(rows - assignment.not_begun, len(self._waiting))
        if count <= 0:
            return ()
        row_ids = tuple(self._waiting.popitem(last=False)[0] for _ in range(count))
        self._worker_of.update(dict.fromkeys(row_ids, worker))
        assignment.add(row_ids)
        return row_ids

    def record_report(self, worker: int, report: RowsReport) -> None:
        """Record a report that is newer than all that were recorded for this worker. Rows returned wait again."""
        returned = self._of(worker).confirm(report)
        self._wait_again([row for row in returned if row in self._worker_of])

    def record_done(self, row_ids: Iterable[str]) -> None:
        """Record rows that are done, whichever worker had them. Rows that are unknown or already done are ignored."""
        for row in row_ids:
            if self._worker_of.pop(row, None) is None:
                self._waiting.pop(row, None)

    def request_return(self, worker: int, rows: int) -> bool:
        """Ask a worker for rows that it has not begun. Return False if it has not answered the last request."""
        assignment = self._of(worker)
        if assignment.request is not None:
            return False
        assignment.request_return(rows)
        return True

    def steal_for(self, needy: int) -> int | None:
        """Ask the worker with the most rows not begun for half of them. Return this worker, None if there is none.

        Args:
            needy: the worker that has run out of rows.
        """
        if self._waiting or self.not_begun(needy):
            return None
        victim = max(self._assignments, key=lambda worker: self._of(worker).idle, default=needy)
        rows = self._of(victim).idle // 2  # it keeps the last one, which it is about to begin
        return victim if rows and self.request_return(victim, rows) else None

    def remove(self, worker: int) -> int:
        """Let the rows of a worker wait again, before all others, because it is gone. Return their number."""
        row_ids = self.assigned(worker)
        self._assignments.pop(worker, None)
        self._wait_again(row_ids)
        return len(row_ids)

    def _of(self, worker: int) -> _Assignment:
        return self._assignments.setdefault(worker, _Assignment())

    def _wait_again(self, row_ids: Sequence[str]) -> None:
        for row in reversed(row_ids):
            del self._worker_of[row]
            self._waiting[row] = None
            self._waiting.move_to_end(row, last=False)

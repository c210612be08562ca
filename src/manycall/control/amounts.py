"""Divide an amount that is used up, such as a budget in tokens or money, among worker processes.

A worker gets an *allowance*: the amount that it may use in all since its start. The driver raises it as the worker
spends, and lowers it when another worker needs the rest. What is not used therefore returns without a message of its
own. The allowances add up to the maximum at most, by the same rule as shares (control/promises.py).

A worker may be ahead of what it has used by 1 / (2 N) of what is free, for N workers. When that is less than one call,
a single worker gets all that is free, and the others wait. So the maximum is exceeded by no more than in one process:
by the last call and the error of the expectation, for each worker.

How the driver uses it, for each limit in tokens or money:

* For each report: `record_use` first, then `acknowledge(worker, serial)`.
* For each grant: `grant(worker, serial)` returns the worker's allowance.
* After a report, send a grant at once to the workers in `changed()`. The other changes can wait for a second.
* When the whole amount is used up, stop the run. Workers never stop by themselves (client/leased_budget.py).
* `remove(worker, used)` when its process is known to have ended, with what its journal shows. When its lease is over,
  `remove(worker)`: it may have used its whole allowance since its last report. Once more when its process has ended.
"""

from typing import NamedTuple

from manycall.control.promises import Promises


class AmountUse(NamedTuple):
    """What a worker reports about an amount, since its start.

    Attributes:
        used: amount that its responses have used.
        reserved: expected amount of its calls in flight.
        per_call: expected amount of another call.
        is_waiting: whether a call waits for a larger allowance.
    """

    used: float = 0.0
    reserved: float = 0.0
    per_call: float = 0.0
    is_waiting: bool = False

    @property
    def bound(self) -> float:
        """The amount used once the calls in flight have ended, as expected."""
        return self.used + self.reserved


class DividedAmount:
    """An amount that workers use up together.

    Args:
        maximum: the amount that may be used in this session.

    Attributes:
        used: the amount used so far by all workers, also by those that are gone.
    """

    def __init__(self, maximum: float) -> None:
        self._maximum = maximum
        self._used_by_gone: dict[int, float] = {}
        self._uses: dict[int, AmountUse] = {}
        self._promises = Promises()

    def __repr__(self) -> str:
        return f"<DividedAmount {self.used:g} of {self._maximum:g}>"

    @property
    def used(self) -> float:
        """The amount used so far."""
        return sum(self._used_by_gone.values()) + sum(use.used for use in self._uses.values())

    def record_use(self, worker: int, use: AmountUse) -> None:
        """Record what a worker reports."""
        self._uses[worker] = use

    def acknowledge(self, worker: int, serial: int) -> None:
        """Record that a worker has applied the grant with this serial number."""
        self._promises.acknowledge(worker, serial)

    def grant(self, worker: int, serial: int) -> float:
        """Return the allowance that a grant with this serial number gives a worker, and record it."""
        allowance = self._allowance(worker)
        self._promises.record(worker, serial, allowance)
        return allowance

    def changed(self) -> list[int]:
        """Return the workers that wait and could begin a call after the next grant."""
        waiting = [worker for worker, use in self._uses.items() if use.is_waiting]
        return [each for each in waiting if self._allowance(each) >= self._promises.newest(each) + self._per_call]

    def remove(self, worker: int, used: float | None = None) -> None:
        """Forget a worker that begins no more calls.

        Args:
            used: the amount that its calls have used in all, also if it was removed before; None: unknown, so that all
                that it was allowed counts.
        """
        self._used_by_gone[worker] = self._held(worker) if used is None else used
        self._uses.pop(worker, None)
        self._promises.remove(worker)

    def _bound(self, worker: int) -> float:
        return self._uses.get(worker, AmountUse()).bound

    def _held(self, worker: int) -> float:
        """Return the amount that no other worker can get: the largest allowance, or the use beyond it."""
        return max(self._promises.largest(worker), self._bound(worker))

    def _allowance(self, worker: int) -> float:
        """Return the use of the worker, with its calls in flight, plus its part of the unused amount."""
        workers = {*self._uses, *self._promises.workers, worker}
        left = self._maximum - sum(self._used_by_gone.values())
        unused = left - sum(map(self._bound, workers))  # negative if calls cost more than expected
        ahead = unused / (2 * len(workers))
        if ahead < self._per_call:
            ahead = unused if worker == self._last_worker else 0.0
        not_held = left - sum(map(self._held, workers - {worker}))
        return max(0.0, min(self._bound(worker) + ahead, not_held))

    @property
    def _per_call(self) -> float:
        return max((use.per_call for use in self._uses.values()), default=0.0)

    @property
    def _last_worker(self) -> int | None:
        """The worker that gets all that is left near the end: the first that has a call to make."""
        return min(self._uses, key=lambda worker: (not self._uses[worker].is_waiting, worker), default=None)

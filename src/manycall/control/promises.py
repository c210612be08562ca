"""The amounts that each worker process was granted, and may therefore still be using.

The driver changes a worker's share by a grant with a serial number, and the worker reports the number of the newest
grant that it has applied. Until then it may be using the old share or any newer one. Only what no worker may be using
can be given to another: a share shrinks before another one grows.
"""

from typing import NamedTuple


class _Promise(NamedTuple):
    serial: int
    amount: float


class Promises:
    """The amounts promised to each worker by grants that it may still go by. Amounts are at least 0."""

    def __init__(self) -> None:
        self._promises: dict[int, list[_Promise]] = {}  # from the one that was confirmed last to the newest

    def __repr__(self) -> str:
        return f"<Promises to {len(self._promises)} workers>"

    def record(self, worker: int, serial: int, amount: float) -> None:
        """Record that the grant with this serial number promises an amount. The numbers of a worker increase."""
        promises = self._promises.setdefault(worker, [_Promise(0, 0)])
        if promises[-1].amount != amount:
            promises.append(_Promise(serial, amount))

    def acknowledge(self, worker: int, serial: int) -> None:
        """Record that a worker has applied the grant with this serial number, and will apply no older one."""
        promises = self._promises.get(worker, [])
        while len(promises) > 1 and promises[1].serial <= serial:
            del promises[0]

    def newest(self, worker: int) -> float:
        """Return the amount that was promised last; 0 if there is none."""
        promises = self._promises.get(worker)
        return promises[-1].amount if promises else 0

    def largest(self, worker: int) -> float:
        """Return the largest amount that a worker may be using."""
        return max((promise.amount for promise in self._promises.get(worker, ())), default=0)

    @property
    def workers(self) -> list[int]:
        """The workers that were promised something."""
        return [*self._promises]

    @property
    def total(self) -> float:
        """The sum of the largest amounts that the workers may be using."""
        return sum(map(self.largest, self._promises))

    def remove(self, worker: int) -> None:
        """Forget a worker that certainly uses nothing any more."""
        self._promises.pop(worker, None)

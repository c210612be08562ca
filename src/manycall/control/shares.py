"""Divide a limit, such as the quota of an endpoint or -j, among worker processes.

The parts are integers, so that their sums are exact. A quota is divided into SHARE_PARTS parts, which stand for
fractions of all its limits (calls and tokens, per minute and per day). `-j 40` is divided into 40 parts.

At any time, the parts that workers may be using add up to the total at most: a part is given to a worker only after
another one has confirmed that it no longer uses it, or is gone (control/promises.py). The parts follow the demand by
max-min fairness (water filling: Bertsekas and Gallager, "Data Networks", 1992, chapter 6): equal parts, but no more
than a worker wants. What is then left is divided equally as well, so that a worker may use more at once.

How the driver uses it, for each endpoint and for -j:

* Once a second, and when a worker comes or goes: `set_demands`, in a stable order of the workers.
* For each grant to a worker: `grant(worker, serial)` returns its part, which the grant must contain.
* For each report: `acknowledge(worker, serial)`, with the serial number of the newest grant that the worker has
  applied. The worker ignores a grant that is older than that.
* After each of these: send a grant at once to the workers in `changed()`, so that a part that one returns soon reaches
  another.
* `remove` a worker when its lease is over or its process is known to have ended.
"""

from collections.abc import Mapping

from manycall.control.promises import Promises

SHARE_PARTS = 1_000_000
"""Number of parts into which a quota is divided."""


def share_out(total: int, demands: Mapping[int, int], minimum: int = 1) -> dict[int, int]:
    """Return the part of each worker: equal parts up to what each wants, then equal parts of the rest.

    Args:
        total: the limit.
        demands: worker → parts that it could use.
        minimum: smallest part that is of use. If it is not enough for all who want something, the last ones get none.
    """
    wanting = [worker for worker, wanted in demands.items() if wanted > 0][: total // minimum]
    parts = dict.fromkeys(demands, 0)
    left = total
    for number, worker in enumerate(sorted(wanting, key=demands.__getitem__)):
        parts[worker] = min(max(minimum, demands[worker]), left // (len(wanting) - number))
        left -= parts[worker]
    for number, worker in enumerate(wanting):
        extra = left // (len(wanting) - number)
        parts[worker] += extra
        left -= extra
    return parts


class DividedLimit:
    """A limit that is divided among workers.

    Args:
        total: the limit, in parts.
        minimum: smallest part that is of use, for a quota the part of one call per report.

    Attributes:
        total: the limit, in parts.
    """

    def __init__(self, total: int = SHARE_PARTS, minimum: int = 1) -> None:
        self.total = total
        self._minimum = max(1, min(minimum, total))
        self._targets: dict[int, int] = {}
        self._promises = Promises()

    def __repr__(self) -> str:
        return f"<DividedLimit {self.total}: {self._targets}>"

    def set_demands(self, demands: Mapping[int, int]) -> None:
        """Set how many parts each worker could use now. A worker that is not named gets none."""
        self._targets = share_out(self.total, demands, self._minimum)

    def _next_part(self, worker: int) -> int:
        """Return the part that the worker can get now: its target, as far as no other worker may be using it."""
        free = self.total - self._promises.total + self._promises.largest(worker)
        part = min(self._targets.get(worker, 0), int(free))
        return part if part >= self._minimum else 0

    def changed(self) -> list[int]:
        """Return the workers whose part would change with the next grant."""
        workers = {*self._targets, *self._promises.workers}
        return [worker for worker in sorted(workers) if self._next_part(worker) != self._promises.newest(worker)]

    def grant(self, worker: int, serial: int) -> int:
        """Return the part that a grant with this serial number gives a worker, and record it."""
        part = self._next_part(worker)
        self._promises.record(worker, serial, part)
        return part

    def acknowledge(self, worker: int, serial: int) -> None:
        """Record that a worker has applied the grant with this serial number."""
        self._promises.acknowledge(worker, serial)

    def remove(self, worker: int) -> None:
        """Forget a worker that makes no more calls. Others can get its part with their next grants."""
        self._targets.pop(worker, None)
        self._promises.remove(worker)

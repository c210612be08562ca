"""Leases: for how long a worker process may make calls without a word from the driver, without comparing clocks.

A worker that is frozen or cut off cannot be told to stop. Therefore all that it was given, rows and shares of limits,
is valid for LEASE_SECONDS and is renewed by each exchange of messages. When the lease is over, the driver gives the
rows and shares to others. The worker must have stopped by then, on its own clock (C. Gray and D. Cheriton, "Leases",
SOSP 1989).

The worker counts from the moment at which it *sent* the report that a grant answers, the driver from the moment at
which it *received* that report, which is later. The driver also waits longer by LEASE_MARGIN. So the worker always
stops first, as long as the two clocks run at the same speed within 5 %. The delay of a message does not matter.

Worker: `HeldLease.record_report(serial, now)` when it sends a report, `record_grant(answers)` when a grant arrives, and
no call from `until` on (client/permits.py). Driver: `WorkerLeases.renew(worker, now)` for each report, then, once a
second, `expire(now)`.
"""

LEASE_SECONDS = 10.0
LEASE_MARGIN = 1.05
"""The driver's lease is longer by this factor: two clocks may differ by 5 %. Real ones differ by less than 0.1 %."""
DRIVER_PAUSE_SECONDS = 2.0
"""If more time has passed since the last call of `expire`, the driver itself was delayed, and reports may still wait to
be read. Then no lease ends within this time."""


class WorkerLeases:
    """The driver's side: which workers are alive.

    A worker is named by a number that is never used again: a worker whose lease is over stays out, and another one
    takes its place.
    """

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._gone: set[int] = set()
        self._checked_at = float("inf")

    def __repr__(self) -> str:
        return f"<WorkerLeases of {len(self._until)} workers>"

    def renew(self, worker: int, now: float) -> bool:
        """Record that a report arrived, perhaps the first. Return whether the worker has a lease.

        If it has none, its lease was over before: it must get no grant, and should be sent a stop.
        """
        if worker in self._gone:
            return False
        self._until[worker] = now + LEASE_SECONDS * LEASE_MARGIN
        return True

    def expire(self, now: float) -> list[int]:
        """Return the workers whose leases are over since the last call; they are then gone."""
        if now - self._checked_at > DRIVER_PAUSE_SECONDS:
            self._until = {worker: max(until, now + DRIVER_PAUSE_SECONDS) for worker, until in self._until.items()}
        self._checked_at = now
        expired = [worker for worker, until in self._until.items() if now >= until]
        for worker in expired:
            self.remove(worker)
        return expired

    def remove(self, worker: int) -> None:
        """Forget a worker whose process has ended. A report of it that arrives later renews nothing."""
        self._until.pop(worker, None)
        self._gone.add(worker)


class HeldLease:
    """The worker's side: until when it may begin calls.

    Attributes:
        until: time on the worker's clock; -inf before the first grant.
    """

    def __init__(self) -> None:
        self.until = float("-inf")
        self._sent_at: dict[int, float] = {}  # serial number of a report that was not answered → when it was sent

    def __repr__(self) -> str:
        return f"<HeldLease until {self.until:.3f}>"

    def record_report(self, serial: int, now: float) -> None:
        """Record that a report is sent now. Serial numbers increase."""
        self._sent_at[serial] = now

    def record_grant(self, answers: int) -> None:
        """Record a grant. `answers` is the serial number of the newest report that the driver had received."""
        if answers in self._sent_at:
            self.until = max(self.until, self._sent_at[answers] + LEASE_SECONDS)
            self._sent_at = {serial: at for serial, at in self._sent_at.items() if serial >= answers}

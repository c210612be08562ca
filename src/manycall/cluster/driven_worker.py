"""One worker, as its driver sees it."""

from collections import deque

from manycall.cluster.starting import StartedWorker
from manycall.cluster.worker_messages import Grant, Report, encode_message
from manycall.control.amounts import AmountUse

RATE_SECONDS = 5.0
"""The rate of a worker is the mean of this time."""


class DrivenWorker:
    """A worker that was started.

    Args:
        number: its number, which is that of its segment.
        place: its place among the workers, from 0.
        started: its process.

    Attributes:
        report: its newest report; None before the first.
        rate: rows per second that it begins.
        is_lost: its rows and shares were given to others.
    """

    def __init__(self, number: int, place: int, started: StartedWorker) -> None:
        self.number, self.place, self.started = number, place, started
        self.report: Report | None = None
        self.rate = 0.0
        self.is_lost = False
        self._last_serial = 0
        self._begun: deque[tuple[float, int]] = deque()

    def __repr__(self) -> str:
        return f"<DrivenWorker {self.number}{', lost' if self.is_lost else ''}>"

    def record(self, report: Report, now: float) -> bool:
        """Record a report. Return False if a newer one has arrived before."""
        if self.report is not None and report.serial <= self.report.serial:
            return False
        self.report = report
        self._begun.append((now, report.begun))
        while len(self._begun) > 2 and now - self._begun[1][0] >= RATE_SECONDS:
            self._begun.popleft()
        then, begun = self._begun[0]
        self.rate = (report.begun - begun) / (now - then) if now > then else 0.0
        return True

    def lose(self) -> None:
        """Record that its rows and shares are given to others."""
        self.is_lost = True

    @property
    def has_ended(self) -> bool:
        """Whether its newest report is its last one."""
        return self.report is not None and self.report.ended

    @property
    def is_resting(self) -> bool:
        """Whether it has reported that it works on no row."""
        return self.report is not None and not self.report.working

    @property
    def used(self) -> list[AmountUse]:
        """What its calls have used of each budget."""
        return [] if self.report is None else self.report.used

    @property
    def last_report(self) -> int:
        """Number of its newest report; 0 before the first."""
        return 0 if self.report is None else self.report.serial

    def next_serial(self) -> int:
        """Return the serial number of the next grant."""
        self._last_serial += 1
        return self._last_serial

    def send(self, grant: Grant) -> None:
        """Send a grant."""
        self.started.link.send(encode_message(grant))

"""The part of `RowEngine` that shows how the workers of a session are doing."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from manycall import clock
from manycall.client.pool import ClientStatus
from manycall.cluster.group_figures import GroupFigures
from manycall.cluster.group_health import GroupHealth
from manycall.providers.parameter_lesson import ParameterChange
from manycall.run.session import JobSession


class GroupStatus:
    """Figures and timeline of the workers.

    Args:
        session: its counters and spending are kept up to date.

    Attributes:
        figures: the newest figures of each worker.
    """

    def __init__(self, session: JobSession) -> None:
        self._shown = session
        self.figures = GroupFigures()
        self._health = GroupHealth()
        self._lines: list[dict[str, Any]] = []

    def __repr__(self) -> str:
        return f"<GroupStatus {self.figures!r}>"

    def add_lines(self, worker: int, lines: Iterable[dict[str, Any]]) -> None:
        """Write lines of a worker to the timeline; those about the health of endpoints together with other workers'."""
        for line in lines:
            if line.get("health"):
                self._health.record(worker, line)
            else:
                self._lines.append(line)

    def deactivate(self, worker: int) -> None:
        """Let a worker no longer count among those that run."""
        self.figures.deactivate(worker)
        self._health.deactivate(worker)
        self.count_figures()

    @property
    def bound_seconds(self) -> float:
        """For how long all workers have been the limit."""
        return self.figures.bound[0]

    @property
    def bound_detail(self) -> str:
        """The worst load in that time."""
        return self.figures.bound[1]

    @property
    def calls_in_flight(self) -> int:
        """Number of calls in flight."""
        return self.figures.calls_in_flight

    @property
    def total_window(self) -> int:
        """Number of calls that may be in flight."""
        return self.figures.status.window

    @property
    def parameter_changes(self) -> Sequence[ParameterChange]:
        """How workers have changed parameters."""
        return self.figures.parameter_changes

    def status(self, now: float) -> ClientStatus:
        """Return the calls in flight, the window, and what limits the throughput."""
        return self.figures.status

    def timeline_lines(self, now: float) -> Iterator[dict[str, Any]]:
        """Yield what the workers have written for the timeline, and when they started and ended."""
        lines, self._lines = self._lines, []
        yield from lines
        yield from self._health.new_lines()

    def oldest_calls(self, now: float) -> list[dict[str, Any]]:
        """Return the calls that have been in flight for the longest time."""
        return self.figures.oldest_calls

    def count_figures(self) -> None:
        """Set the session's counters and spending to the sums of all workers."""
        session = self._shown
        self.figures.sum_counters(session.counters)
        self.figures.sum_counts(session.job.counts)
        session.spending.set_session(self.figures.totals, session.counters)

    def note(self, number: int, what: str) -> None:
        """Write to the timeline what a worker has done."""
        self._lines.append({"time": clock.wall_time(), "worker": number, "event": what})

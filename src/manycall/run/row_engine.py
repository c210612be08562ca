"""What processes the rows of a session: this process, or several others (cluster/driver.py)."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Protocol

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.job_client import JobClient
from manycall.client.pool import ClientStatus
from manycall.providers.parameter_lesson import ParameterChange
from manycall.records import Row
from manycall.run.client_status import client_status
from manycall.run.endpoint_health import EndpointHealth
from manycall.run.scheduler import Scheduler


class RowEngine(Protocol):
    """Processes the rows of a session, each of them once.

    Attributes:
        bound_seconds, bound_detail: for how long processes, and not endpoints, have limited the calls, and the worst
            load in that time.
    """

    @property
    def bound_seconds(self) -> float: ...
    @property
    def bound_detail(self) -> str: ...
    @property
    def calls_in_flight(self) -> int: ...
    @property
    def total_window(self) -> int: ...
    @property
    def parameter_changes(self) -> Sequence[ParameterChange]: ...

    async def run(self, rows: AsyncIterator[Row]) -> None:
        """Process rows until there are no more or the run is stopped; then wait for the calls in flight.

        Raises:
            RunStopped, StorageError, UsageError: the run ended before all rows were processed.
        """

    def stop(self, reason: BaseException) -> None:
        """Start no new row and make no new call. Calls in flight finish."""

    def cancel(self, reason: Any) -> None:
        """Stop, and cancel the calls in flight."""

    def forget_rows(self) -> None:
        """Record no result and no failure from now on. Safe in a signal handler."""

    def recheck(self) -> None:
        """Check whether a row may start, because a result was read."""

    def leave(self) -> None:
        """Release what the rows have used, after `run`."""

    def status(self, now: float) -> ClientStatus:
        """Return the calls in flight, the window, and what limits the throughput."""
        ...

    def timeline_lines(self, now: float) -> Iterator[dict[str, Any]]:
        """Yield what is to be written to the timeline about the endpoints."""
        ...

    def oldest_calls(self, now: float) -> list[dict[str, Any]]:
        """Return the calls that have been in flight for the longest time."""
        ...


class LocalEngine:
    """Processes the rows in this process.

    Args:
        scheduler: processes them.
        calls: makes the calls of the job.
        client: the client of these calls, which is open.
    """

    def __init__(self, scheduler: Scheduler, calls: JobClient, client: CallClient) -> None:
        self._scheduler, self._calls, self._client = scheduler, calls, client
        self._load = client.pool.cpu_load
        self._bound_before = self._load.bound_seconds
        self._endpoints = [each for pool in client.all_pools for each in pool.endpoints]
        self._health = EndpointHealth(self._endpoints)
        self.stop, self.cancel, self.forget_rows = scheduler.stop, scheduler.cancel, scheduler.forget_rows
        self.run, self.recheck, self.oldest_calls = scheduler.run, scheduler.recheck, scheduler.oldest_calls
        self.leave = calls.leave

    def __repr__(self) -> str:
        return f"<LocalEngine of {self._scheduler!r}>"

    @property
    def bound_seconds(self) -> float:
        """For how long this process has limited the calls."""
        return self._load.bound_seconds - self._bound_before

    @property
    def bound_detail(self) -> str:
        """The worst load in that time."""
        return self._load.worst

    @property
    def calls_in_flight(self) -> int:
        """Number of calls in flight."""
        return self._scheduler.calls_in_flight

    @property
    def total_window(self) -> int:
        """Number of calls that may be in flight."""
        return self._scheduler.total_window

    @property
    def parameter_changes(self) -> Sequence[ParameterChange]:
        """How the bodies that are sent differ from the canonical ones."""
        return self._client.parameter_changes

    def status(self, now: float) -> ClientStatus:
        """Return the calls in flight, the window, and what limits the throughput."""
        return client_status(self._client, now)

    def timeline_lines(self, now: float) -> Iterator[dict[str, Any]]:
        """Yield the events and the health of the endpoints."""
        offset = clock.wall_time() - clock.now()
        for endpoint in self._endpoints:
            while endpoint.events:
                event = endpoint.events.popleft()
                yield {"time": offset + event.at, "endpoint": endpoint.url, "event": event.what}
        for line in self._health.lines(now):
            yield {"time": clock.wall_time(), **line}

"""The figures of several workers as those of one session."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from manycall.client.call_counters import CallCounters
from manycall.client.pool import ClientStatus
from manycall.cluster.worker_messages import WorkerFigures
from manycall.providers.parameter_lesson import ParameterChange
from manycall.run.endpoint_spending import EndpointSpending
from manycall.run.scheduler import SHOWN_CALLS
from manycall.run.spending import SessionTotals

MERGED = frozenset({"done", "failed", "rejected", "truncated", "failure_counts"})
"""Counters of rows. They follow from the rows that were merged, and not from what workers report."""

TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")


class GroupFigures:
    """The newest figures of each worker, also of those that have ended."""

    def __init__(self) -> None:
        self._figures: dict[int, WorkerFigures] = {}
        self._active: set[int] = set()
        self._without_workers = ClientStatus(0, 0, "workers are starting")

    def __repr__(self) -> str:
        return f"<GroupFigures of {len(self._figures)} workers>"

    def record(self, worker: int, figures: WorkerFigures) -> None:
        """Record the newest figures of a worker."""
        self._figures[worker] = figures
        self._active.add(worker)

    def deactivate(self, worker: int) -> None:
        """Let a worker no longer count among those that run. What it has done still counts."""
        self._without_workers = self.status._replace(in_flight=0)
        self._active.discard(worker)

    def correct(self, worker: int, totals: SessionTotals) -> None:
        """Replace what a worker has last reported of its calls by what its journal shows, after it has died."""
        figures = self._figures.get(worker, WorkerFigures())
        counters = {
            **figures.counters,
            "calls": max(
                figures.counters.get("calls", 0), totals.responses - figures.counters.get("invalid_responses", 0)
            ),
            **{name: sum(getattr(each, name) for each in totals.endpoints) for name in TOKENS},
        }
        self._figures[worker] = replace(figures, counters=counters, cost=totals.cost, spending=totals.endpoints)

    def _active_figures(self) -> list[WorkerFigures]:
        return [self._figures[worker] for worker in sorted(self._active)]

    def sum_counters(self, counters: CallCounters) -> None:
        """Set the counters of calls and tokens to the sums."""
        sums = Counter[str]()
        for each in self._figures.values():
            sums.update({name: value for name, value in each.counters.items() if name not in MERGED})
            counters.include_retried(each.first_retried)
        counters.set_calls(sums)

    def sum_counts(self, counts: dict[str, int]) -> None:
        """Set the additional counts of the job to the sums."""
        sums = Counter[str]()
        for each in self._figures.values():
            sums.update(each.counts)
        counts.update(sums)

    @property
    def totals(self) -> SessionTotals:
        """What all calls have used."""
        by_name: dict[str, EndpointSpending] = {}
        for each in self._figures.values():
            for spent in each.spending:
                by_name.setdefault(spent.endpoint, EndpointSpending(spent.endpoint)).include(spent)
        return SessionTotals(sum(each.cost for each in self._figures.values()), [*by_name.values()])

    @property
    def calls_in_flight(self) -> int:
        """Number of calls in flight."""
        return sum(each.status[0] for each in self._active_figures())

    @property
    def status(self) -> ClientStatus:
        """The calls in flight, the window, and what limits the worker with the most calls.

        After the last worker has ended, it is what it was before.
        """
        active = self._active_figures()
        if not active:
            return self._without_workers
        busiest = max(active, key=lambda each: each.status[0])
        workers = f"{len(active)} workers: " if len(active) > 1 else ""
        window = sum(each.status[1] for each in active)
        return ClientStatus(self.calls_in_flight, window, f"{workers}{busiest.status[2]}")

    @property
    def bound(self) -> tuple[float, str]:
        """For how long all workers have been the limit, and the worst load in that time."""
        least = min(self._active_figures(), key=lambda each: each.bound_seconds, default=WorkerFigures())
        return least.bound_seconds, least.bound_detail

    @property
    def oldest_calls(self) -> list[dict[str, Any]]:
        """The calls that have been in flight for the longest time."""
        calls = [call for each in self._active_figures() for call in each.oldest]
        return sorted(calls, key=lambda call: -call["seconds"])[:SHOWN_CALLS]

    @property
    def parameter_changes(self) -> Sequence[ParameterChange]:
        """How workers have changed parameters, each change once."""
        return _unique(change for each in self._figures.values() for change in each.parameter_changes)


def _unique(changes: Iterable[ParameterChange]) -> list[ParameterChange]:
    found: list[ParameterChange] = []
    for change in changes:
        if change not in found:
            found.append(change)
    return found

"""A budget that one job uses, or several jobs together."""

import asyncio
from typing import Protocol

from manycall.control.budget import Budget


class SpendingJob(Protocol):
    """A job that uses a budget (client/permit_group.py).

    Attributes:
        in_flight: calls that have a permit or wait for one.
    """

    in_flight: int


class SharedBudget:
    """A budget with the calls in flight of all jobs that use it.

    Args:
        budget: what all jobs together may spend.

    Attributes:
        call_ended: set when a call of any of the jobs has ended, so that calls that wait for the budget check again.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.call_ended = asyncio.Event()
        self._jobs: list[SpendingJob] = []

    def __repr__(self) -> str:
        return f"<SharedBudget {self.budget!r} of {len(self._jobs)} jobs>"

    def join(self, job: SpendingJob) -> None:
        """Count the calls of a job, too."""
        self._jobs.append(job)

    @property
    def in_flight(self) -> int:
        """Calls of all jobs that have a permit or wait for one."""
        return sum([job.in_flight for job in self._jobs])

    @property
    def has_room(self) -> bool:
        """Whether another call may start."""
        return self.budget.has_room(self.in_flight)

    @property
    def exhausted(self) -> str | None:
        """The error message if the budget is used up and no call is in flight, which might cost less than expected."""
        return None if any(job.in_flight for job in self._jobs) else self.budget.exhausted

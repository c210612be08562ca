"""Several jobs at once. Jobs with the same model share a client, and thereby its limits and its connections.

A job uses what the others leave free, at their ends for example. A job that stops, because its key is wrong for
example, does not stop the others. Budgets, the time limit and Ctrl-C apply to all jobs together.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.shared_budget import SharedBudget
from manycall.errors import Interrupted, ManycallError
from manycall.run.job import Job
from manycall.run.options import RunOptions
from manycall.run.run_job import client_arguments, open_session, own_client, run_job, with_model
from manycall.run.run_result import RunResult
from manycall.run.session import JobSession
from manycall.run.session_handle import SessionHandle
from manycall.run.signals import Interrupts
from manycall.run.status_display import StatusDisplay
from manycall.run.status_sum import sum_figures
from manycall.run.ticker import obeying


class GroupMember(NamedTuple):
    """One job of a group, with a name for messages and its options. The options have one output each."""

    name: str
    job: Job[Any]
    options: RunOptions


async def run_group(
    title: str, members: Sequence[GroupMember], interrupts: Interrupts
) -> list[RunResult | ManycallError]:
    """Run several jobs at once. Return for each how it went, or why it stopped.

    Args:
        title: the name of the group in the status line.

    Raises:
        UsageError: an argument of a job cannot be used. No call was made.
        StorageError: an output cannot be opened. No call was made.
        Interrupted: the group was interrupted.
    """
    if members[0].options.dry_run:
        return [await run_job(job, options, interrupts) for _, job, options in members]
    display = StatusDisplay(sys.stderr if members[0].options.progress else None)
    group = JobGroup(title, members, display)
    with obeying(interrupts, group):
        outcomes = await group.run()
    if stopped := next((each for each in outcomes if isinstance(each, Interrupted)), None):
        raise stopped.replace(rows_done=sum(map(_rows_done, outcomes)))
    return outcomes


class MemberDisplay(StatusDisplay):
    """Keeps the newest figures of one job, and shows its announcements with those of the others.

    Args:
        client: number of the client that makes the calls of the job.
    """

    def __init__(self, name: str, client: int, shared: StatusDisplay) -> None:
        super().__init__(None)
        self._name, self._client, self._shared = name, client, shared
        self.figures: Mapping[str, Any] | None = None

    def show(self, name: str, figures: Mapping[str, Any], now: float) -> None:
        """Keep the figures."""
        self.figures = {**figures, "client": self._client}

    def announce(self, sentence: str) -> None:
        """Show the sentence, with the name of the job."""
        self._shared.announce(f"{self._name}: {sentence}")


class JobGroup:
    """The sessions of the jobs of a group.

    Args:
        title: the name of the group in the status line.
        display: where the status line of the group is drawn.
        make_client: returns a client for a job, which is not open yet.

    Attributes:
        clients: the clients of the jobs: one for each model and endpoint.
    """

    def __init__(
        self,
        title: str,
        members: Sequence[GroupMember],
        display: StatusDisplay,
        make_client: Callable[[Job[Any], RunOptions], CallClient] = own_client,
    ) -> None:
        self._title, self._members, self._display = title, members, display
        self._handles = [SessionHandle() for _ in members]
        self._sessions: list[JobSession] = []
        self._waiting: set[JobSession] = set()  # sessions whose files are open and that have not begun
        self._clients: list[CallClient] = []
        by_arguments: dict[Any, CallClient] = {}
        for _, job, options in members:
            client = make_client(job, options)  # for each job, because it checks the job's parameters
            self._clients.append(by_arguments.setdefault(client_arguments(job, options), client))
        self.clients = [*by_arguments.values()]
        self._displays = [
            MemberDisplay(each.name, self.clients.index(client), display)
            for each, client in zip(members, self._clients, strict=True)
        ]

    def __repr__(self) -> str:
        return f"<JobGroup {self._title}, {len(self._members)} jobs>"

    async def _open_files(self, stack: AsyncExitStack) -> None:
        """Open the outputs of all jobs, so that one that cannot be used is reported before any call.

        Args:
            stack: closes the files of sessions that do not begin.
        """
        budget: SharedBudget | None = None
        for (_, job, options), client, handle, display in zip(
            self._members, self._clients, self._handles, self._displays, strict=True
        ):
            session = await open_session(
                job, with_model(options, client), client, handle, display=display, budget=budget
            )
            self._sessions.append(session)
            self._waiting.add(session)
            stack.callback(self._discard_waiting, session)
            budget = session.budget

    def _discard_waiting(self, session: JobSession) -> None:
        if session in self._waiting:
            session.discard()

    async def run(self) -> list[RunResult | ManycallError]:
        """Run all jobs. Return for each how it went, or why it stopped. Cancelling it aborts the calls in flight.

        Raises:
            UsageError, StorageError: before any call.
        """
        async with AsyncExitStack() as stack:
            await self._open_files(stack)
            for client in self.clients:
                await stack.enter_async_context(client)
            tasks = [
                asyncio.create_task(self._run_one(session, handle))
                for session, handle in zip(self._sessions, self._handles, strict=True)
            ]
            try:
                async with self._drawn():
                    await asyncio.wait(tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        errors = [task.result() for task in tasks]
        return [error or session.result() for error, session in zip(errors, self._sessions, strict=True)]

    async def _run_one(self, session: JobSession, handle: SessionHandle) -> ManycallError | None:
        self._waiting.remove(session)
        try:
            with session.recorded():
                await session.run(handle)
        except ManycallError as error:
            return error
        return None

    @asynccontextmanager
    async def _drawn(self) -> AsyncIterator[None]:
        """Draw the status line of the group once a second."""

        async def draw() -> None:
            while True:
                if figures := [each.figures for each in self._displays if each.figures is not None]:
                    self._display.show(self._title, sum_figures(figures), clock.now())
                await clock.sleep(1.0)

        ticker = asyncio.create_task(draw())
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.wait([ticker])
            self._display.clear()

    @property
    def calls_in_flight(self) -> int:
        """Number of calls in flight."""
        return sum(each.calls_in_flight for each in self._handles)

    def stop(self, reason: Interrupted) -> None:
        """Start no new call; calls in flight finish."""
        for each in self._handles:
            each.stop(reason)

    def cancel(self, reason: Interrupted) -> None:
        """Abort calls in flight too. Completed calls are in the journal."""
        for each in self._handles:
            each.cancel(reason)

    def forget_rows(self) -> None:
        """Record no result and no failure from now on. Safe in a signal handler."""
        for each in self._handles:
            each.forget_rows()


def _rows_done(outcome: RunResult | ManycallError) -> int:
    return outcome.done if isinstance(outcome, RunResult) else getattr(outcome, "rows_done", 0)

"""A worker: makes the calls of the rows that its driver sends, and writes them to its segment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.call_counters import CallCounters
from manycall.client.job_client import JobClient
from manycall.client.leased_budget import LeasedBudget
from manycall.client.leases import apply_shares, endpoint_reports
from manycall.cluster.link import Link
from manycall.cluster.mirrored_link import segment_place
from manycall.cluster.row_queue import RowQueue
from manycall.cluster.worker_messages import (
    Grant,
    Report,
    Setup,
    WorkerFigures,
    decode_grant,
    decode_setup,
    encode_message,
    error_of,
    reason_of,
)
from manycall.control.worker_leases import HeldLease
from manycall.errors import RunStopped, UsageError
from manycall.run.job import Job, job_params
from manycall.run.options import RunOptions
from manycall.run.row_client import JournalLog
from manycall.run.row_engine import LocalEngine
from manycall.run.run_job import own_client, with_model
from manycall.run.scheduler import Scheduler
from manycall.run.spending import Spending
from manycall.run.spending_limits import spending_limits
from manycall.run.ticker import group_commit
from manycall.store.segments import Segment

REPORT_SECONDS, POLL_SECONDS = 1.0, 0.02
"""How often a worker reports, and how often it checks whether it should do so sooner."""
DRIVER_GONE = "the process that handed out the rows has ended"


async def run_worker(job: Job[Any], options: RunOptions, link: Link) -> None:
    """Work for the driver at the other end of the link until it says that there are no more rows.

    Args:
        job: the job of the driver; its own rows are not used.
    """
    message = await link.receive()
    if message is None:
        return
    setup = decode_setup(message)
    place = segment_place(link, Path(setup.run_folder), setup.segment, setup.mark, is_local=setup.is_local)
    with place as (folder, outlet):
        last = await _work(job, options, setup, folder, outlet)
        outlet.send(encode_message(replace(last, ended=True)))
        outlet.close()


async def _work(job: Job[Any], options: RunOptions, setup: Setup, folder: Path, link: Link) -> Report:
    """Process the rows that the driver sends. Return the last report."""
    last = Report(1)
    try:
        client = _checked_client(job, options, setup)
        with closing(_open_segment(job, folder, setup.segment)) as segment:
            async with client:
                worker = Worker(job, with_model(options, client), client, segment, link, setup)
                try:
                    await worker.run()
                finally:
                    last = worker.make_report()
    except Exception as error:  # also a bug, so that the driver can say it
        last = replace(last, stopped=reason_of(error))
    return last


def _checked_client(job: Job[Any], options: RunOptions, setup: Setup) -> CallClient:
    """Return the client, which is not open yet.

    Raises:
        UsageError: a key is not that of the driver, or is missing.
    """
    client = own_client(job, options)
    client.use_started_sims(setup.sims)
    marks = client.key_marks(setup.salt)
    if different := next((name for name, mark in setup.key_marks.items() if marks.get(name) != mark), None):
        raise UsageError(
            f"The API key of {different} on this worker is not that of the driver. Set the same key wherever workers "
            "run, or put it in an endpoints.toml that all of them read."
        )
    return client


def _open_segment(job: Job[Any], folder: Path, number: int) -> Segment:
    return Segment(folder, number, layout=job.line_layout, truncation_marks=job.truncation_marks)


class Worker:
    """The rows, calls and reports of one worker.

    Args:
        client: makes the calls; it is open.
        segment: where it writes.
    """

    def __init__(
        self, job: Job[Any], options: RunOptions, client: CallClient, segment: Segment, link: Link, setup: Setup
    ) -> None:
        self._job, self._client, self._segment, self._link = job, client, segment, link
        self._counters = CallCounters(had_success=setup.had_success, had_rows=setup.had_rows)
        limits = spending_limits(options)
        self._spending = Spending(limits, limits.price_book(options.model, client.priced_endpoints))
        budget = self._spending.budget
        self._budget = None if budget is None else LeasedBudget(budget)
        names_endpoints = self._spending.charges_calls or len(client.priced_endpoints) > 1
        calls = JobClient(
            client.pool, options.model, job_params(job, options), counters=self._counters, budget=self._budget,
            charge=self._spending.charge if self._spending.charges_calls else None,
            log=JournalLog(segment.journal, options.model, names_endpoints=names_endpoints),
            finish_cancelled_calls=job.may_cancel, named=client.named_pools,
        )  # fmt: skip
        scheduler = Scheduler(calls, segment, job.process_row, job.output_fields, may_be_many=job.rows_may_split)
        calls.expect_rows(setup.expected_rows)
        self._engine = LocalEngine(scheduler, calls, client)
        self._queue, self._lease = RowQueue(), HeldLease()
        apply_shares(client, {}, self._lease.until)
        self._serial = self._answers = 0
        self._reported_ended, self._reported_answer = 0, False

    def __repr__(self) -> str:
        return f"<Worker of segment {self._segment.number}, {self._queue!r}>"

    async def run(self) -> None:
        """Process the rows that arrive.

        Raises:
            RunStopped, StorageError, UsageError: it makes no more calls.
        """
        async with self._connected(), group_commit(self._engine.stop, self._segment):
            try:
                await self._engine.run(self._queue.rows())
            finally:
                self._engine.leave()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        """Receive grants and send reports."""
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send_reports())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _receive(self) -> None:
        try:
            while (message := await self._link.receive()) is not None:
                self._apply(decode_grant(message))
            self._engine.stop(RunStopped(DRIVER_GONE))
        except Exception as error:  # a bug
            self._engine.stop(error)

    def _apply(self, grant: Grant) -> None:
        """Do what a grant says, unless it is older than another one."""
        if grant.serial <= self._answers:
            return
        self._answers = grant.serial
        self._lease.record_grant(grant.answers)
        if grant.had_success and not self._counters.had_success:
            self._counters.record_earlier_success()
            for pool in self._client.all_pools:
                pool.permits.skip_canary()
        apply_shares(self._client, grant.shares, self._lease.until, concurrency=grant.concurrency)
        if self._budget is not None:
            self._budget.set_allowances(grant.allowances)
        for row in self._queue.add(grant.units):
            self._segment.add_replays(row.id, row.calls)
        if grant.give_back is not None:
            self._queue.give_back(grant.give_back)
            self._queue.low.set()
        if grant.stop is not None:
            (self._engine.cancel if grant.cancel else self._engine.stop)(error_of(grant.stop))
        if grant.finish:
            self._queue.finish()

    async def _send_reports(self) -> None:
        """Send a report once a second, and as soon as the driver should know something."""
        try:
            while True:
                self._link.send(encode_message(self.make_report()))
                sent_at = clock.now()
                while not self._is_urgent() and clock.now() - sent_at < REPORT_SECONDS:
                    await clock.wait_for_event(self._queue.low, POLL_SECONDS)
        except Exception as error:  # a bug
            self._engine.stop(error)

    def _is_urgent(self) -> bool:
        """Whether it needs rows or a larger budget, rows have ended while none wait, or the first call was answered."""
        has_ended_rows = not self._queue.report.not_begun and self._counters.ended != self._reported_ended
        needs_more = self._budget is not None and self._budget.needs_more.is_set()
        is_first_answer = self._has_answer and not self._reported_answer
        return self._queue.low.is_set() or has_ended_rows or is_first_answer or needs_more

    @property
    def _has_answer(self) -> bool:
        return self._counters.calls > 0

    def make_report(self) -> Report:
        """Return the next report."""
        now, counters = clock.now(), self._counters
        self._serial += 1
        self._lease.record_report(self._serial, now)
        self._queue.low.clear()
        self._reported_ended, self._reported_answer = counters.ended, self._has_answer
        totals = self._spending.session_totals()
        figures = WorkerFigures(
            counters.figures, totals.cost, totals.endpoints, self._job.counts, self._engine.status(now),
            self._engine.bound_seconds, self._engine.bound_detail, self._engine.oldest_calls(now),
            list(self._engine.parameter_changes), dict(counters.first_retried),
        )  # fmt: skip
        return Report(
            self._serial, self._answers, self._queue.report, self._queue.begun, self._queue.begun - counters.ended,
            endpoint_reports(self._client), [] if self._budget is None else self._budget.uses(), figures,
            list(self._engine.timeline_lines(now)), self._has_answer,
        )  # fmt: skip

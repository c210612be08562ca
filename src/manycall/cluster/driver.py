"""The driver: hands out the rows of a run to workers, and merges what they write into the output."""

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from manycall import clock
from manycall.client.pool import ClientStatus
from manycall.cluster.driven_worker import DrivenWorker
from manycall.cluster.group_figures import GroupFigures
from manycall.cluster.messages import (
    Grant,
    Report,
    Setup,
    StopReason,
    decode_report,
    encode_message,
    error_of,
    reason_of,
)
from manycall.cluster.mirrored_link import mark_of
from manycall.cluster.row_feed import RowFeed
from manycall.cluster.shared_limits import SharedLimits
from manycall.cluster.starting import WorkerStarter
from manycall.cluster.worker_count import WorkerCount
from manycall.control.budget import Charge
from manycall.control.work_units import WorkUnits, unit_rows
from manycall.control.worker_leases import WorkerLeases
from manycall.errors import BudgetExceeded, ManycallError, RunStopped, StorageError, TimeLimitReached
from manycall.providers.parameter_lesson import ParameterChange
from manycall.records import FailureKind, Row
from manycall.run.session import JobSession
from manycall.run.spending import SessionTotals
from manycall.store.row_replays import RowReplays

TICK_SECONDS = 0.25
END_SECONDS, KILL_SECONDS = 20.0, 5.0
"""How long workers may take to end, before they are killed: silent ones after all others, and any after the run."""
MAX_DEATHS = 5
"""After so many workers in a row have died without a finished row between, the run stops."""


class WorkerGroup:
    """The workers of a session. It processes the rows of the session as `run.row_engine.RowEngine` says.

    Args:
        session: its files, counters and spending.
        starter: starts the workers.
        count: decides how many there should be.
    """

    def __init__(self, session: JobSession, starter: WorkerStarter, count: WorkerCount) -> None:
        self._session, self._starter, self._count = session, starter, count
        self._merger = session.folder.segments
        self._units, self._leases = WorkUnits(), WorkerLeases()
        self._budget = None if session.budget is None else session.budget.budget
        budgets = [] if self._budget is None else self._budget.remaining()
        self._limits = SharedLimits(session.options.concurrency, budgets)
        self._figures = GroupFigures()
        self._replays = RowReplays(session.folder.journal, session.folder.ids.is_done, session.folder.out)
        self._feed = RowFeed(self._replays.find, self._offer)
        self._workers: dict[int, DrivenWorker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._lines: list[dict[str, Any]] = []
        self._failed: dict[str, FailureKind] = {}
        self._salt = secrets.token_bytes(16)
        self._reason: BaseException | None = None
        self._storage_error: BaseException | None = None
        self._had_success = session.counters.had_success
        self._is_finishing = self._is_cancelled = self._is_over = False
        self._deaths, self._alone_since = 0, 0.0

    def __repr__(self) -> str:
        return f"<WorkerGroup {self._units!r} {[*self._workers]}>"

    async def run(self, rows: AsyncIterator[Row]) -> None:
        """Hand out rows until there are no more or the run is stopped; then wait for the calls in flight.

        Raises:
            RunStopped, StorageError, UsageError: the run ended before all rows were processed.
        """
        reader = asyncio.create_task(self._feed.read(rows))
        reader.add_done_callback(lambda _: self._changed.set())
        try:
            await self._start_workers()
            while self._workers and not self._is_over:
                await clock.wait_for_event(self._changed, TICK_SECONDS)
                self._changed.clear()
                await self._step(clock.now())
        except ManycallError as error:
            self.stop(error)
        finally:
            reader.cancel()
            await self._end_workers()
            await asyncio.wait([reader])
        self._raise_reason()

    def _raise_reason(self) -> None:
        finished = self._feed.all_read and self._units.is_finished
        reason = self._reason or self._storage_error
        if reason is not None and not (isinstance(reason, TimeLimitReached) and finished):
            raise reason.with_traceback(None)
        if self._feed.error is not None:
            raise self._feed.error
        if not finished:
            raise RunStopped(f"a bug in manycall: {self!r}")

    # Workers

    async def _start_workers(self) -> None:
        """Start workers until there are as many as there should be."""
        if self._reason is not None or self._is_finishing:
            return
        bound, _ = self._figures.bound
        while len(self._active) < self._count.wanted(clock.now(), bound, self._seconds_left):
            await self._start_worker()

    async def _start_worker(self) -> None:
        session, client = self._session, self._session.client
        number, run_folder = self._merger.begin_segment(), session.folder.folder.resolve()
        worker = DrivenWorker(number, await self._starter.start(number))
        setup = Setup(
            number, str(run_folder), mark_of(run_folder), client.started_sims, client.key_marks(self._salt), self._salt,
            self._had_success, session.rows_left or 0,
        )  # fmt: skip
        worker.started.link.send(encode_message(setup))
        self._workers[number] = worker
        self._note(number, "started")
        task = asyncio.create_task(self._follow(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, worker: DrivenWorker) -> None:
        """Receive the reports of a worker until its process has ended."""
        try:
            while (message := await worker.started.link.receive()) is not None:
                report = decode_report(message)
                if worker.record(report, clock.now()):
                    self._take(worker, report)
                if report.ended:
                    break
            died = await worker.started.wait()
            self._merge(worker)
            self._leave(worker, died)
        except Exception as error:  # a full disk, or a bug
            self.stop(error)
            worker.started.kill()
            self._leave(worker, "")
        self._changed.set()

    def _take(self, worker: DrivenWorker, report: Report) -> None:
        """Record a report, and answer it."""
        if self._is_over:
            return
        now = clock.now()
        self._lines += report.lines
        self._had_success |= report.had_success
        if report.stopped is not None:
            self._take_stop(worker, report.stopped)
        self._merge(worker)
        self._figures.record(worker.number, report.figures)
        self._count_figures()
        if report.ended:
            return
        if not self._leases.renew(worker.number, now):
            self._send(worker, StopReason(RunStopped.__name__, "the worker was silent for too long"))
            return
        self._units.record_report(worker.number, report.rows)
        self._limits.record(worker.number, report)
        self._assign(worker)
        self._send(worker)
        self._changed.set()

    def _take_stop(self, worker: DrivenWorker, reason: StopReason) -> None:
        """A worker makes no more calls. Stop the others too, unless only its disk is to blame."""
        error = error_of(reason)
        if isinstance(error, StorageError):
            self._storage_error = self._storage_error or error
            worker.is_lost = True
        elif not worker.is_lost and self._reason is None:
            self.stop(error)

    def _merge(self, worker: DrivenWorker) -> None:
        """Write the rows that a worker has finished to the output."""
        if self._is_over:
            return
        merged, counters = self._merger.merge(worker.number), self._session.counters
        counters.done += len(merged.done)
        counters.rejected += len(merged.rejected)
        counters.truncated += merged.truncated
        for row_id, kind in merged.failed:
            self._failed[row_id] = kind
            counters.record_failed(kind)
        for row_id in merged.recovered:
            counters.forget_failed(self._failed.pop(row_id))
        ended = [*merged.done, *merged.rejected, *(row_id for row_id, _ in merged.failed)]
        self._units.record_done(ended)
        self._feed.forget(ended)
        if ended:
            self._deaths = 0

    def _leave(self, worker: DrivenWorker, died: str) -> None:
        """Take the rows and shares of a worker whose process has ended."""
        used = [each.used for each in worker.used]
        if died:
            calls = self._merger.calls(worker.number)
            totals = self._session.spending.recount(calls)
            self._figures.correct(worker.number, totals)
            used = self._measure(totals)
            self._deaths += 1
            if self._deaths >= MAX_DEATHS:
                self.stop(RunStopped(f"{MAX_DEATHS} worker processes have ended before a row was finished: {died}"))
            self._merger.absorb(worker.number)  # its calls are not made again by the worker that gets its rows
            self._replays.update()
            self._feed.refresh(self._units.assigned(worker.number))
        self._figures.deactivate(worker.number)
        self._count_figures()
        self._lose(worker, used)
        self._note(worker.number, died or "ended")
        del self._workers[worker.number]

    def _lose(self, worker: DrivenWorker, used: Sequence[float]) -> None:
        """Give the rows and shares of a worker to others.

        Args:
            used: what it has used of each budget.
        """
        if worker.is_lost:
            return
        worker.is_lost = True
        self._leases.remove(worker.number)
        self._units.remove(worker.number)
        self._limits.remove(worker.number, used)

    @property
    def _active(self) -> list[DrivenWorker]:
        return [each for each in self._workers.values() if not each.is_lost]

    # Rows and limits

    def _offer(self, row: Row) -> None:
        self._session.folder.unfinished.record_read(row.id, row.index)
        self._units.offer([row.id])
        self._changed.set()

    @property
    def _unread(self) -> float:
        """Number of rows that were not read yet; inf if it is unknown."""
        left = self._session.rows_left
        return 0 if self._feed.all_read else math.inf if left is None else max(0, left - self._feed.rows_read)

    @property
    def _seconds_left(self) -> float:
        rate = sum(each.rate for each in self._active)
        return (self._unread + self._units.waiting) / rate if rate else math.inf

    async def _step(self, now: float) -> None:
        """Do what is due."""
        for number in self._leases.expire(now):
            worker = self._workers[number]
            self._lose(worker, [each.bound for each in worker.used])
            self._note(number, "was silent for too long")
        ready = [each.number for each in self._active if each.report is not None]
        self._limits.update(now, ready if self._had_success else ready[:1], self._idle_workers())
        if self._budget is not None and (why := self._budget.exhausted) is not None:
            self.stop(BudgetExceeded(why))
        self._feed.want(2 * sum(unit_rows(each.rate, math.inf, 1) for each in self._active) - self._units.waiting)
        self._kill_silent(now)
        has_read = self._feed.all_read or self._feed.error is not None
        has_ended = self._reason is not None or (has_read and self._units.is_finished)
        if has_ended and not self._is_finishing:
            self._is_finishing = True
            for worker in self._active:
                self._send(worker)
        for worker in self._active:
            if worker.report is not None and (self._assign(worker) or worker.number in self._limits.changed()):
                self._send(worker)
        await self._start_workers()

    def _idle_workers(self) -> list[int]:
        """Return the workers that have nothing to do and will get nothing, because no rows wait."""
        if self._units.waiting or not self._feed.all_read:
            return []
        reports = [(each.number, each.report) for each in self._active if each.report is not None]
        return [number for number, report in reports if not report.working and not self._units.not_begun(number)]

    def _kill_silent(self, now: float) -> None:
        """Kill workers that are silent and still there some time after all others have ended."""
        if self._active:
            self._alone_since = now
        elif now - self._alone_since >= END_SECONDS:
            for worker in self._workers.values():
                worker.started.kill()

    def _assign(self, worker: DrivenWorker) -> bool:
        """Give a worker rows if it needs some, perhaps from another worker. Return whether its orders have changed."""
        if self._reason is not None or worker.number not in self._limits.holders:
            return False
        holders = len(self._limits.holders)
        if self._units.assign(worker.number, rate=worker.rate, unread=self._unread, workers=holders):
            return True
        if self._feed.all_read and (victim := self._units.steal_for(worker.number)) is not None:
            self._send(self._workers[victim])
        return False

    def _send(self, worker: DrivenWorker, reason: StopReason | None = None) -> None:
        """Send a grant."""
        serial, orders = worker.next_serial(), self._units.orders(worker.number)
        stop = reason or (None if self._reason is None else reason_of(self._reason))
        worker.send(
            Grant(
                serial, worker.last_report, self._had_success, [self._feed.payload(unit) for unit in orders.units],
                orders.give_back, self._limits.shares(worker.number, serial),
                self._limits.concurrency(worker.number, serial), self._limits.allowances(worker.number, serial),
                stop, self._is_cancelled, self._is_finishing or reason is not None,
            )
        )  # fmt: skip

    # What the session asks for

    def stop(self, reason: BaseException) -> None:
        """Start no new row and make no new call. Calls in flight finish."""
        if self._reason is None:
            self._reason = reason
            for worker in self._workers.values():
                self._send(worker)
            self._changed.set()

    def cancel(self, reason: ManycallError) -> None:
        """Stop, and cancel the calls in flight. Answers that have arrived are in the journals."""
        self._is_cancelled = True
        self.forget_rows()
        self.stop(reason)
        for worker in self._workers.values():
            self._send(worker)

    def forget_rows(self) -> None:
        """Record no result and no failure from now on. Safe in a signal handler."""
        self._is_over = True

    def recheck(self) -> None:
        """Nothing: the results of this session are not read while it runs."""

    def leave(self) -> None:
        """Nothing: `run` ends the workers."""

    async def _end_workers(self) -> None:
        """Wait for the workers that have not ended, and kill them if that takes too long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=KILL_SECONDS)
        for worker in self._workers.values():
            worker.started.kill()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=KILL_SECONDS)
        await self._starter.close()

    # What the session shows

    @property
    def bound_seconds(self) -> float:
        """For how long all workers have been the limit."""
        return self._figures.bound[0]

    @property
    def bound_detail(self) -> str:
        """The worst load in that time."""
        return self._figures.bound[1]

    @property
    def calls_in_flight(self) -> int:
        """Number of calls in flight."""
        return self._figures.calls_in_flight

    @property
    def total_window(self) -> int:
        """Number of calls that may be in flight."""
        return self._figures.status.window

    @property
    def parameter_changes(self) -> Sequence[ParameterChange]:
        """How workers have changed parameters."""
        return self._figures.parameter_changes

    def status(self, now: float) -> ClientStatus:
        """Return the calls in flight, the window, and what limits the throughput."""
        return self._figures.status

    def timeline_lines(self, now: float) -> Iterator[dict[str, Any]]:
        """Yield what the workers have written for the timeline, and when they started and ended."""
        lines, self._lines = self._lines, []
        yield from lines

    def oldest_calls(self, now: float) -> list[dict[str, Any]]:
        """Return the calls that have been in flight for the longest time."""
        return self._figures.oldest_calls

    def _measure(self, totals: SessionTotals) -> list[float]:
        tokens = sum(each.prompt_tokens + each.completion_tokens for each in totals.endpoints)
        return [] if self._budget is None else self._budget.measure(Charge(tokens, totals.cost))

    def _count_figures(self) -> None:
        session = self._session
        self._figures.sum_counters(session.counters)
        self._figures.sum_counts(session.job.counts)
        session.spending.set_session(self._figures.totals, session.counters)

    def _note(self, number: int, what: str) -> None:
        self._lines.append({"time": clock.wall_time(), "worker": number, "event": what})

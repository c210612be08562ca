"""The driver of a run with several processes: the workers do the rows, and it alone writes the output."""

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence

from manycall import clock
from manycall.cluster.driven_worker import DrivenWorker
from manycall.cluster.group_status import GroupStatus
from manycall.cluster.mirrored_link import mark_of
from manycall.cluster.row_book import RowBook
from manycall.cluster.shared_limits import SharedLimits
from manycall.cluster.starting import WorkerStarter
from manycall.cluster.worker_count import WorkerCount
from manycall.cluster.worker_messages import Grant, Report, Setup, StopReason, error_of, reason_of
from manycall.cluster.worker_pool import WorkerPool
from manycall.control.budget import Charge
from manycall.control.worker_leases import WorkerLeases
from manycall.errors import BudgetExceeded, ManycallError, RunStopped, StorageError, TimeLimitReached
from manycall.records import Row
from manycall.run.session import JobSession
from manycall.run.spending import SessionTotals

TICK_SECONDS = 0.25
MAX_DEATHS = 5
"""After this number of workers that have died without a finished row between them, the run stops."""
SILENT = StopReason(RunStopped.__name__, "the worker was silent for too long, so its rows were given to others")


class WorkerGroup(GroupStatus):
    """The workers of a session. It is the session's `run.row_engine.RowEngine`.

    Args:
        session: its files, counters and spending.
        starter: starts the workers.
        count: decides how many there should be.
    """

    def __init__(self, session: JobSession, starter: WorkerStarter, count: WorkerCount) -> None:
        super().__init__(session)
        self._session, self._count = session, count
        self._is_local = starter.is_local
        self._changed = asyncio.Event()
        self._rows = RowBook(session.folder, session.counters, session.rows_left, self._changed.set)
        self._pool = WorkerPool(starter, self._setup, self)
        self._leases = WorkerLeases()
        self._budget = None if session.budget is None else session.budget.budget
        self._limits = SharedLimits(
            session.options.concurrency, [] if self._budget is None else self._budget.remaining()
        )
        self._salt = secrets.token_bytes(16)
        self._reason: BaseException | None = None
        self._storage_error: StorageError | None = None
        self._had_success = session.counters.had_success
        self._is_finishing = self._is_cancelled = self._is_over = False
        self._deaths = 0

    def __repr__(self) -> str:
        return f"<WorkerGroup {self._rows!r} {self._pool!r}>"

    def _setup(self, number: int) -> Setup:
        session, client = self._session, self._session.client
        run_folder = session.folder.folder.resolve()
        return Setup(
            number, str(run_folder), mark_of(run_folder, number), self._is_local, client.started_sims,
            client.key_marks(self._salt), self._salt, self._had_success, session.counters.had_rows,
            session.rows_left or 0,
        )  # fmt: skip

    async def run(self, rows: AsyncIterator[Row]) -> None:
        """Hand out rows until there are no more or the run is stopped; then wait for the calls in flight.

        Raises:
            RunStopped, StorageError, UsageError: the run ended before all rows were processed.
        """
        reader = asyncio.create_task(self._rows.read(rows))
        try:
            await self._start_workers()
            while self._pool.all and not self._is_over:
                await clock.wait_for_event(self._changed, TICK_SECONDS)
                self._changed.clear()
                self._step(clock.now())
                await self._start_workers()
        finally:
            reader.cancel()
            await self._pool.close()
            await asyncio.wait([reader])
        self._raise_reason()

    def _raise_reason(self) -> None:
        if self._rows.is_finished and (self._reason is None or isinstance(self._reason, TimeLimitReached)):
            return  # although a worker may have lost what it could not save
        reason = self._reason or self._storage_error or self._rows.error or RunStopped(f"a bug in manycall: {self!r}")
        raise reason.with_traceback(None)

    async def _start_workers(self) -> None:
        """Start workers until there are as many as there should be."""
        rate = sum(each.rate for each in self._pool.active)
        seconds_left = self._rows.rows_left / rate if rate else math.inf
        try:
            while self._reason is None and not self._is_finishing:
                if len(self._pool.active) >= self._count.wanted(clock.now(), self.figures.bound[0], seconds_left):
                    return
                number = self._session.folder.segments.begin_segment()
                await self._pool.start(number)
                self.note(number, "started")
        except ManycallError as error:
            self.stop(error)

    def _step(self, now: float) -> None:
        """Do what is due."""
        for number in self._leases.expire(now):
            self._merge(number)  # what it wrote before it fell silent
            self._lose(self._pool[number], None)
            self.note(number, "was silent for too long")
        self._pool.kill_silent(now)
        if self._budget is not None and (why := self._budget.exhausted) is not None:
            self.stop(BudgetExceeded(why))
        if not self._is_finishing and (self._reason is not None or self._rows.has_ended):
            self._is_finishing = True
            self._send_to(self._pool.active)
        workers = [each for each in self._pool.active if each.report is not None]
        allowed = [each.number for each in workers]
        callers = allowed if self._had_success else allowed[:1]
        self._limits.update(now, callers, self._rows.idle(workers), self._rows.busy(workers))
        self._rows.read_ahead(workers)
        changed = self._limits.changed().union(*(self._assign(each) for each in workers))
        self._send_to(each for each in workers if each.number in changed)

    # Workers

    def take_report(self, worker: DrivenWorker, report: Report) -> None:
        """Record a report, and answer it."""
        if self._is_over:
            return
        self._changed.set()
        self.add_lines(worker.number, report.lines)
        self._had_success |= report.had_success
        if report.stopped is not None:
            self._take_stop(worker, error_of(report.stopped))
        has_lease = report.ended or self._leases.renew(worker.number, clock.now())
        self._merge(worker.number)
        self.figures.record(worker.number, report.figures)
        self.count_figures()
        if report.ended:
            return
        if not has_lease:
            self._send(worker, SILENT)
            return
        self._rows.record_orders(worker)
        self._limits.record(worker.number, report)
        self._send_to(self._pool[number] for number in {worker.number, *self._assign(worker)})

    def _merge(self, number: int) -> None:
        """Write the rows that a worker has finished to the output. If that fails, all workers finish their calls."""
        try:
            if self._rows.merge(number):
                self._deaths = 0
        except ManycallError as error:
            self.stop(error)

    def _take_stop(self, worker: DrivenWorker, error: ManycallError) -> None:
        """A worker makes no more calls. Stop the others too, unless only its disk is to blame."""
        if isinstance(error, StorageError):
            self._storage_error = self._storage_error or error
            why = f"the rows that worker {worker.number} could not save. {error}"
            self._session.counters.include_retried({why: why})
            self._count_death(str(error))
        elif not worker.is_lost:
            self.stop(error)

    def take_end(self, worker: DrivenWorker, died: str) -> None:
        """Take over what a worker has left."""
        self._changed.set()
        if self._is_over:
            return
        try:
            used = self._count_again(worker, died) if died else [each.used for each in worker.used]
            self._rows.absorb(worker.number)
        except ManycallError as error:
            self.take_error(error)
            used = [each.bound for each in worker.used]
        self.deactivate(worker.number)
        self._lose(worker, used)
        self.note(worker.number, died or "ended")

    def _count_again(self, worker: DrivenWorker, died: str) -> list[float]:
        """Count the calls of a worker that has died. Return what they have used of each budget."""
        self._count_death(died)
        totals = self._session.spending.recount(self._rows.calls(worker.number))
        self.figures.correct(worker.number, totals)
        return [] if self._budget is None else self._budget.measure(_charge_of(totals))

    def _count_death(self, why: str) -> None:
        """Stop the run after several workers that have ended too early, because another one would do the same."""
        self._deaths += 1
        if self._deaths >= MAX_DEATHS:
            message = f"{MAX_DEATHS} worker processes ended before they had finished a row: {why}"
            self.stop(self._storage_error or RunStopped(message))

    def take_error(self, error: Exception) -> None:
        """Stop because the files cannot be written, or because of a bug."""
        self.stop(error)

    def _lose(self, worker: DrivenWorker, used: Sequence[float] | None) -> None:
        """Give the rows and shares of a worker to others.

        Args:
            used: what it has used of each budget; None: unknown, because it may still run.
        """
        self._limits.remove(worker.number, used)
        if not worker.is_lost:
            worker.lose()
            self._leases.remove(worker.number)
            self._rows.give_away(worker.number)

    # Grants

    def _assign(self, worker: DrivenWorker) -> set[int]:
        """Give a worker rows if it needs some, perhaps from another one. Return whose orders have changed."""
        if self._reason is not None:
            return set()
        if worker.number not in self._limits.active:
            return {worker.number} if self._rows.take_back(worker) else set()
        number = self._rows.assign(worker, len(self._limits.active))
        return set() if number is None else {number}

    def _send_to(self, workers: Iterable[DrivenWorker]) -> None:
        for worker in [*workers]:
            self._send(worker)

    def _send(self, worker: DrivenWorker, reason: StopReason | None = None) -> None:
        """Send a grant. `reason`: why this worker in particular must end."""
        serial = worker.next_serial()
        units, give_back = self._rows.orders(worker.number)
        stop = reason or (None if self._reason is None else reason_of(self._reason))
        worker.send(
            Grant(
                serial, worker.last_report, self._had_success, units, give_back,
                self._limits.shares(worker.number, serial), self._limits.concurrency(worker.number, serial),
                self._limits.allowances(worker.number, serial), stop, self._is_cancelled,
                self._is_finishing or reason is not None,
            )
        )  # fmt: skip

    # Called by the session

    def stop(self, reason: BaseException) -> None:
        """Start no new row and make no new call. Calls in flight finish."""
        if self._reason is None:
            self._reason = reason
            self._send_to(self._pool.all)
            self._changed.set()

    def cancel(self, reason: ManycallError) -> None:
        """Stop, and cancel the calls in flight. Answers that have arrived are in the journals."""
        self._is_cancelled = True
        self.forget_rows()
        self.stop(reason)
        self._send_to(self._pool.all)

    def forget_rows(self) -> None:
        """Record no result and no failure from now on. Safe in a signal handler."""
        self._is_over = True

    def recheck(self) -> None:
        """Nothing: the results of this session are not read while it runs."""

    def leave(self) -> None:
        """Nothing: `run` ends the workers."""


def _charge_of(totals: SessionTotals) -> Charge:
    return Charge(sum(each.prompt_tokens + each.completion_tokens for each in totals.endpoints), totals.cost)

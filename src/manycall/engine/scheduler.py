"""Rows in, results out; bounded, and fair to the oldest.

A worker is a task that does one row after the other, as long as a further call could go at once; so memory is that of
the calls in flight, never that of the rows. Rows whose calls wait to be sent again keep their worker but no permit; so
many may wait, and then no new row is begun.

`Scheduler.run` owns the reader and the workers, and is the only one that waits for them. Everything that happens sets
one event, and `run` then looks at the state itself, so no change can be missed. Every run ends in the same steps.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress

from manycall import clock
from manycall.control.order import AHEAD, Order
from manycall.data.templates import BadPrompt
from manycall.engine.client import Client
from manycall.engine.outcome import cause, checked, failure
from manycall.engine.row import RowCalls
from manycall.errors import DeadlinePassed, Interrupted, ManycallError, Rejected, RunStopped, StoreError, UsageError
from manycall.records import Failure, Made, Row, Success
from manycall.store.run import Run

RowFunction = Callable[[Row, RowCalls], Awaitable[Made]]
"""What is done with a row: returns the fields to write beside the row's own; or raises Rejected."""

MOST_WAITING = 256
"""Rows that may wait to be sent again, besides eight for each call that may be in flight."""

CANARY_ROWS = 10
"""If this many rows fail before any succeeds, the rest would too: stop, and let somebody look."""

FINISH_SECONDS = 10.0
"""How long rows may go on after a stop, once the last call in flight has ended. Later they are cancelled; the next run
does them again from the journal."""

CANCEL_SECONDS = 1.0
"""How long a cancelled task is waited for. One that suppresses its cancellation is left behind."""


class Scheduler:
    """Does every row once.

    Args:
        client: makes the calls.
        run: takes the results.
        function: what is done with a row. Whatever it raises is that row's failure.
        writes: the fields it adds; a row that brings one of them along fails.
        total: how many rows there are; None if nobody knows.
        may_be_many: a row may become many.
    """

    def __init__(
        self,
        client: Client,
        run: Run,
        function: RowFunction,
        writes: Iterable[str] = (),
        *,
        total: int | None = None,
        may_be_many: bool = False,
    ) -> None:
        self._client, self._run, self._function = client, run, function
        self._writes = frozenset(writes)
        self._total = total
        self._may_be_many = may_be_many
        self._ahead = Order[Row](_size)
        self._refill_at = 0 if total is None else AHEAD // 2
        self._counters = client.counters
        self._live: set[asyncio.Task[None]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._all_read = False
        self._broken: BaseException | None = None
        self._begun = 0
        self._changed, self._wanted = asyncio.Event(), asyncio.Event()
        self._reason: BaseException | None = None
        self._over = False
        client.permits.changed = self._changed.set

    def __repr__(self) -> str:
        c = self._counters
        return f"<Scheduler {c.done} done, {c.failed} failed, {len(self._live)} rows live, {self._client.permits!r}>"

    async def run(self, rows: AsyncIterator[Row]) -> None:
        """Do the rows, until there are no more or something says stop; then wait for what is in flight.

        Raises:
            RunStopped, StoreError, UsageError: why it ended before the rows did.
        """
        self._reader = asyncio.create_task(self._read(rows))
        try:
            await self._begin_rows(self._reader)
            await self._drain()
        except asyncio.CancelledError:
            self.abandon(Interrupted("cancelled"))
            raise
        finally:
            await self._leave(self._reader)
        self._raise_reason()

    def end(self, reason: BaseException) -> None:
        """Begin no new row and make no new call; rows that need none still finish."""
        if self._reason is None:
            self._reason = reason
            self._client.stop(reason if isinstance(reason, RunStopped) else RunStopped(str(reason)))
            if self._reader is not None:
                self._reader.cancel()
            self._changed.set()

    def abandon(self, reason: ManycallError) -> None:
        """End, and drop what is in flight. What was answered is in the journal."""
        self.forget_rows()
        self.end(reason)
        self._client.abandon()
        self._changed.set()

    def forget_rows(self) -> None:
        """From now on no row ends in a result or a failure. Safe in a signal handler."""
        self._over = True

    async def _begin_rows(self, reader: asyncio.Task[None]) -> None:
        """Begin a row whenever a further call could go, until every row has ended or something says stop."""
        reader.add_done_callback(lambda _: self._changed.set())
        while self._reason is None and (self._ahead or self._live or not reader.done()):
            if self._ahead and self._has_room(len(self._live) + 1):
                self._begin_worker()
                await clock.sleep(0)  # it runs up to its first wait; then there may be no more room
            else:
                await self._change()
            if self._client.stopped is not None:
                self.end(self._client.stopped)

    async def _drain(self) -> None:
        """Make no new call. Wait for the calls in flight, which are paid for, and then for the rows that have them."""
        self._client.stop(RunStopped("the run has ended; a task that outlives its row can make no call"))
        await self._until(lambda: not self._client.permits.in_flight)
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self._until(lambda: not self._live)

    async def _leave(self, reader: asyncio.Task[None]) -> None:
        """Cancel what has not ended by itself. Nothing is written from now on."""
        self.forget_rows()
        left = {reader, *self._live}
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=CANCEL_SECONDS)

    def _raise_reason(self) -> None:
        """Raise why the run ended before every row did, if it did."""
        finished = self._all_read and not self._ahead and self._begun == self._counters.ended
        if self._reason is not None and not (isinstance(self._reason, DeadlinePassed) and finished):
            raise self._reason.with_traceback(None)
        if self._broken is not None:
            raise self._broken
        if not finished:
            raise RunStopped(f"a bug in manycall: {self!r}, but {self._begun} rows were begun")

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until this holds, or nothing counts any more."""
        while not (self._over or holds()):
            await self._change()

    async def _change(self) -> None:
        """Wait until anything has changed. Only `run` waits here."""
        await self._changed.wait()
        self._changed.clear()

    async def _read(self, rows: AsyncIterator[Row]) -> None:
        """Read ahead: many, where it is known how many there are, for those that take long to go first; else one."""
        most = 1 if self._total is None else AHEAD
        try:
            async with aclosing(rows):  # type: ignore[type-var]
                async for row in rows:
                    self._ahead.put(row)
                    if len(self._ahead) >= most:
                        self._changed.set()
                        await self._wait_until_wanted()
            self._all_read = True
        except asyncio.CancelledError:
            if self._reason is None:  # the user's own iterator raised it
                self._broken = UsageError("the iterator that gives the rows raised CancelledError")
        except BaseException as error:  # a row that cannot be used, or the user's own iterator
            self._broken = error  # it is raised after the rows before it are done

    async def _wait_until_wanted(self) -> None:
        """Wait until so few rows are left that more should be read."""
        while len(self._ahead) > self._refill_at:
            self._wanted.clear()
            await self._wanted.wait()

    def _begin_worker(self) -> None:
        task = asyncio.create_task(self._work())
        self._live.add(task)
        task.add_done_callback(self._ended)

    def _has_room(self, rows: int) -> bool:
        """Whether one more row may begin, and there are so many."""
        if self._reason is not None or self._client.stopped is not None or not self._client.permits.free:
            return False
        return rows <= MOST_WAITING or rows <= 8 * self._client.permits.width + MOST_WAITING

    async def _work(self) -> None:
        """One row after the other, as long as there is room.

        A worker that a row function has cancelled does no other row: the cancellation may still be on its way.
        """
        worker = asyncio.current_task()
        assert worker is not None
        while self._ahead and self._has_room(len(self._live)) and not worker.cancelling():
            row = self._ahead.take(self._left)
            if len(self._ahead) <= self._refill_at:
                self._wanted.set()
            self._begun += 1
            llm = RowCalls(self._client, row.id, self._begun, self._run.journal, self.end)
            await self._do(row, llm)
            llm.over = True
            if self._over:
                return
            if not llm.sent:
                await clock.sleep(0)  # answered from the journal: others want their turn too

    async def _do(self, row: Row, llm: RowCalls) -> None:
        """Do a row. It becomes one Success, reject or Failure; or none of them, if the run stops."""
        try:
            if not self._writes.isdisjoint(row.fields):
                raise BadPrompt(f"the row has a field {self._taken(row)!r}, where the answer goes")
            result = checked(row, await self._function(row, llm), self._may_be_many)
            if not (llm.cut or self._over):
                self._finish(row, llm, result)
        except BaseException as raised:  # the user's own code raises anything, SystemExit for one
            error = cause(raised)
            if isinstance(error, StoreError):
                self.end(error)
            elif not (llm.cut or self._over):
                self._give_up(row, llm, error)

    def _left(self) -> float:
        """Rows that are still to be begun, for each call in flight."""
        return ((self._total or 0) - self._begun) / self._client.permits.width

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._live.discard(task)
        self._changed.set()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, GeneratorExit):  # the disk, or a bug
            self.end(error)  # (a GeneratorExit of a subtask leaves the worker, too, when its row has failed by it)

    def _taken(self, row: Row) -> str:
        return min(self._writes & row.fields.keys())

    def _finish(self, row: Row, llm: RowCalls, result: Made) -> None:
        self._run.success(Success(row, result))
        self._counters.done += 1
        self._counters.truncated += llm.truncated
        if self._total is not None:
            self._ahead.learn(row, llm.tokens)

    def _give_up(self, row: Row, llm: RowCalls, error: BaseException) -> None:
        """The row's function has raised this."""
        if isinstance(error, Rejected):
            try:
                self._run.reject(row, error)
            except (TypeError, ValueError, RecursionError) as second:
                error = second
            else:
                self._counters.rejected += 1
                return
        self._fail(failure(row, llm, error))

    def _fail(self, failed: Failure) -> None:
        self._run.failures.append(failed)
        self._counters.gave_up(failed.verdict)
        c = self._counters
        if c.failed >= CANARY_ROWS and not c.done and not c.rejected and not c.had_success:
            self.end(
                RunStopped(
                    f"the first {CANARY_ROWS} rows all failed, the last with: {failed.error}. "
                    "(The same command, run unchanged, will try every row)"
                )
            )


def _size(row: Row) -> int:
    """Characters of text in a row."""
    return sum(len(value) for value in row.fields.values() if isinstance(value, str))

"""Rows in, results out; bounded, and fair to the oldest.

A worker is a task that does one row after the other, as long as a further call could go at once; so memory is that of
the calls in flight, never that of the rows. Rows whose calls wait to be sent again keep their worker but no permit; so
many may wait, and then no new row is begun.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing

from manycall import clock
from manycall.control.order import AHEAD, Order
from manycall.data.templates import BadPrompt
from manycall.engine.client import Client
from manycall.engine.outcome import checked, failure
from manycall.engine.row import RowCalls
from manycall.errors import DeadlinePassed, Interrupted, ManycallError, Rejected, RunStopped, StoreError
from manycall.records import Failure, Made, Row, Success
from manycall.store.run import Run

RowFunction = Callable[[Row, RowCalls], Awaitable[Made]]
"""What is done with a row: returns the fields to write beside the row's own; or raises Rejected."""

MOST_WAITING = 256
"""Rows that may wait to be sent again, besides eight for each call that may be in flight."""

CANARY_ROWS = 10
"""If this many rows fail before any succeeds, the rest would too: stop, and let somebody look."""


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
        self._counters = client.counters
        self._live: set[asyncio.Task[None]] = set()
        self._feeder: asyncio.Task[None] | None = None
        self._begun = 0
        self._few = 0
        self._looking = False
        self._changed: asyncio.Future[None] | None = None
        self._reason: BaseException | None = None
        self._abandoned = False
        client.permits.changed = self._look_soon

    def __repr__(self) -> str:
        c = self._counters
        return f"<Scheduler {c.done} done, {c.failed} failed, {len(self._live)} rows live, {self._client.permits!r}>"

    async def run(self, rows: AsyncIterator[Row]) -> None:
        """Do the rows, until there are no more or something says stop; then wait for what is in flight.

        Raises:
            RunStopped, StoreError, UsageError: why it ended before the rows did.
        """
        self._feeder = asyncio.create_task(self._feed(rows))
        try:
            await asyncio.wait([self._feeder])
            while self._live:
                await asyncio.wait(self._live)
            while self._client.permits.in_flight and not self._abandoned:
                await self._change()  # calls that their row did not wait for; they are paid all the same
        except asyncio.CancelledError:
            self.abandon(Interrupted("cancelled"))
            raise
        if self._reason is not None and not (isinstance(self._reason, DeadlinePassed) and self._finished):
            raise self._reason.with_traceback(None)
        if self._begun != self._counters.ended:
            raise RunStopped(f"a bug in manycall: {self!r}, but {self._begun} rows were begun")

    @property
    def _finished(self) -> bool:
        """Whether the rows had all been begun before anything said stop, and are done or failed."""
        assert self._feeder is not None
        return not self._feeder.cancelled() and self._begun == self._counters.ended

    def end(self, reason: BaseException) -> None:
        """Begin no new row and make no new call; rows that need none still finish."""
        if self._reason is None:
            self._reason = reason
            self._client.stop(reason if isinstance(reason, RunStopped) else RunStopped(str(reason)))
            if self._feeder is not None:
                self._feeder.cancel()

    def abandon(self, reason: ManycallError) -> None:
        """End, and drop what is in flight. What was answered is in the journal."""
        self.end(reason)
        self._abandoned = True
        for task in self._live:
            task.cancel()
        self._client.abandon()
        self._look_soon()

    async def _feed(self, rows: AsyncIterator[Row]) -> None:
        """Read ahead: many, where it is known how many there are, for those that take long to go first; else one."""
        most = 1 if self._total is None else AHEAD
        self._few = most // 2
        broken: Exception | None = None
        try:
            async with aclosing(rows):  # type: ignore[type-var]
                async for row in rows:
                    self._ahead.put(row)
                    if len(self._ahead) >= most:
                        self._look_soon()
                        while len(self._ahead) > self._few:
                            await self._change()
        except Exception as error:  # a row that cannot be used, or the user's own iterator
            broken = error  # it is told after the rows that stood before it
        self._few = 0
        self._look_soon()
        while self._ahead:
            await self._change()
        if broken is not None:
            self.end(broken)

    async def _change(self) -> None:
        """Wait until something may have changed, when so few rows are left that were read ahead."""
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _look_soon(self) -> None:
        """Something has changed. If more than one thing does in this turn of the loop, one look is enough."""
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Is there work for one more worker? The next look is after it has asked for its permit."""
        self._looking = False
        if self._changed is not None and not self._changed.done() and len(self._ahead) <= self._few:
            self._changed.set_result(None)
        if self._ahead and self._has_room(len(self._live) + 1):
            task = asyncio.create_task(self._work())
            self._live.add(task)
            task.add_done_callback(self._ended)
            self._look_soon()

    def _has_room(self, rows: int) -> bool:
        """Whether one more row may begin, and there are so many."""
        if self._reason is not None or not self._client.permits.free:
            return False
        return rows <= MOST_WAITING or rows <= 8 * self._client.permits.width + MOST_WAITING

    async def _work(self) -> None:
        """One row after the other, as long as there is room: each to its one end.

        That is a Success, a Failure, or not finished because the run stops.
        """
        while self._ahead and self._has_room(len(self._live)):
            row = self._ahead.take(self._left)
            self._begun += 1
            llm = RowCalls(self._client, row.id, self._begun, self._run.journal)
            try:
                if not self._writes.isdisjoint(row.fields):
                    raise BadPrompt(f"the row has a field {self._taken(row)!r}, where the answer goes")
                self._finish(row, llm, await self._function(row, llm))
            except StoreError:
                raise
            except Rejected as why:
                if not llm.cut:
                    self._reject(row, llm, why)
            except (Exception, asyncio.CancelledError) as error:
                if not llm.cut and not self._abandoned:
                    self._fail(failure(row, llm, error))
            if self._client.stopped is not None:  # the row function may have hidden it from us
                self.end(self._client.stopped)
            if not llm.sent:
                await clock.sleep(0)  # answered from the journal: others want their turn too

    def _left(self) -> float:
        """Rows that are still to be begun, for each call in flight."""
        return ((self._total or 0) - self._begun) / self._client.permits.width

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._live.discard(task)
        self._look_soon()
        if not task.cancelled() and (error := task.exception()):  # the disk, or a bug
            self.end(error)

    def _taken(self, row: Row) -> str:
        return min(self._writes & row.fields.keys())

    def _finish(self, row: Row, llm: RowCalls, result: Made) -> None:
        """The row's function has come to its end; if the run did not cut it short, the row is done."""
        result = checked(row, result, self._may_be_many)
        if not llm.cut:
            self._run.success(Success(row, result))
            self._counters.done += 1
            self._counters.truncated += llm.truncated
            if self._total is not None:
                self._ahead.learn(row, llm.tokens)

    def _reject(self, row: Row, llm: RowCalls, why: Rejected) -> None:
        try:
            self._run.reject(row, why)
            self._counters.rejected += 1
        except (TypeError, ValueError) as error:
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

"""Rows in, results out; bounded, and fair to the oldest.

A row's task is made only when a call could go at once, so memory is that of the calls in flight, never that of
the rows. Rows whose calls wait to be sent again keep their task but no permit; so many may wait, and then no new
row is begun.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any

from manycall.control.order import AHEAD, Order
from manycall.data.templates import BadPrompt
from manycall.engine.client import Client
from manycall.engine.outcome import checked, failure
from manycall.engine.row import RowCalls
from manycall.errors import DeadlinePassed, Interrupted, ManycallError, RunStopped, StoreError
from manycall.records import Failure, Row, Success
from manycall.store.run import Run

RowFunction = Callable[[Row, RowCalls], Awaitable[dict[str, Any]]]
"""What is done with a row: returns the fields to write beside the row's own."""

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
    """

    def __init__(
        self,
        client: Client,
        run: Run,
        function: RowFunction,
        writes: Iterable[str] = (),
        *,
        total: int | None = None,
    ) -> None:
        self._client, self._run, self._function = client, run, function
        self._writes = frozenset(writes)
        self._total = total
        self._order: Order[Row] | None = None
        self._counters = client.counters
        self._live: set[asyncio.Task[None]] = set()
        self._feeder: asyncio.Task[None] | None = None
        self._begun = 0
        self._reason: BaseException | None = None
        self._abandoned = False

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
                await self._client.permits.room()  # calls that their row did not wait for; they are paid all the same
        except asyncio.CancelledError:
            self.abandon(Interrupted("cancelled"))
            raise
        if self._reason is not None and not (isinstance(self._reason, DeadlinePassed) and self._finished):
            raise self._reason.with_traceback(None)
        if self._begun != self._counters.done + self._counters.failed:
            raise RunStopped(f"a bug in manycall: {self!r}, but {self._begun} rows were begun")

    @property
    def _finished(self) -> bool:
        """Whether the rows had all been begun before anything said stop, and are done or failed."""
        assert self._feeder is not None
        return not self._feeder.cancelled() and self._begun == self._counters.done + self._counters.failed

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
        self._client.permits.wake()

    async def _feed(self, rows: AsyncIterator[Row]) -> None:
        permits = self._client.permits
        try:
            async with aclosing(self._in_order(rows)) as ordered:
                async for row in ordered:
                    while not permits.free or (len(self._live) >= MOST_WAITING and self._crowded):
                        await permits.room()
                    self._begun += 1
                    task = asyncio.create_task(self._do(row, self._begun))
                    self._live.add(task)
                    task.add_done_callback(self._ended)
                    await asyncio.sleep(0)  # lets the row ask for its permit, before we look for room again
        except Exception as error:  # a row that cannot be used, or the user's own iterator
            self.end(error)

    async def _in_order(self, rows: AsyncIterator[Row]) -> AsyncGenerator[Row, None]:
        """The rows; where it is known how many there are, and they are few, those first that may take long."""
        async with aclosing(rows):  # type: ignore[type-var]
            if self._total is None:
                async for row in rows:
                    yield row
                return
            self._order = order = Order(_size)
            broken: Exception | None = None
            try:
                async for row in rows:
                    order.put(row)
                    if len(order) >= AHEAD:
                        yield order.take(self._left)
            except Exception as error:
                broken = error  # after the rows that stood before it
            while order:
                yield order.take(self._left)
            if broken is not None:
                raise broken

    @property
    def _left(self) -> float:
        """Rows that are still to be begun, for each call in flight."""
        return ((self._total or 0) - self._begun) / self._client.permits.width

    @property
    def _crowded(self) -> bool:
        return len(self._live) >= 8 * self._client.permits.width + MOST_WAITING

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._live.discard(task)
        self._client.permits.wake()
        if not task.cancelled() and (error := task.exception()):  # the disk, or a bug
            self.end(error)
        if self._client.stopped is not None:  # the row function may have hidden it from us
            self.end(self._client.stopped)

    async def _do(self, row: Row, age: int) -> None:
        """One row, to its one end: a Success, a Failure, or not finished because the run stops."""
        llm = RowCalls(self._client, row.id, age, self._run.journal)
        try:
            if self._writes & row.fields.keys():
                raise BadPrompt(f"the row has a field {min(self._writes & row.fields.keys())!r}, where the answer goes")
            result = checked(row, await self._function(row, llm))
            if not llm.cut:
                self._run.success(Success(row, result))
                self._counters.done += 1
                self._counters.truncated += llm.truncated
                if self._order is not None:
                    self._order.learn(row, llm.tokens)
        except StoreError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if not llm.cut and not self._abandoned:
                self._fail(failure(row, llm, error))

    def _fail(self, failed: Failure) -> None:
        self._run.failures.append(failed)
        self._counters.gave_up(failed.verdict)
        if self._counters.failed >= CANARY_ROWS and not self._counters.done and not self._counters.had_success:
            self.end(
                RunStopped(
                    f"the first {CANARY_ROWS} rows all failed, the last with: {failed.error}. "
                    "(The same command, run unchanged, will try every row)"
                )
            )


def _size(row: Row) -> int:
    """Characters of text in a row."""
    return sum(len(value) for value in row.fields.values() if isinstance(value, str))

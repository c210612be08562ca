"""A bounded set of row workers. The oldest row goes first.

A worker is a task that processes rows sequentially as long as another call could be sent at once. Memory therefore
grows with the calls in flight, not with the number of rows. A row that waits for a retry keeps its worker but holds no
permit. The number of such rows is limited; at the limit no new row is started.

`Scheduler.run` owns the reader and the workers and is the only coroutine that waits for them. Every change sets one
event, and `run` then inspects the state itself, so that no change is missed. Every run ends with the same steps.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from manycall import clock
from manycall.client.job_client import JobClient
from manycall.data.prompt_error import PromptError
from manycall.errors import Interrupted, ManycallError, RunStopped, StorageError, TimeLimitReached
from manycall.records import Row, RowOutput
from manycall.run.outcome import cause, validate_result
from manycall.run.read_ahead import ReadAhead
from manycall.run.row_blocks import BlockOutcome, BlockSize
from manycall.run.row_client import RowClient
from manycall.run.row_recorder import ResultListener, RowRecorder
from manycall.store.row_store import RowStore

RowFunction = Callable[[Row, RowClient], Awaitable[RowOutput | BlockOutcome]]
"""Process one row. Return the fields to write in addition to the row's own, or raise RowRejected. For a block of rows,
return the outcome of each."""

MAX_WAITING_ROWS = 256
"""Rows that may wait for a retry, in addition to eight for each call of the concurrency window."""

FINISH_SECONDS = 10.0
"""How long rows may continue after a stop, once the last call in flight has finished. Then they are cancelled; the next
run repeats them from the journal."""

SHOWN_CALLS = 3
"""Number of the oldest calls in flight that the timeline names."""

CANCEL_SECONDS = 1.0
"""How long to wait for a cancelled task. A task that suppresses its cancellation is left behind."""


class Scheduler:
    """Process every row once.

    Args:
        client: makes the calls.
        run: stores the results.
        function: processes a row. Any exception it raises becomes the row's failure.
        writes: the fields that the function adds; an input row that already has one of them fails.
        total: number of rows; None if unknown.
        may_be_many: an input row may become several output rows.
        block_size: how rows are grouped, if the function processes blocks of rows.
        listener: called with each result after it was written; None if there is none.
    """

    def __init__(
        self,
        client: JobClient,
        run: RowStore,
        function: RowFunction,
        writes: Iterable[str] = (),
        *,
        total: int | None = None,
        may_be_many: bool = False,
        block_size: BlockSize | None = None,
        listener: ResultListener | None = None,
    ) -> None:
        self._client, self._run, self._function = client, run, function
        self._writes = frozenset(writes)
        self._total = total if block_size is None else None  # the number of blocks depends on the lengths of the rows
        if total is not None:
            client.expect_rows(total if block_size is None else block_size.count(total))
        self._may_be_many = may_be_many
        client.permits.count_rows_with(lambda: self._rows_left if self._makes_one_call else math.inf)
        self._changed = client.permits.changed
        self._ahead = ReadAhead(
            self._total, self._changed, run.unfinished.record_read, self._remaining_rows_per_call, block_size
        )
        self._recorder = RowRecorder(
            run, client.counters, listener,
            may_all_fail=lambda: client.had_success or client.counters.had_rows, stop=self.stop,
        )  # fmt: skip
        self._counters = client.counters
        self._workers: set[asyncio.Task[None]] = set()
        self._between_rows = 0  # workers that will soon take their next row
        self._started = self._ended_rows = 0
        self._makes_one_call = True  # every row so far made at most one call
        self._reason: BaseException | None = None
        self._over = False

    def __repr__(self) -> str:
        c = self._counters
        return f"<Scheduler {c.done} done, {c.failed} failed, {len(self._workers)} rows live, {self._client.permits!r}>"

    @property
    def total_window(self) -> int:
        """Number of calls that may be in flight."""
        return self._client.permits.total_window

    def recheck(self) -> None:
        """Check whether a row may start, because a result was read."""
        self._client.permits.recheck()

    @property
    def calls_in_flight(self) -> int:
        """Number of calls in flight, without those that wait for a permit."""
        return len(self._client.in_flight)

    def oldest_calls(self, now: float) -> list[dict[str, Any]]:
        """Return the calls that have been in flight for the longest time, for the timeline."""
        return [
            {"id": call.origin.row_id, "endpoint": call.endpoint.url, "seconds": round(now - call.since, 1)}
            for call in islice(self._client.in_flight, SHOWN_CALLS)
            if call.origin is not None
        ]

    async def run(self, rows: AsyncIterator[Row]) -> None:
        """Process rows until there are no more or the run is stopped; then wait for the calls in flight.

        Raises:
            RunStopped, StorageError, UsageError: the run ended before all rows were processed.
        """
        reader = self._ahead.start(rows)
        try:
            await self._start_rows()
            await self._drain()
        except asyncio.CancelledError:
            self.cancel(Interrupted("cancelled"))
            raise
        finally:
            await self._cancel_tasks(reader)
        self._raise_reason()

    def stop(self, reason: BaseException) -> None:
        """Start no new row and make no new call. Rows that need no further call still finish."""
        if self._reason is None:
            self._reason = reason
            self._client.stop(reason if isinstance(reason, RunStopped | StorageError) else RunStopped(str(reason)))
            self._ahead.cancel()
            self._changed.set()

    def cancel(self, reason: ManycallError) -> None:
        """Stop, and cancel the calls in flight. Answers that have arrived are in the journal."""
        self.forget_rows()
        self.stop(reason)
        self._client.cancel_in_flight()
        self._changed.set()

    def forget_rows(self) -> None:
        """Record no result and no failure from now on. Safe in a signal handler."""
        self._over = True

    async def _start_rows(self) -> None:
        """Start a row whenever another call could be sent, until every row has ended or the run is stopped."""
        while self._reason is None and (self._workers or self._ahead.may_get_rows):
            if self._ahead and not self._between_rows and self._has_room(len(self._workers) + 1):
                self._start_worker()
                await clock.sleep(0)  # the worker runs up to its first wait and may use the last permit
            else:
                await self._wait_for_change()
            if self._client.stopped is not None:
                self.stop(self._client.stopped)

    async def _drain(self) -> None:
        """Make no new call. Wait for the calls in flight, because they are paid for, and then for their rows."""
        self._client.stop(RunStopped("The run has ended. A task that outlives its row cannot make calls."))
        await self._until(lambda: not self._client.permits.in_flight)
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self._until(lambda: not self._workers)

    async def _cancel_tasks(self, reader: asyncio.Task[None]) -> None:
        """Write the last rows and cancel the tasks that are still running. Nothing is written from now on."""
        self._recorder.flush()
        self.forget_rows()
        running = {reader, *self._workers}
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=CANCEL_SECONDS)

    def _raise_reason(self) -> None:
        """Raise the reason why the run ended before all rows were processed, if there is one."""
        self._reason = self._reason or self._client.storage_error
        ended = self._started == self._ended_rows and not self._recorder.has_unwritten
        finished = self._ahead.all_read and not self._ahead and ended
        if self._reason is not None and not (isinstance(self._reason, TimeLimitReached) and finished):
            raise self._reason.with_traceback(None)
        if self._ahead.error is not None:
            raise self._ahead.error
        if not finished:
            raise RunStopped(f"a bug in manycall: {self!r}, but {self._started} rows were started")

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until the condition holds or results are no longer recorded."""
        while not (self._over or holds()):
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Wait for the next change. Only `run` calls this."""
        await self._changed.wait()
        self._changed.clear()

    def _start_worker(self) -> None:
        task = asyncio.create_task(self._work())
        self._workers.add(task)
        task.add_done_callback(self._ended)

    def _has_room(self, rows: int) -> bool:
        """Whether another row may start, which makes `rows` in total."""
        if self._reason is not None or not self._client.permits.has_room():
            return False
        return rows <= MAX_WAITING_ROWS or rows <= 8 * self._client.permits.total_window + MAX_WAITING_ROWS

    async def _work(self) -> None:
        """Process rows sequentially as long as there is room.

        A worker that a row function has cancelled processes no other row, because that may still be pending.
        """
        worker = asyncio.current_task()
        assert worker is not None
        while self._has_room(len(self._workers)) and not worker.cancelling():
            row = self._ahead.take()
            if row is None:
                return
            self._started += 1
            llm = RowClient(self._client, row.id, self._started, self._run.journal)
            try:
                if not self._writes.isdisjoint(row.fields):
                    raise PromptError(f"the row already has a field {self._conflicting_field(row)!r}, the output field")
                self._finish(row, llm, await self._function(row, llm))
            except BaseException as raised:  # the user's code may raise anything, for example SystemExit
                self._fail(row, llm, cause(raised))
            llm.end()
            self._makes_one_call = self._makes_one_call and llm.calls_made <= 1
            if self._over:
                return
            await self._rest()

    async def _rest(self) -> None:
        """Let other workers finish their rows before this one takes its next row (see `clock.next_turn`)."""
        self._between_rows += 1
        try:
            await clock.next_turn()
        finally:
            self._between_rows -= 1
            if not self._between_rows:
                self._changed.set()

    def _finish(self, row: Row, llm: RowClient, result: RowOutput | BlockOutcome) -> None:
        """Record the result of a row as one success, or as the outcomes of a block; as nothing if the run stops."""
        if type(result) is not BlockOutcome:  # isinstance takes much longer for a struct's class
            result = validate_result(row, result, self._may_be_many)
        if not (llm.stopped or self._over):
            self._recorder.record(row, llm, result)
            self._ended_rows += 1
            self._ahead.learn(row, llm.tokens)

    def _fail(self, row: Row, llm: RowClient, error: BaseException) -> None:
        """Record a row as rejected or failed; as nothing if the run stops."""
        if isinstance(error, StorageError):
            self.stop(error)
        elif not (llm.stopped or self._over):
            self._recorder.record_error(row, llm, error)
            self._ended_rows += 1

    @property
    def _rows_left(self) -> float:
        """Number of rows still to start; inf if it is unknown."""
        return math.inf if self._total is None else max(0, self._total - self._started)

    def _remaining_rows_per_call(self) -> float:
        """Return the number of rows still to start, per call of the concurrency window."""
        return self._rows_left / max(1, self._client.permits.total_window)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        self._changed.set()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, GeneratorExit):  # a disk error, or a bug
            self.stop(error)  # (a subtask's GeneratorExit also leaves the worker, after its row has failed)

    def _conflicting_field(self, row: Row) -> str:
        return min(self._writes & row.fields.keys())

"""Record the outcome of each row in the output, the failures and the counters.

The rows that finish in one turn of the event loop are written together: one write instead of one for each row saves
2 µs of a row. Their answers are in the journal already, so a kill in between costs no call: the next session repeats
these rows from the journal.
"""

import asyncio
from collections.abc import Callable

from manycall.client.call_counters import CallCounters
from manycall.errors import RowRejected, RunStopped
from manycall.option_flags import rerun
from manycall.records import Failure, Row, RowOutput, Success
from manycall.run.outcome import make_failure
from manycall.run.row_blocks import BlockOutcome, rows_of
from manycall.run.row_client import RowClient
from manycall.store.row_store import RowStore

GatheredRow = tuple[Row, RowOutput, list[bytes], bool]
"""A row that will be written, its result, its lines, and whether an answer was truncated."""
ResultListener = Callable[[Success | Failure], None]
"""Called with each result after it was written."""

MAX_GATHERED_ROWS = 64
"""Rows that are written together at most. A row function that never waits may end many rows in one turn."""

MAX_INITIAL_FAILURES = 10
"""If the first 10 rows fail, stop the run: the other rows would probably fail, too."""


class RowRecorder:
    """Records each row as done, rejected or failed.

    Args:
        run: stores the results.
        counters: counts them.
        listener: called with each result after it was written; None if there is none.
        may_all_fail: returns whether the first rows may all fail, because a call was answered elsewhere, or a row has
            failed before this session.
        stop: called with the reason why the run should stop: rows could not be written, or the first rows all failed.
    """

    def __init__(
        self,
        run: RowStore,
        counters: CallCounters,
        listener: ResultListener | None,
        *,
        may_all_fail: Callable[[], bool],
        stop: Callable[[Exception], None],
    ) -> None:
        self._run, self._counters, self._listener, self._may_all_fail = run, counters, listener, may_all_fail
        self._stop = stop
        self._gathered: list[GatheredRow] = []
        self._has_failed = False

    def record(self, row: Row, llm: RowClient, result: RowOutput | BlockOutcome) -> None:
        """Record a finished row, or the outcome of each row of a block. The next `flush` writes it.

        Raises:
            StorageError: a failed row of a block could not be written.
            TypeError, ValueError, RecursionError: the result cannot be written as JSON; nothing was recorded.
        """
        if type(result) is BlockOutcome:
            self._record_block(result)
            return
        lines, gathered = self._run.encode_row(row, result), self._gathered
        if not gathered:
            asyncio.get_running_loop().call_soon(self.flush)
        gathered.append((row, result, lines, llm.truncated))
        if len(gathered) >= MAX_GATHERED_ROWS:
            self.flush()

    def _record_block(self, result: BlockOutcome) -> None:
        self._gathered += [
            (each.row, each.output, self._run.encode_row(each.row, each.output), False)
            for each in result.outcomes
            if isinstance(each, Success)
        ]
        self.flush()  # a kill must not split the block
        for failed in result.outcomes:
            if isinstance(failed, Failure):
                self._record_failed(failed)

    @property
    def has_unwritten(self) -> bool:
        """Whether rows are recorded, but not written."""
        return bool(self._gathered)

    def flush(self) -> None:
        """Write the rows that have finished since the last time, and count them. Call this once more at the end."""
        if self._has_failed:
            return
        gathered, self._gathered = self._gathered, []
        try:
            self._run.write_rows([(row.id, lines) for row, _, lines, _ in gathered])
        except Exception as error:  # a disk error, or a bug
            self._gathered, self._has_failed = gathered, True
            self._stop(error)
            return
        if self._listener is not None:
            for row, result, _, _ in gathered:
                self._listener(Success(row, result))
        self._counters.record_done(len(gathered), sum([truncated for _, _, _, truncated in gathered]))

    def record_error(self, row: Row, llm: RowClient, error: BaseException) -> None:
        """Record the row as rejected or failed, after its function raised this error; each row of a block as failed.

        Raises:
            StorageError: it could not be written.
        """
        self.flush()
        if isinstance(error, RowRejected):
            try:
                self._run.write_rejected(row, error)
            except (TypeError, ValueError, RecursionError) as second:
                error = second
            else:
                self._counters.record_rejected()
                return
        for each in rows_of(row):
            self._record_failed(make_failure(each, llm, error))

    def _record_failed(self, failed: Failure) -> None:
        self._run.write_failed(failed)
        if self._listener is not None:
            self._listener(failed)
        self._counters.record_failed(failed.kind)
        c = self._counters
        if c.failed >= MAX_INITIAL_FAILURES and not (c.done or c.rejected or self._may_all_fail()):
            self._stop(
                RunStopped(
                    f"the first {MAX_INITIAL_FAILURES} rows all failed. Last error: {failed.error.rstrip('.')}. "
                    f"{rerun().capitalize()} to try all rows anyway."
                )
            )

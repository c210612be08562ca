"""Record the outcome of each row in the output, the failures and the counters."""

from collections.abc import Callable

from manycall.client.call_counters import CallCounters
from manycall.errors import RowRejected, RunStopped
from manycall.option_flags import rerun
from manycall.records import Failure, Row, RowOutput, Success
from manycall.run.outcome import make_failure
from manycall.run.row_blocks import BlockOutcome, rows_of
from manycall.run.row_client import RowClient
from manycall.store.row_store import RowStore

ResultListener = Callable[[Success | Failure], None]
"""Called with each result after it was written."""

MAX_INITIAL_FAILURES = 10
"""If the first 10 rows fail, stop the run: the other rows would probably fail, too."""


class RowRecorder:
    """Records each row as done, rejected or failed.

    Args:
        run: stores the results.
        counters: counts them.
        listener: called with each result after it was written; None if there is none.
        had_success: a call was answered before this run.

    Attributes:
        hopeless: why the run should stop, because its first rows all failed; None if they did not.
    """

    def __init__(
        self, run: RowStore, counters: CallCounters, listener: ResultListener | None, *, had_success: bool
    ) -> None:
        self._run, self._counters, self._listener, self._had_success = run, counters, listener, had_success
        self.hopeless: RunStopped | None = None

    def record(self, row: Row, llm: RowClient, result: RowOutput | BlockOutcome) -> None:
        """Record a finished row, or the outcome of each row of a block.

        Raises:
            StorageError: it could not be written.
            TypeError, ValueError, RecursionError: the result cannot be written as JSON; nothing was recorded.
        """
        if isinstance(result, BlockOutcome):
            self._record_block(result)
            return
        done = Success(row, result)
        self._run.write_row(done)
        if self._listener is not None:
            self._listener(done)
        self._counters.record_done(truncated=llm.truncated)

    def _record_block(self, result: BlockOutcome) -> None:
        done = [each for each in result.outcomes if isinstance(each, Success)]
        self._run.write_rows(
            [self._run.encode_row(each) for each in done]
        )  # at once, so that a kill does not split the block
        for each in done:
            if self._listener is not None:
                self._listener(each)
            self._counters.record_done(truncated=False)
        for failed in result.outcomes:
            if isinstance(failed, Failure):
                self._record_failed(failed)

    def record_error(self, row: Row, llm: RowClient, error: BaseException) -> None:
        """Record the row as rejected or failed, after its function raised this error; each row of a block as failed.

        Raises:
            StorageError: it could not be written.
        """
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
        if c.failed >= MAX_INITIAL_FAILURES and not c.done and not c.rejected and not self._had_success:
            self.hopeless = RunStopped(
                f"the first {MAX_INITIAL_FAILURES} rows all failed. Last error: {failed.error.rstrip('.')}. "
                f"{rerun().capitalize()} to try all rows anyway."
            )

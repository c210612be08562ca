"""The rows of a run with several processes: who has which, and which are in the output."""

import math
from collections.abc import AsyncIterator, Callable, Iterable

from manycall.client.call_counters import CallCounters
from manycall.cluster.driven_worker import DrivenWorker
from manycall.cluster.row_feed import RowFeed
from manycall.cluster.worker_messages import SentUnit
from manycall.control.work_units import ReturnRequest, WorkUnits, unit_rows
from manycall.records import FailureKind, Row
from manycall.store.journal_line import JournaledCall
from manycall.store.row_replays import RowReplays
from manycall.store.run_folder import RunFolder
from manycall.store.segment_merge import MergedRows


class RowBook:
    """Reads the rows, assigns them to workers, and merges finished ones into the output.

    Args:
        folder: the open files of the run.
        counters: count the merged rows.
        expected: number of rows to do; None if it is unknown.
        on_change: called when a row was read or is done.
    """

    def __init__(
        self, folder: RunFolder, counters: CallCounters, expected: int | None, on_change: Callable[[], None]
    ) -> None:
        self._folder, self._counters, self._expected, self._on_change = folder, counters, expected, on_change
        self._segments = folder.segments
        self._units = WorkUnits()
        self._replays = RowReplays(folder.journal, folder.ids.is_done, folder.out)
        self._feed = RowFeed(self._replays.find, self._offer)
        self._failed: dict[str, FailureKind] = {}

    def __repr__(self) -> str:
        return f"<RowBook {self._units!r} {self._feed!r}>"

    async def read(self, rows: AsyncIterator[Row]) -> None:
        """Read all rows, a few ahead of what the workers need."""
        await self._feed.read(rows)
        self._on_change()

    def _offer(self, row: Row) -> None:
        self._folder.unfinished.record_read(row.id, row.index)
        self._units.offer([row.id])
        self._on_change()

    @property
    def error(self) -> BaseException | None:
        """Why reading ended early."""
        return self._feed.error

    @property
    def is_finished(self) -> bool:
        """Whether all rows were read and have ended."""
        return self._feed.all_read and self._units.is_finished

    @property
    def has_ended(self) -> bool:
        """Whether all rows that can be read have ended."""
        return self.is_finished or (self._feed.error is not None and self._units.is_finished)

    @property
    def rows_left(self) -> float:
        """Number of rows that no worker has; inf if it is unknown."""
        return self._unread + self._units.waiting

    @property
    def _unread(self) -> float:
        if self._feed.all_read:
            return 0
        return math.inf if self._expected is None else max(0, self._expected - self._feed.rows_read)

    def read_ahead(self, workers: Iterable[DrivenWorker]) -> None:
        """Let rows be read until two units wait for each worker."""
        self._feed.want(2 * sum(unit_rows(each.rate, math.inf, 1) for each in workers) - self._units.waiting)

    def assign(self, worker: DrivenWorker, workers: int) -> int | None:
        """Give a worker rows if it needs some. Return a worker whose orders have changed; None if none have.

        Args:
            workers: number of workers that get rows.
        """
        if self._units.assign(worker.number, rate=worker.rate, unread=self._unread, workers=workers):
            return worker.number
        return self._units.steal_for(worker.number) if self._feed.all_read else None

    def record_orders(self, worker: DrivenWorker) -> None:
        """Record what has become of the orders to a worker, which its report says."""
        if worker.report is not None:
            self._units.record_report(worker.number, worker.report.rows)

    def orders(self, number: int) -> tuple[list[SentUnit], ReturnRequest | None]:
        """Return the units that a worker has not confirmed, with their rows, and the request to return rows."""
        orders = self._units.orders(number)
        return [self._feed.payload(unit) for unit in orders.units], orders.give_back

    def idle(self, workers: Iterable[DrivenWorker]) -> list[int]:
        """Return the workers that have nothing to do and will get nothing, because no rows wait."""
        if self._units.waiting or not self._feed.all_read:
            return []
        return [each.number for each in workers if each.is_resting and not self._units.not_begun(each.number)]

    def busy(self, workers: Iterable[DrivenWorker]) -> list[int]:
        """Return the workers that have rows."""
        return [each.number for each in workers if not each.is_resting or self._units.not_begun(each.number)]

    def take_back(self, worker: DrivenWorker) -> bool:
        """Ask a worker that gets no more rows for all that it has not begun. Return whether it has any."""
        rows = self._units.not_begun(worker.number)
        return bool(rows) and self._units.request_return(worker.number, rows)

    def merge(self, number: int) -> bool:
        """Write the rows that a worker has finished to the output. Return whether there were any.

        Raises:
            CorruptFile: a line of the segment cannot be decoded.
            StorageError: a row could not be written.
        """
        return self._count(self._segments.merge(number))

    def _count(self, merged: MergedRows) -> bool:
        counters = self._counters
        counters.record_merged(done=len(merged.done), rejected=len(merged.rejected), truncated=merged.truncated)
        for row_id, kind in merged.failed:
            self._failed[row_id] = kind
            counters.record_failed(kind)
        for row_id in merged.recovered:
            counters.forget_failed(self._failed.pop(row_id))
        ended = [*merged.done, *merged.rejected, *(row_id for row_id, _ in merged.failed)]
        self._units.record_done(ended)
        self._feed.forget(ended)
        return bool(ended)

    def absorb(self, number: int) -> None:
        """Merge the rows and the journal of a worker that has ended, so that its calls are not repeated.

        Its rows may be with other workers already. Those that are not sent yet are sent with these calls.

        Raises:
            CorruptFile: a line cannot be decoded.
            StorageError: a file could not be written.
        """
        self._count(self._segments.absorb(number))
        self._feed.refresh(self._replays.update())

    def give_away(self, number: int) -> None:
        """Let the rows of a worker wait again, because it is gone."""
        self._units.remove(number)

    def calls(self, number: int) -> Iterable[JournaledCall]:
        """Return the calls of a worker that has died."""
        return self._segments.calls(number)

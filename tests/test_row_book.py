"""The rows of a run with several processes: with which calls they are sent to another worker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from manycall.client.call_counters import CallCounters
from manycall.cluster.driven_worker import DrivenWorker
from manycall.cluster.row_book import RowBook
from manycall.records import Row
from manycall.store.journal_line import request_hash
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.store.segments import Segment
from test_worker_pool import ThreeReports


async def one_row() -> AsyncIterator[Row]:
    yield Row("a", {})


def end(book: RowBook, number: int) -> None:
    """Do what follows when the process of a worker has ended."""
    book.absorb(number)
    book.give_away(number)


def fall_silent(book: RowBook, number: int) -> None:
    """Do what follows when the lease of a worker is over, and later its process has ended."""
    book.give_away(number)
    book.absorb(number)


@pytest.mark.parametrize("lose", [end, fall_silent])
def test_a_row_of_a_lost_worker_is_sent_to_another_one_with_the_calls_that_were_paid(
    lose: Callable[[RowBook, int], None], tmp_path: Path
) -> None:
    async def sent_calls() -> list[int]:
        """Number of calls that the rows are sent with."""
        run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {"job": "test"}))
        book = RowBook(run, CallCounters(had_success=True), 1, lambda: None)
        reader = asyncio.create_task(book.read(one_row()))
        await asyncio.sleep(0)
        first, second = (DrivenWorker(run.segments.begin_segment(), place, ThreeReports()) for place in range(2))
        segment = Segment(run.folder, first.number)
        assert book.assign(first, 1) == first.number
        segment.journal.append("a", request_hash("chat", b"x"), 1, b"{}", at=1.0, seconds=0.5)
        segment.close()
        lose(book, first.number)
        book.assign(second, 1)
        units, _ = book.orders(second.number)
        reader.cancel()
        run.close()
        return [len(row.calls) for unit in units for row in unit.rows]

    assert asyncio.run(sent_calls()) == [1]

"""The driver follows its workers until their processes have ended, also if it cannot use what they report."""

import asyncio

import pytest

from manycall.client.call_counters import CallCounters
from manycall.cluster.driven_worker import DrivenWorker
from manycall.cluster.group_figures import GroupFigures
from manycall.cluster.link import Link
from manycall.cluster.starting import StartedWorker
from manycall.cluster.worker_messages import Report, Setup, WorkerFigures, encode_message
from manycall.cluster.worker_pool import WorkerPool
from manycall.errors import StorageError
from manycall.run.retry_reasons import RetryReasons


class ThreeReports:
    """A worker that reports three times and ends. It is its own link.

    Args:
        fails: "receive", "wait": what raises StorageError.
    """

    def __init__(self, fails: str = "") -> None:
        self.link: Link = self
        self._reports = [Report(1), Report(2), Report(3, ended=True)]
        self._fails = fails
        self.was_killed = False

    def _fail(self, name: str) -> None:
        if self._fails == name:
            raise StorageError(f"no space left for {name}")

    async def receive(self) -> bytes | None:
        self._fail("receive")
        return encode_message(self._reports.pop(0))

    def send(self, message: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def kill(self) -> None:
        self.was_killed = True

    async def wait(self) -> str:
        self._fail("wait")
        return ""


class Starter:
    """Starts one such worker."""

    cores, is_local = 1, True

    def __init__(self, worker: ThreeReports) -> None:
        self._worker = worker

    async def start(self, number: int) -> StartedWorker:
        return self._worker

    async def close(self) -> None:
        pass


class FullDiskListener:
    """Cannot write what the report with number `unwritable` says."""

    def __init__(self, unwritable: int) -> None:
        self._unwritable = unwritable
        self.reports = list[int]()
        self.errors = list[Exception]()
        self.ended = asyncio.Event()

    def take_report(self, worker: DrivenWorker, report: Report) -> None:
        self.reports.append(report.serial)
        if report.serial == self._unwritable:
            raise StorageError("no space left")

    def take_error(self, error: Exception) -> None:
        self.errors.append(error)

    def take_end(self, worker: DrivenWorker, died: str) -> None:
        self.ended.set()


def follow(worker: ThreeReports, unwritable: int = 0) -> FullDiskListener:
    """Follow a worker until it has ended."""

    async def main() -> FullDiskListener:
        listener = FullDiskListener(unwritable)
        setup = Setup(1, "", None, True, [], {}, b"", had_success=False, had_rows=False, expected_rows=0)
        pool = WorkerPool(Starter(worker), lambda number: setup, listener)
        await pool.start(1)
        async with asyncio.timeout(5):
            await listener.ended.wait()
        assert pool.all == []
        return listener

    return asyncio.run(main())


def test_a_worker_whose_report_cannot_be_used_finishes_its_calls() -> None:
    worker = ThreeReports()
    listener = follow(worker, unwritable=1)
    assert listener.reports == [1, 2, 3]
    assert [str(error) for error in listener.errors] == ["no space left"]
    assert not worker.was_killed


@pytest.mark.parametrize("fails", ["receive", "wait"])
def test_a_worker_whose_files_cannot_be_written_by_the_driver_is_killed_and_no_longer_counts(fails: str) -> None:
    worker = ThreeReports(fails)
    listener = follow(worker)
    assert [str(error) for error in listener.errors] == [f"no space left for {fails}"]
    assert worker.was_killed


def test_the_last_status_of_a_run_is_that_of_its_last_worker() -> None:
    group = GroupFigures()
    assert group.status == (0, 0, "workers are starting")
    group.record(1, WorkerFigures(status=(7, 20, "the server")))
    group.deactivate(1)
    assert group.status == (0, 20, "the server")


def test_the_first_retried_errors_of_all_workers_are_kept_once() -> None:
    group, counters = GroupFigures(), CallCounters()
    group.record(1, WorkerFigures(first_retried={"500": "status 500"}))
    group.record(2, WorkerFigures(first_retried={"500": "status 500 too", "ConnectError": "refused"}))
    group.sum_counters(counters)
    assert RetryReasons(counters.first_retried).new_sentences() == ["Retrying: status 500", "Retrying: refused"]

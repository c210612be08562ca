"""The driver follows its workers until their processes have ended, also if it cannot use what they report."""

import asyncio

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
    """A worker that reports three times and ends. It is its own link."""

    def __init__(self) -> None:
        self.link: Link = self
        self._reports = [Report(1), Report(2), Report(3, ended=True)]
        self.was_killed = False

    async def receive(self) -> bytes | None:
        return encode_message(self._reports.pop(0))

    def send(self, message: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def kill(self) -> None:
        self.was_killed = True

    async def wait(self) -> str:
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
    """Cannot write what the first report says."""

    def __init__(self) -> None:
        self.reports = list[int]()
        self.errors = list[Exception]()
        self.ended = asyncio.Event()

    def take_report(self, worker: DrivenWorker, report: Report) -> None:
        self.reports.append(report.serial)
        if report.serial == 1:
            raise StorageError("no space left")

    def take_error(self, error: Exception) -> None:
        self.errors.append(error)

    def take_end(self, worker: DrivenWorker, died: str) -> None:
        self.ended.set()


def test_a_worker_whose_report_cannot_be_used_finishes_its_calls() -> None:
    worker = ThreeReports()

    async def follow() -> FullDiskListener:
        listener = FullDiskListener()
        setup = Setup(1, "", None, True, [], {}, b"", had_success=False, expected_rows=0)
        pool = WorkerPool(Starter(worker), lambda number: setup, listener)
        await pool.start(1)
        async with asyncio.timeout(5):
            await listener.ended.wait()
        return listener

    listener = asyncio.run(follow())
    assert listener.reports == [1, 2, 3]
    assert [str(error) for error in listener.errors] == ["no space left"]
    assert not worker.was_killed


def test_the_first_retried_errors_of_all_workers_are_kept_once() -> None:
    group, counters = GroupFigures(), CallCounters()
    group.record(1, WorkerFigures(first_retried={"500": "status 500"}))
    group.record(2, WorkerFigures(first_retried={"500": "status 500 too", "ConnectError": "refused"}))
    group.sum_counters(counters)
    assert RetryReasons(counters.first_retried).new_sentences() == ["Retrying: status 500", "Retrying: refused"]

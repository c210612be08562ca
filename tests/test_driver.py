"""The driver of a run with several workers, in virtual time: what it does with their reports."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path

from fakes import FakeTransport, SoloClient
from manycall.cluster.driver import WorkerGroup
from manycall.cluster.link import Link
from manycall.cluster.worker_count import WorkerCount
from manycall.cluster.worker_messages import Report, StopReason, decode_grant, decode_setup, encode_message
from manycall.control.work_units import RowsReport
from manycall.records import Fields, Row, Success
from manycall.run.map_rows import map_job
from manycall.run.options import RunOptions
from manycall.run.run_result import RunResult
from manycall.run.session import JobSession
from manycall.run.session_handle import SessionHandle
from manycall.run.status_display import StatusDisplay
from manycall.sim.virtual_time import run_virtual
from manycall.store.segments import Segment

OUT = Path("out.jsonl")


class ScriptedWorker:
    """A worker that finishes the rows it gets at once. It is its own link.

    Args:
        full_after: number of rows after which its disk is full; None: it never is.
    """

    def __init__(self, full_after: int | None = None) -> None:
        self.link: Link = self
        self._full_after = full_after
        self._segment: Segment | None = None
        self._reports = asyncio.Queue[Report]()
        self._serial = self._last_unit = self._done = 0

    def _report(self, stopped: StopReason | None = None, *, ended: bool = False) -> None:
        self._serial += 1
        report = Report(
            self._serial, rows=RowsReport(self._last_unit), begun=self._done, had_success=True, stopped=stopped,
            ended=ended,
        )  # fmt: skip
        self._reports.put_nowait(report)

    def send(self, message: bytes) -> None:
        if self._segment is None:
            setup = decode_setup(message)
            self._segment = Segment(Path(setup.run_folder), setup.segment)
            self._report()
            return
        grant = decode_grant(message)
        for unit in grant.units:
            if unit.number > self._last_unit:
                self._last_unit = unit.number
                self._finish([Row(row.id, row.fields, row.index) for row in unit.rows], self._segment)
        if grant.finish:
            self._end(self._segment)

    def _finish(self, rows: list[Row], segment: Segment) -> None:
        for row in rows:
            if self._done == self._full_after:
                self._end(segment, StopReason("StorageError", "2 completed calls could not be saved and are lost."))
                return
            segment.write_row(Success(row, {}))
            self._done += 1
        self._report()

    def _end(self, segment: Segment, stopped: StopReason | None = None) -> None:
        segment.close()
        self._report(stopped, ended=True)

    async def receive(self) -> bytes | None:
        return encode_message(await self._reports.get())

    def close(self) -> None:
        pass

    def kill(self) -> None:
        pass

    async def wait(self) -> str:
        return ""


class ScriptedStarter:
    """Starts these workers, in this order."""

    cores, is_local = 8, True

    def __init__(self, *workers: ScriptedWorker) -> None:
        self._workers = [*workers]

    async def start(self, number: int) -> ScriptedWorker:
        return self._workers.pop(0)

    async def close(self) -> None:
        pass


async def nothing(row: Fields, llm: object) -> Fields:
    return {}


def run_rows(count: int, make_workers: Callable[[], list[ScriptedWorker]], shown: io.StringIO) -> RunResult:
    """Process this number of rows. Two workers run at a time."""

    async def main() -> RunResult:
        job = map_job(nothing, [{"n": n} for n in range(count)], options := RunOptions(model="m", out=OUT))
        starter = ScriptedStarter(*make_workers())
        async with SoloClient("m", base_url="http://a/v1", api_key="", transport=FakeTransport(str)) as client:
            session = JobSession(job, options, client, StatusDisplay(shown))
            with session.recorded():
                await session.run(
                    SessionHandle(), make_engine=lambda each: WorkerGroup(each, starter, WorkerCount(2, starter.cores))
                )
            return session.result()

    return run_virtual(main())


def test_a_run_is_complete_if_other_workers_have_done_the_rows_of_one_whose_disk_was_full() -> None:
    shown = io.StringIO()
    result = run_rows(100, lambda: [ScriptedWorker(full_after=3), ScriptedWorker(), ScriptedWorker()], shown)
    assert result.done == len(OUT.read_bytes().splitlines()) == 100
    assert (
        "the rows that worker 1 could not save. 2 completed calls could not be saved and are lost." in shown.getvalue()
    )
    assert json.loads(Path("out.jsonl.run/manifest.json").read_bytes())["sessions"][0]["outcome"] == "finished"

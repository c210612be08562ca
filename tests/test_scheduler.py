import asyncio
import contextlib
import errno
import json
import os
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

import manycall
from disks import Refusing
from fakes import FakeTransport, Handler, SoloClient, answer, asked, calls_of, refusal
from manycall import errors
from manycall.data.row_source import RowSource
from manycall.records import Row
from manycall.run.async_bridge import run_on
from manycall.run.row_client import RowClient
from manycall.run.row_recorder import MAX_INITIAL_FAILURES
from manycall.run.scheduler import CANCEL_SECONDS, FINISH_SECONDS, RowFunction, Scheduler
from manycall.run.signals import Interrupts
from manycall.sim import virtual_time
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import HttpResponse


async def ask(row: Row, llm: RowClient) -> dict[str, Any]:
    return {"text": (await llm.chat(str(row.fields["q"]))).text}


def fine(body: dict[str, Any]) -> HttpResponse:
    return answer(f"to {asked(body)}")


class World:
    """One output, and what happened on the wire while it was made."""

    def __init__(
        self,
        folder: Path,
        handler: Handler = fine,
        *,
        seconds: float = 1.0,
        concurrency: int = 4,
        disk: Disk = REAL_DISK,
        sees_calls_through: bool = False,
    ) -> None:
        self.disk, self.sees_calls_through = disk, sees_calls_through
        self.out = folder / "out.jsonl"
        self.transport = FakeTransport(handler, seconds)
        self.concurrency = concurrency

    def go(
        self,
        rows: Any,
        function: RowFunction = ask,
        *,
        stop_at: float | None = None,
        abandon_at: float | None = None,
        writes: tuple[str, ...] = (),
    ) -> Scheduler:
        """Run to the end; return the scheduler that did it."""

        async def main() -> Scheduler:
            run = RunFolder(self.out, Manifest("0", {}), disk=self.disk)
            client = SoloClient("m", base_url="http://h", transport=self.transport, concurrency=self.concurrency)
            client.counters.had_success = len(run.ids) > 0
            client.counters.had_rows = client.counters.had_success or bool(run.failures.failed_before)
            self.took, loop, why = virtual_time.now(), asyncio.get_running_loop(), errors.Interrupted("interrupted")
            try:
                async with client:
                    calls = calls_of(client, run, finish_cancelled_calls=self.sees_calls_through)
                    self.scheduler = Scheduler(calls, run, function, writes)
                    if stop_at is not None:
                        loop.call_later(stop_at, self.scheduler.stop, why)
                    if abandon_at is not None:
                        loop.call_later(abandon_at, self.scheduler.cancel, why)
                    await self.scheduler.run(RowSource(rows).pending_rows(run.ids))
            finally:
                self.took = virtual_time.now() - self.took
                run.close()
            return self.scheduler

        async def handling() -> Scheduler:
            with interrupts.handled_by(lambda count: None, lambda: None):
                return await main()

        interrupts = Interrupts()
        return run_on(virtual_time.VirtualLoop(), handling(), interrupts)

    @property
    def rows(self) -> dict[str, Any]:
        rows = [json.loads(line) for line in self.out.read_bytes().splitlines()]
        assert len({row["id"] for row in rows}) == len(rows)
        return {row["id"]: row for row in rows}

    @property
    def failures(self) -> dict[str, Any]:
        path = self.out.with_name("out.jsonl.run") / "failures.jsonl"
        return {row["id"]: row for row in map(json.loads, path.read_bytes().splitlines())}


def questions(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "q": f"q{n}"} for n in range(count)]


def test_every_row_is_done_once_and_all_slots_are_used(tmp_path: Path) -> None:
    world = World(tmp_path, concurrency=4)
    world.go(questions(20))
    assert {name: row["text"] for name, row in world.rows.items()} == {f"r{n}": f"to q{n}" for n in range(20)}
    assert (world.took, world.transport.max_in_flight) == (5.0, 4)


def test_rows_that_finish_in_one_turn_of_the_loop_are_written_together(tmp_path: Path) -> None:
    rows_per_write: list[int] = []

    class Counting(Disk):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            if b'"text":' in bytes(data):
                rows_per_write.append(bytes(data).count(b"\n"))
            return super().write(fd, data)

    world = World(tmp_path, concurrency=4, disk=Counting())
    world.go(questions(12))
    assert (len(world.rows), rows_per_write) == (12, [4, 4, 4])


def test_rows_that_could_not_be_written_end_the_run_and_the_next_one_makes_no_call_for_them(tmp_path: Path) -> None:
    class FullForRows(Disk):
        is_full = True

        def write(self, fd: int, data: bytes | memoryview) -> int:
            if self.is_full and b'"text":' in bytes(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(fd, data)

    disk = FullForRows()
    world = World(tmp_path, concurrency=4, disk=disk)
    with pytest.raises(errors.StorageError, match="no space left"):
        world.go(questions(4))
    assert (world.rows, world.scheduler._counters.done, len(world.transport.log)) == ({}, 0, 4)
    disk.is_full = False
    world.go(questions(4))
    assert (len(world.rows), len(world.transport.log)) == (4, 4)


def test_rows_begin_in_order(tmp_path: Path) -> None:
    world = World(tmp_path, concurrency=1)
    world.go(questions(5))
    assert [text for _, text in world.transport.log] == [f"q{n}" for n in range(5)]


def test_a_row_is_taken_from_the_source_only_when_it_can_be_begun(tmp_path: Path) -> None:
    ahead = []

    async def rows() -> AsyncIterator[dict[str, Any]]:
        for n in range(1000):
            ahead.append(n - len(world.transport.log))
            yield {"q": n}

    world = World(tmp_path, concurrency=8, seconds=0.01)
    world.go(rows())
    assert len(world.rows) == 1000
    assert max(ahead) <= 2


def test_a_row_that_always_gets_503_does_not_hold_up_the_next(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: refusal(503) if asked(body) == "q0" else answer(), concurrency=1)
    world.go(questions(5))
    finished = [at for at, text in world.transport.log if text == "q1"]
    assert finished[0] <= 2
    assert len(world.rows) == 4
    assert world.failures["r0"]["attempts"] == 100


def test_rows_that_all_wait_to_be_sent_again_are_bounded(tmp_path: Path) -> None:
    live = []

    def busy(body: dict[str, Any]) -> HttpResponse:
        live.append(len(world.scheduler._workers))
        return refusal(503) if virtual_time.now() < 50 else answer()

    world = World(tmp_path, busy, concurrency=4, seconds=0.1)
    world.go(questions(900))
    assert len(world.rows) == 900
    assert max(live) <= 8 * 4 + 256


def test_the_second_call_of_an_old_row_goes_before_the_first_of_a_new_one(tmp_path: Path) -> None:
    async def twice(row: Row, llm: RowClient) -> dict[str, Any]:
        draft = await llm.chat(f"{row.fields['q']} first")
        return {"text": (await llm.chat(f"{row.fields['q']} second")).text, "draft": draft.text}

    world = World(tmp_path, concurrency=2)
    world.go(questions(6), twice)
    order = [text.split()[0] for _, text in world.transport.log]
    assert order == ["q0", "q1"] * 2 + ["q2", "q3"] * 2 + ["q4", "q5"] * 2


def test_a_function_that_raises_fails_its_row_alone_and_keeps_what_was_paid(tmp_path: Path) -> None:
    async def picky(row: Row, llm: RowClient) -> dict[str, Any]:
        reply = await llm.chat(row.fields["q"])
        if row.id == "r3" and not mended:
            raise KeyError("grade")
        return {"text": reply.text}

    mended = False
    world = World(tmp_path)
    world.go(questions(8), picky)
    assert len(world.rows) == 7
    failure = world.failures["r3"]
    assert failure["kind"] == "function_error"
    assert "KeyError: 'grade' (test_scheduler.py, line " in failure["error"]
    assert failure["last_text"] == "to q3"
    mended = True
    scheduler = world.go(questions(8), picky)
    assert world.rows["r3"]["text"] == "to q3"
    assert world.failures == {}
    assert len(world.transport.log) == 8
    assert scheduler._counters.replayed == 1


def test_a_half_finished_row_goes_on_in_the_middle(tmp_path: Path) -> None:
    async def steps(row: Row, llm: RowClient) -> dict[str, Any]:
        return {"texts": [(await llm.chat(f"{row.fields['q']} step {n}")).text for n in range(3)]}

    world = World(tmp_path, concurrency=2)
    with pytest.raises(errors.Interrupted):
        world.go(questions(2), steps, stop_at=1.5)
    assert world.rows == {}
    world.go(questions(2), steps)
    assert len(world.rows) == 2
    texts = [text for _, text in world.transport.log]
    assert sorted(texts) == sorted(set(texts)) == sorted(f"q{n} step {k}" for n in range(2) for k in range(3))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("text", "must return a dict"),
        (None, "must return a dict"),
        ({"id": "other"}, "returned another 'id'"),
        ({"x": object()}, "object"),
        ({"x": [{"y": float("nan")}]}, "nan or infinity"),
        ({"x": "\ud800"}, "surrogates"),
    ],
)
def test_a_result_that_cannot_be_written_fails_its_row(tmp_path: Path, result: Any, said: str) -> None:
    async def odd(row: Row, llm: RowClient) -> Any:
        return result if row.id == "r1" else {"fine": True}

    world = World(tmp_path)
    world.go(questions(3), odd)
    assert sorted(world.rows) == ["r0", "r2"]
    assert said in world.failures["r1"]["error"]


def test_a_function_may_live_with_a_failed_call(tmp_path: Path) -> None:
    async def brave(row: Row, llm: RowClient) -> dict[str, Any]:
        try:
            return {"text": (await llm.chat(row.fields["q"])).text}
        except errors.CallError as failure:
            return {"text": None, "why": type(failure).__name__}

    world = World(tmp_path, lambda body: refusal(400) if asked(body) == "q1" else answer())
    world.go(questions(3), brave)
    assert world.rows["r1"]["why"] == "HttpStatusError"


def test_a_function_cannot_hide_that_the_run_stops(tmp_path: Path) -> None:
    async def stubborn(row: Row, llm: RowClient) -> dict[str, Any]:
        try:
            return {"text": (await llm.chat(row.fields["q"])).text}
        except BaseException:
            return {"text": "made up"}

    world = World(tmp_path, lambda body: refusal(401))
    with pytest.raises(errors.RunStopped):
        world.go(questions(20), stubborn)
    assert world.rows == {}
    assert world.failures == {}


def test_interrupting_lets_the_calls_in_flight_finish_and_makes_no_new_ones(tmp_path: Path) -> None:
    world = World(tmp_path, concurrency=4)
    with pytest.raises(errors.Interrupted):
        world.go(questions(100), stop_at=2.5)
    assert len(world.rows) == len(world.transport.log) == 12
    assert world.took == 3.0
    world.go(questions(100))
    assert len(world.rows) == len(world.transport.log) == 100


def test_a_call_that_waits_for_a_permit_is_not_in_flight(tmp_path: Path) -> None:
    world, counted = World(tmp_path, concurrency=2), []

    async def ask_often(row: Row, llm: RowClient) -> dict[str, Any]:
        calls = [asyncio.create_task(llm.chat(str(n))) for n in range(20)]
        await asyncio.sleep(0.5)
        counted.append(world.scheduler.calls_in_flight)
        await asyncio.gather(*calls)
        return {}

    world.go(questions(1), ask_often)
    assert counted == [2]


def test_interrupting_twice_drops_the_calls_in_flight(tmp_path: Path) -> None:
    world = World(tmp_path, seconds=1000.0)

    async def soon(row: Row, llm: RowClient) -> dict[str, Any]:
        asyncio.get_running_loop().call_later(1, world.scheduler.stop, errors.Interrupted("interrupted"))
        asyncio.get_running_loop().call_later(2, world.scheduler.cancel, errors.Interrupted("interrupted"))
        return await ask(row, llm)

    with pytest.raises(errors.Interrupted):
        world.go(questions(100), soon)
    assert world.took == 2.0
    assert world.rows == world.failures == {}


def test_interrupting_while_the_source_has_nothing_to_give_ends_at_once(tmp_path: Path) -> None:
    async def slow() -> AsyncIterator[dict[str, Any]]:
        yield {"q": 1}
        await asyncio.sleep(1e6)
        yield {"q": 2}

    world = World(tmp_path)
    with pytest.raises(errors.Interrupted):
        world.go(slow(), stop_at=5)
    assert world.took == 5
    assert len(world.rows) == 1


def test_rows_that_wait_to_be_sent_again_do_not_delay_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: refusal(503, headers={"retry-after": "3000"}))
    with pytest.raises(errors.Interrupted):
        world.go(questions(3), stop_at=10)
    assert world.took == 10
    assert world.failures == {}


def test_a_call_that_fails_after_the_stop_is_not_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: refusal(429, headers={"retry-after": "3000"}), seconds=2.0)
    with pytest.raises(errors.Interrupted):
        world.go(questions(3), stop_at=1)
    assert world.took == 2


def test_a_function_may_set_its_own_timeouts(tmp_path: Path) -> None:
    async def impatient(row: Row, llm: RowClient) -> dict[str, Any]:
        try:
            return {"text": (await asyncio.wait_for(llm.chat(row.fields["q"]), 0.5)).text}
        except TimeoutError:
            return {"text": "too slow"}

    world = World(tmp_path)
    world.go(questions(4), impatient)
    assert {row["text"] for row in world.rows.values()} == {"too slow"}


def test_a_call_that_its_function_cancelled_after_it_was_sent_is_kept(tmp_path: Path) -> None:
    async def impatient(row: Row, llm: RowClient) -> dict[str, Any]:
        async with asyncio.timeout(patience), asyncio.TaskGroup() as group:
            calls = [group.create_task(llm.chat(f"{row.id} {n}")) for n in range(6)]
        return {"texts": [(await call).text for call in calls]}

    patience = 1.5
    world = World(tmp_path, concurrency=2, sees_calls_through=True)
    world.go(questions(1), impatient)
    assert len(world.failures) == 1
    assert len(world.transport.log) == 4  # two were answered, two on the wire, and the others were never sent
    patience = 100
    world.go(questions(1), impatient)
    assert world.rows["r0"]["texts"] == [f"to r0 {n}" for n in range(6)]
    assert len(world.transport.log) == 6


def test_a_second_ctrl_c_does_not_wait_for_abandoned_calls(tmp_path: Path) -> None:
    async def impatient(row: Row, llm: RowClient) -> dict[str, Any]:
        await asyncio.wait_for(llm.chat("x"), 0.5)
        return {}

    world = World(tmp_path, seconds=1000.0, concurrency=1, sees_calls_through=True)

    with pytest.raises(errors.Interrupted):
        world.go(questions(1), impatient, abandon_at=2.0)
    assert world.took == 2.0


def test_a_cancellation_of_the_functions_own_making_is_its_failure(tmp_path: Path) -> None:
    async def odd(row: Row, llm: RowClient) -> dict[str, Any]:
        if row.id == "r1":
            raise asyncio.CancelledError
        return await ask(row, llm)

    world = World(tmp_path)
    world.go(questions(4), odd)
    assert "CancelledError" in world.failures["r1"]["error"]
    assert len(world.rows) == 3


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SystemExit(7), r"^SystemExit: 7 \(test_scheduler.py, line \d+\); it ends this row, and not the command$"),
        (SystemExit(), r"^SystemExit \(test_scheduler.py, line \d+\); it ends this row"),
        (KeyboardInterrupt(), r"^KeyboardInterrupt \(.*\); the function raised it; no signal was received$"),
        (GeneratorExit(), r"^GeneratorExit"),
        (asyncio.CancelledError(), r"^CancelledError \(.*\); cancelled by the function or by one of its tasks$"),
        (BaseException("odd"), r"^BaseException: odd \("),
    ],
)
@pytest.mark.parametrize("way", ["the function", "gather", "a TaskGroup"])
def test_an_exception_of_a_row_function_fails_its_row_alone(
    tmp_path: Path, error: BaseException, said: str, way: str
) -> None:
    async def odd(row: Row, llm: RowClient) -> dict[str, Any]:
        made = await ask(row, llm)
        if row.id == "r1":
            raise error
        return made

    async def gather(row: Row, llm: RowClient) -> dict[str, Any]:
        task = asyncio.create_task(odd(row, llm))
        await asyncio.gather(task, llm.chat("other"))
        return task.result()

    async def task_group(row: Row, llm: RowClient) -> dict[str, Any]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(odd(row, llm))
        return task.result()

    if way == "a TaskGroup" and isinstance(error, asyncio.CancelledError):
        pytest.skip("a TaskGroup takes no notice of a task that cancels itself")
    world = World(tmp_path, sees_calls_through=True)
    world.go(questions(4), {"the function": odd, "gather": gather, "a TaskGroup": task_group}[way])
    assert len(world.rows) == 3
    assert re.search(said, world.failures["r1"]["error"])


def test_a_call_that_fails_in_a_task_group_is_reported_as_such(tmp_path: Path) -> None:
    async def group(row: Row, llm: RowClient) -> dict[str, Any]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ask(row, llm))
        return task.result()

    world = World(tmp_path, lambda body: refusal(400, "too long") if asked(body) == "q1" else answer())
    world.go(questions(3), group)
    assert (world.failures["r1"]["kind"], world.failures["r1"]["status"]) == ("call_error", 400)


def test_a_row_is_rejected_from_within_a_task_group(tmp_path: Path) -> None:
    async def reject(row: Row, llm: RowClient) -> dict[str, Any]:
        async def subtask() -> None:
            raise errors.RowRejected("no good")

        async with asyncio.TaskGroup() as group:
            group.create_task(subtask())
        return {}

    world = World(tmp_path)
    assert world.go(questions(3), reject)._counters.rejected == 3


def test_a_function_that_suppresses_a_full_disk_does_not_keep_the_run_going(tmp_path: Path) -> None:
    async def suppress(row: Row, llm: RowClient) -> dict[str, Any]:
        replies = await asyncio.gather(*(llm.chat(f"{row.id} {n}") for n in range(3)), return_exceptions=True)
        return {"n": sum(isinstance(each, errors.StorageError) for each in replies)}

    disk = Refusing()
    world = World(tmp_path, disk=disk, sees_calls_through=True)
    disk.room = 900
    with pytest.raises(errors.StorageError, match="no space left"):
        world.go(questions(100), suppress)
    assert len(world.transport.log) < 20


def test_rows_that_do_not_end_are_cancelled_ten_seconds_after_the_last_call(tmp_path: Path) -> None:
    async def stuck(row: Row, llm: RowClient) -> dict[str, Any]:
        made = await ask(row, llm)
        await asyncio.sleep(8 if row.id == "r1" else 1e6)
        return made

    world = World(tmp_path)
    with pytest.raises(errors.Interrupted):
        world.go(questions(4), stuck, stop_at=0.5)
    assert world.took == pytest.approx(1 + FINISH_SECONDS)
    assert list(world.rows) == ["r1"]
    assert world.failures == {}
    world.go(questions(4))
    assert len(world.rows) == len(world.transport.log) == 4


def test_a_row_that_suppresses_its_cancellation_is_left_behind(tmp_path: Path) -> None:
    async def deaf(row: Row, llm: RowClient) -> dict[str, Any]:
        made = await ask(row, llm)
        until = virtual_time.now() + 100
        while virtual_time.now() < until:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)
        return made

    world = World(tmp_path)
    with pytest.raises(errors.Interrupted):
        world.go(questions(4), deaf, stop_at=0.5, abandon_at=2.0)
    assert world.took == 2.0 + CANCEL_SECONDS
    assert world.rows == world.failures == {}


def test_a_task_that_outlives_its_function_makes_no_further_call(tmp_path: Path) -> None:
    async def leaves(row: Row, llm: RowClient) -> dict[str, Any]:
        async def go_on() -> None:
            for n in range(5):
                await llm.chat(f"later {n}")

        tasks.append(asyncio.create_task(go_on()))
        return await ask(row, llm)

    tasks: list[asyncio.Task[None]] = []
    world = World(tmp_path, concurrency=2, sees_calls_through=True)
    world.go(questions(4), leaves)
    assert len(world.rows) == 4
    assert len(world.transport.log) == 8
    assert all(task.cancelled() or "after its row function had returned" in str(task.exception()) for task in tasks)


def test_calls_made_side_by_side_find_their_answers_again(tmp_path: Path) -> None:
    async def branches(row: Row, llm: RowClient) -> dict[str, Any]:
        async def branch(n: int) -> str:
            draft = await llm.chat(f"{row.id} draft {n}")
            return (await llm.chat(f"{row.id} judge {n} {draft.text}")).text

        texts = await asyncio.gather(*(branch(n) for n in range(3)))
        if not mended:
            raise ValueError("not yet")
        return {"texts": texts}

    mended = False
    world = World(tmp_path)
    world.go(questions(2), branches)
    assert (len(world.transport.log), len(world.failures)) == (12, 2)
    mended = True
    world.go(questions(2), branches)
    assert (len(world.transport.log), len(world.rows)) == (12, 2)


def test_equal_calls_of_a_row_are_samples_and_each_is_kept(tmp_path: Path) -> None:
    async def thrice(row: Row, llm: RowClient) -> dict[str, Any]:
        texts = [(await llm.chat("same")).text for _ in range(3)]
        if not mended:
            raise ValueError("not yet")
        return {"texts": texts}

    mended = False
    numbers = iter(range(100))
    world = World(tmp_path, lambda body: answer(f"answer {next(numbers)}"))
    world.go(questions(1), thrice)
    mended = True
    world.go(questions(1), thrice)
    assert world.rows["r0"]["texts"] == ["answer 0", "answer 1", "answer 2"]
    assert len(world.transport.log) == 3


def test_a_paid_call_that_its_row_did_not_wait_for_is_journaled_before_the_end(tmp_path: Path) -> None:
    async def pair(row: Row, llm: RowClient) -> dict[str, Any]:
        good, bad = await asyncio.gather(llm.chat(f"{row.id} good"), llm.chat(f"{row.id} bad"))
        return {"texts": [good.text, bad.text]}

    def slow_good(body: dict[str, Any]) -> HttpResponse:
        return answer() if asked(body).endswith("good") or mended else refusal(400)

    mended = False
    world = World(tmp_path, slow_good)
    world.go(questions(1), pair)
    mended = True
    world.go(questions(1), pair)
    assert [text for _, text in world.transport.log].count("r0 good") == 1


def test_what_a_function_does_to_its_row_touches_no_other_sample(tmp_path: Path) -> None:
    async def append(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        row["list"].append(1)
        return {"seen": len(row["list"])}

    report = manycall.map(
        append, [{"id": "a", "list": []}], samples=3, model="m", base_url="http://h", out="o.jsonl", progress=False
    )
    assert [(row["seen"], row["list"]) for row in report.rows()] == [(1, [])] * 3


def test_a_row_that_brings_the_answers_field_along_fails_before_any_call(tmp_path: Path) -> None:
    world = World(tmp_path)
    rows = questions(4)
    rows[2]["text"] = "mine"
    world.go(rows, writes=("text",))
    assert "already has a field 'text', the output field" in world.failures["r2"]["error"]
    assert len(world.transport.log) == 3
    with pytest.raises(errors.UsageError, match="output field cannot be 'id'"):
        manycall.generate("x", output_field="id", model="m", base_url="http://h", out="o.jsonl")


def test_a_wrong_key_stops_the_run_and_fails_no_row(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: refusal(401, "bad key"))
    with pytest.raises(errors.RunStopped, match="bad key"):
        world.go(questions(1000))
    assert len(world.transport.log) <= 10
    assert world.failures == {}


def test_if_the_first_rows_all_fail_the_rest_are_spared(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: refusal(400, "unknown model"))
    with pytest.raises(errors.RunStopped, match=r"first 10 rows all failed.*unknown model"):
        world.go(questions(1000))
    assert MAX_INITIAL_FAILURES <= len(world.transport.log) <= MAX_INITIAL_FAILURES + world.concurrency
    world.go(questions(30))  # somebody has read the sentence, and insists
    assert len(world.failures) == 30


def test_a_bad_row_in_the_middle_of_an_iterable_ends_the_run_after_those_begun(tmp_path: Path) -> None:
    rows: Iterable[Any] = [*questions(6), "no row", *questions(1)]
    world = World(tmp_path)
    with pytest.raises(errors.UsageError, match="row 7"):
        world.go(rows)
    assert len(world.rows) >= 4
    assert len(world.rows) == len(world.transport.log)


def test_an_iterator_of_the_users_that_raises_is_not_swallowed(tmp_path: Path) -> None:
    def rows() -> Iterable[dict[str, Any]]:
        yield {"q": 1}
        raise ZeroDivisionError("theirs")

    world = World(tmp_path)
    with pytest.raises(ZeroDivisionError, match="theirs"):
        world.go(rows())
    assert len(world.rows) == 1


@pytest.mark.parametrize("room", [1000, 5000, 20_001])
def test_a_full_disk_stops_the_run_and_loses_no_answer_in_flight(tmp_path: Path, room: int) -> None:
    disk = Refusing()
    world = World(tmp_path, concurrency=32, disk=disk)

    def fills(body: dict[str, Any]) -> HttpResponse:
        if len(world.transport.log) == 64:  # these are in flight when the first of them finds no room
            disk.room = room % 1000
        return fine(body)

    world.transport = FakeTransport(fills)
    with pytest.raises(errors.StorageError, match=r"no space left on device\. Free some space and make the same call"):
        world.go(questions(200))
    assert len(world.transport.log) == 64
    disk.room = None
    world.go(questions(200))
    assert len(world.rows) == 200
    assert len(world.transport.log) == 200


def test_a_response_that_cannot_be_stored_ends_the_run_although_no_row_waits_for_it(tmp_path: Path) -> None:
    disk = Refusing()

    def full(body: dict[str, Any]) -> HttpResponse:
        disk.room = 0
        return answer()

    async def impatient(row: Row, llm: RowClient) -> dict[str, Any]:
        call = asyncio.create_task(llm.chat("slow"))
        await asyncio.sleep(1)
        call.cancel()
        return {"text": "without the answer"}

    world = World(tmp_path, full, seconds=5.0, disk=disk, sees_calls_through=True)
    with pytest.raises(errors.StorageError):
        world.go(questions(1), impatient)
    assert isinstance(world.scheduler._reason, errors.StorageError)

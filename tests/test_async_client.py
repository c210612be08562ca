"""`manycall.Client`: calls and jobs on one client, in virtual time."""

import asyncio
import contextlib
import gc
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from manycall.errors import RunStopped, UsageError
from manycall.evals.tasks.wordmath import problems
from manycall.run.row_stream import RowStream
from manycall.testing import InProcessTransport, MemoryTransport, SimServer, SimSettings, run_virtual

ROWS = [{"q": f"question {n}"} for n in range(10_000)]
SLOTS = 200


async def grade(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    return {"answer": (await llm.chat(row["q"])).text}


def simulated(**settings: Any) -> tuple[manycall.Client, SimServer]:
    server = SimServer(SimSettings(slots=SLOTS, latency=1.0, token_latency=0.0, **settings), {})
    return manycall.Client("m", base_url="http://s/v1", transport=InProcessTransport({"s": server})), server


async def collect(stream: RowStream, kinds: list[str]) -> None:
    async for result in stream:
        assert isinstance(result, manycall.Failure)
        kinds.append(result.kind)


def saved_rows(name: str) -> int:
    return len(Path(name).read_bytes().splitlines())


def run(work: Coroutine[Any, Any, None]) -> None:
    run_virtual(work)


async def cancel_half_way(stream: RowStream) -> int:
    """Read half of the rows in a task that is then cancelled."""
    read = 0

    async def reader() -> None:
        nonlocal read
        async for _ in stream:
            read += 1
            if read == len(ROWS) // 2:
                task.cancel()

    task = asyncio.ensure_future(reader())
    with pytest.raises(asyncio.CancelledError):
        await task
    return read


async def break_half_way(stream: RowStream) -> int:
    read = 0
    async for _ in stream:
        read += 1
        if read == len(ROWS) // 2:
            break
    await stream.aclose()
    return read


async def time_out_half_way(stream: RowStream) -> int:
    read = 0

    async def reader() -> None:
        nonlocal read
        async with asyncio.timeout(len(ROWS) / SLOTS / 2):
            async for _ in stream:
                read += 1

    with pytest.raises(TimeoutError):
        await reader()
    return read


@pytest.mark.parametrize("leave", [cancel_half_way, break_half_way, time_out_half_way])
def test_ten_thousand_rows_arrive_as_they_finish_and_a_stream_left_half_way_resumes_without_paying_twice(
    leave: Callable[[RowStream], Awaitable[int]],
) -> None:
    async def main() -> None:
        llm, server = simulated()
        read = await leave(llm.map(grade, ROWS, out="o.jsonl", progress=False))
        saved = saved_rows("o.jsonl")
        assert len(ROWS) // 4 <= read <= saved <= read + 3 * SLOTS
        assert server.stats()["started"] == saved
        assert llm.status().in_flight == 0  # calls in flight have finished and are saved

        stream = llm.map(grade, ROWS, out="o.jsonl", progress=False)
        rest = [result.row.id async for result in stream]
        result = await stream
        assert (result.done, result.failed, len(rest), len(set(rest))) == (len(ROWS), 0, *[len(ROWS) - saved] * 2)
        assert sorted(row["q"] for row in result) == sorted(row["q"] for row in ROWS)
        assert server.stats()["started"] == len(ROWS)
        await llm.aclose()

    run(main())


@pytest.mark.parametrize(("concurrency", "max_time"), [(10, "3s"), (20, None)], ids=["stopped", "finished"])
def test_the_manifest_has_the_duration_of_a_session_however_it_ends(concurrency: int, max_time: str | None) -> None:
    async def main() -> None:
        transport = MemoryTransport(lambda body: "fine", seconds=1.0)
        async with manycall.Client("m", base_url="http://s/v1", transport=transport, concurrency=concurrency) as llm:
            with contextlib.suppress(RunStopped):
                await llm.map(grade, ROWS[:60], out="o.jsonl", max_time=max_time, progress=False)

    run(main())
    (session,) = msgspec.json.decode(Path("o.jsonl.run/manifest.json").read_bytes())["sessions"]
    assert (session["done"], session["seconds"]) == (60 if max_time is None else 30, pytest.approx(3.0, abs=0.2))


def test_a_second_cancellation_aborts_the_calls_in_flight() -> None:
    async def main() -> None:
        transport = MemoryTransport(lambda body: "fine", seconds=1000.0)
        llm = manycall.Client("m", base_url="http://s/v1", transport=transport)
        task = asyncio.create_task(llm.map(grade, ROWS[:50], out="o.jsonl", progress=False).result())
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.sleep(5)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() < 20

    run(main())


def test_a_slow_reader_holds_up_new_rows() -> None:
    taken = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for row in ROWS:
            taken += 1
            yield row

    async def main() -> None:
        llm, server = simulated()
        read = window = 0
        stream = llm.map(grade, rows(), progress=False)
        async for _ in stream:
            read, window = read + 1, max(window, llm.status().window)
            await asyncio.sleep(0.5)
            if read == 100:
                break
        assert server.stats()["started"] <= read + 3 * window
        assert taken <= server.stats()["started"] + 2
        assert len(stream._state.unread) <= 2 * window
        await stream.aclose()
        assert [result async for result in stream] == []

    run(main())


def test_a_dropped_stream_stops_its_job_and_its_output_can_be_written_again() -> None:
    async def main() -> None:
        llm, server = simulated()
        for _ in range(2):  # a notebook cell that is run twice
            async for _ in llm.map(grade, ROWS, out="o.jsonl", progress=False):
                break
        result = await llm.map(grade, ROWS[:2000], out="o.jsonl", progress=False)
        assert (result.done, server.stats()["started"]) == (saved_rows("o.jsonl"), saved_rows("o.jsonl"))
        assert len(row_tasks()) == 0

    run(main())


def row_tasks() -> list[Any]:
    return [task for task in asyncio.all_tasks() if "begin" in repr(task)]


def test_two_jobs_of_a_client_cannot_write_the_same_output() -> None:
    async def main() -> None:
        llm, _ = simulated()
        stream = llm.map(grade, ROWS, out="o.jsonl", progress=False)
        await anext(stream)
        with pytest.raises(
            manycall.errors.OutputLocked, match=r"another job of this client.* await stream.aclose\(\)"
        ) as raised:
            await llm.map(grade, ROWS, out="./o.jsonl", progress=False)
        assert [entry.frame.code.name for entry in raised.traceback][-2:] == ["result", "_result_of"]
        await llm.aclose()

    run(main())


def test_the_status_outside_an_event_loop_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a running event loop"):
        simulated()[0].status()


def test_a_client_that_could_not_be_opened_has_no_call_in_flight() -> None:
    async def main() -> None:
        llm = manycall.Client(model="m", base_url="sim:latency=abc")
        with pytest.raises(UsageError, match="did not start"):
            await llm.chat("hi")
        assert (llm.status().in_flight, llm.status().window) == (0, 0)
        await llm.aclose()

    run(main())


def temporary_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("manycall-*"))


def test_a_job_without_out_keeps_its_rows_as_long_as_its_stream_or_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def result() -> manycall.results.RunResult:
        async with simulated()[0] as llm:
            return await llm.map(grade, ROWS[:10], progress=False)

    async def left_early() -> None:
        llm, _ = simulated()
        async for _ in llm.map(grade, ROWS[:1000], progress=False):
            break
        assert len(temporary_folders()) == 1
        await llm.aclose()

    kept = run_virtual(result())
    assert len(list(kept)) == len(list(kept.rows())) == 10
    assert len(temporary_folders()) == 1
    rows, failures = kept.rows(), kept.failures()
    del kept
    gc.collect()
    assert (len(list(rows)), list(failures)) == (10, [])  # an iterator of the rows keeps the result
    del rows, failures
    gc.collect()
    assert temporary_folders() == set()
    run(left_early())
    gc.collect()
    assert temporary_folders() == set()


def test_jobs_and_calls_share_one_client() -> None:
    async def main() -> None:
        llm, server = simulated()
        mapped, written, reply = await asyncio.gather(
            llm.map(grade, ROWS[:300], progress=False),
            llm.generate("Say {{ q }}", ROWS[:300], progress=False),
            llm.chat("hi"),
        )
        assert (mapped.done, mapped.calls, written.done, written.calls) == (300, 300, 300, 300)
        assert reply.text
        assert len(list(mapped.rows())) == 300
        assert server.stats()["started"] == 601

    run(main())


def test_five_hundred_gathered_calls_are_in_flight_at_once() -> None:
    async def main() -> None:
        transport = MemoryTransport(lambda body: "fine", seconds=1.0)
        llm = manycall.Client("m", base_url="http://s/v1", transport=transport)
        await asyncio.gather(*(llm.chat(f"hi {n}") for n in range(500)))
        assert asyncio.get_running_loop().time() < 1.5
        assert transport.max_in_flight >= 499

    run(main())


def test_closing_a_client_ends_its_jobs_and_calls_with_a_reason() -> None:
    async def main() -> None:
        llm, _ = simulated()
        stream = llm.map(grade, ROWS, out="o.jsonl", progress=False)
        await anext(stream)
        job = asyncio.create_task(llm.generate("{{ q }}", ROWS, progress=False).result())
        calls = [asyncio.create_task(llm.chat("hi")) for _ in range(3 * SLOTS)]
        await asyncio.sleep(0.5)
        await llm.aclose()
        ends = await asyncio.gather(job, *calls, return_exceptions=True)
        for end in ends:
            assert isinstance(end, manycall.Completion) or "the client was closed" in str(end)
        assert isinstance(ends[0], manycall.errors.Interrupted)
        with pytest.raises(manycall.errors.Interrupted, match="the client was closed") as stopped:
            await stream
        note = f"{saved_rows('o.jsonl')} rows are saved in o.jsonl. Make the same call again to resume."
        assert stopped.value.__notes__ == [note]
        assert (await llm.chat("hi")).text  # opens again
        await llm.aclose()

    run(main())


class ClosableTransport(MemoryTransport):
    closed = 0

    async def close(self) -> None:
        self.closed += 1


def test_a_client_that_is_dropped_closes_its_connections_and_leaves_no_task() -> None:
    transport = ClosableTransport(lambda body: "fine")

    async def main() -> None:
        llm = manycall.Client("m", base_url="http://s/v1", transport=transport)
        await llm.chat("hi")
        assert len(asyncio.all_tasks()) > 1
        del llm
        gc.collect()
        await asyncio.sleep(0.1)
        assert (transport.closed, len(asyncio.all_tasks())) == (1, 1)

    run(main())


def test_a_failed_row_is_a_result_and_a_stopped_job_leaves_the_others_running() -> None:
    def handler(body: dict[str, Any]) -> str | Exception:
        text = body["messages"][-1]["content"]
        return manycall.errors.AnswerInvalid("no") if "bad" in text else "fine"

    async def main() -> None:
        llm = manycall.Client("m", base_url="http://s/v1", transport=MemoryTransport(handler))
        good = asyncio.create_task(llm.map(grade, ROWS[:500], progress=False).result())
        stream = llm.generate("bad {{ q }}", ROWS[:50], progress=False)
        kinds: list[str] = []
        with pytest.raises(manycall.errors.RunStopped, match="all failed"):
            await collect(stream, kinds)
        assert len(kinds) >= 10
        assert (await good).done == 500
        assert (await llm.chat("hi")).text == "fine"

    run(main())


def test_a_budget_ends_its_own_job_only() -> None:
    async def main() -> None:
        llm = manycall.Client("m", base_url="http://s/v1", transport=MemoryTransport(lambda body: "fine"))
        with pytest.raises(manycall.errors.RunStopped, match="max_total_tokens="):
            await llm.generate("{{ q }}", ROWS[:500], out="b.jsonl", max_total_tokens=200, progress=False)
        assert 30 <= saved_rows("b.jsonl") <= 60
        assert (await llm.generate("{{ q }}", ROWS[:100], progress=False)).done == 100

    run(main())


def test_evaluate_and_judge_are_awaited() -> None:
    async def main() -> None:
        key = {row["question"]: row["answer"] for row in problems()}
        server = SimServer(SimSettings(latency=0.1, accuracy=1.0), key)
        async with manycall.Client("m", base_url="http://s/v1", transport=InProcessTransport({"s": server})) as llm:
            result = await llm.evaluate("wordmath", out="e.jsonl", limit=20, progress=False)
            assert result.score("strict-match").value == 1.0
            verdicts = await llm.judge("e.jsonl", "Good? {{ response }}", out="j.jsonl", progress=False)
            assert verdicts.scored_rows == 20

    run(main())


def test_a_client_works_in_one_event_loop_after_another() -> None:
    llm = manycall.Client("m", base_url="http://s/v1", transport=MemoryTransport(lambda body: "fine", 0.0))
    for _ in range(2):
        assert asyncio.run(llm.chat("hi")).text == "fine"


def test_a_client_is_used_in_two_event_loops_at_once() -> None:
    """In a notebook, the loop of the kernel and that of a synchronous job."""
    llm = manycall.Client("m", base_url="http://s/v1", transport=MemoryTransport(lambda body: "fine", 0.0))

    async def with_outer_client(row: dict[str, Any], own: manycall.LLM) -> dict[str, Any]:
        return {"answer": (await llm.chat(row["q"])).text}

    async def main() -> None:
        await llm.chat("hi")
        result = manycall.map(with_outer_client, ROWS[:20], model="m", base_url="http://s/v1", out="o.jsonl",
                              progress=False)  # fmt: skip
        assert (result.done, result.failed) == (20, 0)
        assert (await llm.chat("hi")).text == "fine"
        await llm.aclose()

    asyncio.run(main())


def test_results_are_frozen_and_have_the_keys_of_json() -> None:
    async def main() -> None:
        llm, _ = simulated()
        result = await llm.generate("{{ q }}", ROWS[:5], out="r.jsonl", progress=False)
        assert result.to_dict() == msgspec.json.decode(msgspec.json.encode(result, enc_hook=str))
        assert result._repr_html_().startswith("<pre>| generate")
        assert sorted(row["q"] for row in result.rows()) == [row["q"] for row in ROWS[:5]]
        assert list(result.failures()) == []
        with pytest.raises(AttributeError):
            result.done = 3  # type: ignore[misc]

    run(main())

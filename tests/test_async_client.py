"""`manycall.Client`: calls and jobs on one client, in virtual time."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
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


def test_ten_thousand_rows_arrive_as_they_finish_and_a_cancelled_stream_resumes_without_paying_twice() -> None:
    async def main() -> None:
        llm, server = simulated()
        seen: set[str] = set()

        async def read_half() -> None:
            async for result in llm.map(grade, ROWS, out="o.jsonl", progress=False):
                seen.add(result.row.id)
                if len(seen) == len(ROWS) // 2:
                    asyncio.current_task().cancel()  # type: ignore[union-attr]

        with pytest.raises(asyncio.CancelledError):
            await asyncio.ensure_future(read_half())
        saved = saved_rows("o.jsonl")
        assert len(ROWS) // 2 <= saved <= len(ROWS) // 2 + 2 * SLOTS
        assert llm.status().in_flight == 0  # calls in flight have finished and are saved

        stream = llm.map(grade, ROWS, out="o.jsonl", progress=False)
        rest = {result.row.id async for result in stream}
        result = await stream
        assert (result.done, result.failed, len(rest)) == (len(ROWS), 0, len(ROWS) - saved)
        assert server.stats()["started"] == len(ROWS)
        await llm.aclose()

    run(main())


def test_a_slow_reader_holds_up_new_rows() -> None:
    async def main() -> None:
        llm, server = simulated()
        read = 0
        stream = llm.map(grade, ROWS, progress=False)
        async for _ in stream:
            read += 1
            await asyncio.sleep(0.5)
            if read == 100:
                break
        assert server.stats()["started"] <= read + 3 * llm.status().window
        await stream.aclose()
        assert [result async for result in stream] == []

    run(main())


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


def test_several_hundred_gathered_calls_need_no_warm_up() -> None:
    async def main() -> None:
        llm, _ = simulated()
        await llm.chat("hi")
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(llm.chat(f"hi {n}") for n in range(SLOTS)))
        assert asyncio.get_running_loop().time() - began < 1.5

    run(main())


def test_a_failed_row_is_a_result_and_a_stopped_job_leaves_the_others_running() -> None:
    def handler(body: dict[str, Any]) -> str | Exception:
        text = body["messages"][-1]["content"]
        return manycall.errors.AnswerInvalid("no") if "bad" in text else "fine"

    async def main() -> None:
        llm = manycall.Client("m", base_url="http://s/v1", transport=MemoryTransport(handler))
        good = asyncio.ensure_future(llm.map(grade, ROWS[:500], progress=False)._run_to_end())
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

"""A user's program with every public name, for type checkers: mypy checks it with the rest; test_typing.py runs
pyright on it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import manycall
from manycall.errors import CallError, RowRejected, RunStopped
from manycall.steps import Assign, Evolve, Generate, Judge, Keep
from manycall.testing import InProcessTransport, MemoryTransport, SimServer, SimSettings, run_virtual


async def grade(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    reply: manycall.Completion = await llm.chat(row["question"], temperature=0.2)
    if not reply.text:
        raise RowRejected("empty")
    return {"grade": reply.text, "tokens": reply.usage.completion_tokens, "done": not reply.truncated}


def synthesis() -> manycall.results.RunResult:
    run: manycall.results.RunResult = manycall.generate(
        "Tell {{ topic }}",
        [{"topic": "tea"}],
        model="m",
        out="a.jsonl",
        base_url=["http://a", "http://b"],
        params={"top_p": 1},
        random_vars={"style": ["short", "long"]},
    )
    manycall.map(grade, run.rows(), model="m", out=Path("b.jsonl"), samples=2, max_time="2h", price=(0.1, 0.2))
    steps = [
        Generate("Tell {{ topic }}"),
        Evolve("text", rounds=2),
        Judge("Good? {{ text }}", min_score=3),
        Keep("score > 3"),
        Assign({"length": "{{ text | length }}"}),
    ]
    manycall.run_steps(steps, "topics.jsonl", model="m", out="c.jsonl", grid_vars={"level": ["A1", "A2"]})
    batch: manycall.results.RunResult = manycall.run_batch("requests.jsonl", out="responses.jsonl")
    vectors: manycall.results.RunResult = manycall.embed("texts.jsonl", "text", model="m", out="v.npy", dimensions=256)
    print(vectors.counts["vectors"])
    for row in batch:
        print(row["custom_id"])
    print([failed["kind"] for failed in run.failures()], [rejected["id"] for rejected in run.rejected_rows()])
    return run


def evaluation() -> float | None:
    task = manycall.Task(
        rows=[{"question": "6 times 7?", "answer": "42"}],
        prompt="{{ question }}",
        extract=str.strip,
        scorer=lambda answer, target: answer == target,
        name="products",
    )
    manycall.evaluate(task, model="m", out="products.jsonl")
    try:
        result: manycall.results.EvalResult = manycall.evaluate("gsm8k", model="m", out="e.jsonl", limit=10)
    except RunStopped as stopped:
        print(stopped.rows_done)
        raise
    verdicts: manycall.results.JudgeResult = manycall.judge("e.jsonl", "Good? {{ response }}", model="m", out="d.jsonl")
    comparison: manycall.results.Comparison = manycall.compare("e.jsonl", "f.jsonl")
    suite: manycall.results.SuiteResult = manycall.evaluate_all(["gsm8k"], ["m", "n"], out="suite")
    ranking: manycall.results.Ranking = manycall.rank_models("suite", metric="strict-match")
    for each in (result, suite, verdicts, comparison, ranking):
        manycall.write_report(each, "report.html")
    print(manycall.__version__, verdicts.verdicts, [difference["value"] for difference in comparison])
    paths: list[Path] = manycall.export_lm_eval("e.jsonl", "lm_eval")
    print(paths, manycall.score("e.jsonl", group_by="level").to_dict())
    return result.score("flexible-extract").value


def dataset() -> int:
    check = manycall.check_data("a.jsonl", near_duplicates=0.8)
    exported = manycall.export("a.jsonl", "train.jsonl", format="messages", exclude=["flagged.jsonl"])
    card = manycall.dataset_card("a.jsonl", out="README.md")
    print(check.to_dict(), exported.to_dict(), card.to_dict())
    return check.duplicates


async def questions() -> AsyncIterator[dict[str, str]]:
    yield {"question": "6 times 7?"}


async def asynchronous() -> int:
    async with manycall.Client("m", base_url="sim") as llm:
        vectors: manycall.Embeddings = await llm.embed(["a", "b"])
        print(len(vectors.vectors), llm.status().in_flight)
        try:
            print((await llm.complete("Once upon", max_tokens=5)).text)
        except CallError as error:
            print(error.attempts)
        stream = llm.map(grade, questions(), out="f.jsonl")
        async for result in stream:
            if isinstance(result, manycall.Success):
                print(result.row.id, result.output)
            else:
                failure: manycall.Failure = result
                print(failure.kind, failure.error)
        finished: manycall.results.RunResult = await stream
        await stream.aclose()
        in_background: asyncio.Task[manycall.results.RunResult] = asyncio.create_task(
            llm.generate("Hi", samples=3).result()
        )
        evaluation: manycall.results.EvalResult = await llm.evaluate("wordmath", out="g.jsonl")
        verdicts: manycall.results.JudgeResult = await llm.judge("g.jsonl", "Good? {{ response }}", out="h.jsonl")
        return finished.done + evaluation.scored_rows + verdicts.scored_rows + (await in_background).done


def without_network() -> str:
    def answer(body: dict[str, Any]) -> str:
        return str(body["messages"][-1]["content"]).upper()

    async def main() -> str:
        fake = manycall.Client("m", base_url="http://fake/v1", transport=MemoryTransport(answer, seconds=60))
        server = SimServer(SimSettings(latency=0.5), {})
        simulated = manycall.Client("m", base_url="http://s/v1", transport=InProcessTransport({"s": server}))
        return (await fake.chat("hi")).text + (await simulated.chat("hi")).text

    return run_virtual(main())

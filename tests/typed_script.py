"""A user's program, for type checkers: mypy checks it with the rest; test_typing.py runs pyright on it."""

from typing import Any

import manycall
from manycall.errors import RowRejected, RunStopped
from manycall.steps import Generate, Judge, Keep


async def grade(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    reply: manycall.Completion = await llm.chat(row["question"], temperature=0.2)
    if not reply.text:
        raise RowRejected("empty")
    return {"grade": reply.text, "tokens": reply.usage.completion_tokens}


def synchronous() -> float:
    run: manycall.RunResult = manycall.generate(
        "Tell {{ topic }}",
        [{"topic": "tea"}],
        model="m",
        out="a.jsonl",
        base_url=["http://a", "http://b"],
        params={"top_p": 1},
    )
    manycall.map(grade, run.rows(), model="m", out="b.jsonl", samples=2, max_time="2h", price=(0.1, 0.2))
    steps = [Generate("Tell {{ topic }}"), Judge("Good? {{ text }}", min_score=3), Keep("score > 3")]
    manycall.run_steps(steps, "topics.jsonl", model="m", out="c.jsonl", grid_vars={"level": ["A1", "A2"]})
    verdicts: manycall.JudgeResult = manycall.judge("a.jsonl", "Good? {{ text }}", model="m", out="d.jsonl")
    print(verdicts.verdicts, [failed["kind"] for failed in run.failures()])
    try:
        result: manycall.EvalResult = manycall.evaluate("gsm8k", model="m", out="e.jsonl", limit=10)
    except RunStopped as stopped:
        print(stopped.rows_done)
        raise
    return result.score("flexible-extract").value


async def asynchronous() -> int:
    async with manycall.Client("m", base_url="sim") as llm:
        vectors: manycall.Embeddings = await llm.embed(["a", "b"])
        print(len(vectors.vectors), llm.status().in_flight)
        stream = llm.map(grade, [{"question": "?"}], out="f.jsonl")
        async for result in stream:
            if isinstance(result, manycall.Success):
                print(result.row.id, result.output)
            else:
                print(result.kind, result.error)
        finished: manycall.RunResult = await stream
        evaluation: manycall.EvalResult = await llm.evaluate("wordmath", out="g.jsonl")
        return finished.done + evaluation.scored_rows

"""`n`: the answers to one call become samples of their row, and nothing is called or counted twice."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from manycall.errors import UsageError
from manycall.testing import MemoryTransport, run_virtual
from manycall.transport.messages import HttpResponse, no_header
from shell import rows

OUT = Path("out.jsonl")
Choice = dict[str, Any]
SOURCE = [{"id": "a", "q": 1}, {"id": "b", "q": 2}]
HOW: dict[str, Any] = {"model": "m", "base_url": "http://127.0.0.1:9/v1", "out": OUT, "progress": False}


def choice(text: str | None, finish_reason: str = "stop", **message: Any) -> Choice:
    return {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}


def generate(choices: list[Choice], bodies: list[Any] | None = None, **how: Any) -> manycall.results.RunResult:
    """Answer each call with these choices."""
    asked = [] if bodies is None else bodies
    usage = {"prompt_tokens": 3, "completion_tokens": 10}

    def answer(body: Any) -> HttpResponse:
        asked.append(body)
        return HttpResponse(200, msgspec.json.encode({"choices": choices, "usage": usage}), no_header)

    results: list[manycall.results.RunResult] = []

    async def work() -> None:
        async with manycall.Client("m", base_url="http://h/v1", transport=MemoryTransport(answer, 0)) as llm:
            results.append(await llm.generate("Say {{ q }}", SOURCE, out=OUT, progress=False, **how).result())

    run_virtual(work())
    return results[0]


def test_each_choice_becomes_a_sample_of_one_call() -> None:
    bodies: list[Any] = []
    three = [choice("one"), choice("two", reasoning_content="hm"), choice("three", "length")]
    result = generate(three, bodies, params={"n": 3})
    assert [body["n"] for body in bodies] == [3, 3]
    assert (result.done, result.output_rows, result.calls, result.truncated) == (2, 6, 2, 2)
    assert (result.prompt_tokens, result.completion_tokens) == (6, 20)
    assert len(rows(Path("out.jsonl.run/calls.jsonl"))) == 2
    assert rows(OUT)[:3] == [
        {"id": "a#0", "q": 1, "original_id": "a", "text": "one", "text_finish_reason": "stop", "parts": 3},
        {
            "id": "a#1", "q": 1, "original_id": "a", "text": "two", "text_reasoning": "hm",
            "text_finish_reason": "stop", "parts": 3,
        },
        {"id": "a#2", "q": 1, "original_id": "a", "text": "three", "text_finish_reason": "length", "parts": 3},
    ]  # fmt: skip


def test_a_row_whose_samples_are_incomplete_is_replayed() -> None:
    bodies: list[Any] = []
    pair = [choice("one"), choice("two")]
    generate(pair, bodies, params={"n": 2})
    whole = OUT.read_bytes()
    OUT.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))  # a power cut has lost the second sample of row b
    Path("out.jsonl.run/resume.cache").unlink(missing_ok=True)
    result = generate(pair, bodies, params={"n": 2})
    assert (result.replayed, result.calls, len(bodies)) == (1, 0, 2)
    assert sorted(OUT.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_choices_without_an_answer_are_counted_and_the_others_are_kept() -> None:
    result = generate([choice(None, "content_filter"), choice("two"), choice("")], params={"n": 3})
    assert (result.done, result.counts) == (2, {"missing choices": 4, "duplicates": 1})
    assert [(row["id"], row["text"]) for row in rows(OUT)] == [("a#0", "two"), ("b#0", "two")]


def test_a_server_that_ignores_n_is_reported() -> None:
    assert generate([choice("one")], params={"n": 4}).counts["missing choices"] == 6


def test_a_row_without_any_answer_fails_for_the_reason_of_its_first_choice() -> None:
    result = generate([choice(None, "content_filter"), choice("")], params={"n": 2})
    assert (result.done, result.failure_counts) == (0, {"content_filter": 2})


def test_samples_are_exported_in_the_order_of_the_input_with_their_prompts() -> None:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reversed(SOURCE)))
    how: dict[str, Any] = {**HOW, "base_url": "sim:latency=0,token_latency=0"}
    manycall.generate("Say {{ q }}", "rows.jsonl", params={"n": 2}, **how)
    manycall.export(OUT, "train.jsonl", format="prompt-completion", in_order=True, keep=["id"])
    made = rows(Path("train.jsonl"))
    assert [row["id"] for row in made] == ["b#0", "b#1", "a#0", "a#1"]
    assert [row["prompt"][0]["content"] for row in made] == ["Say 2", "Say 2", "Say 1", "Say 1"]
    assert len({row["completion"][0]["content"] for row in made}) == 4


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"samples": 2}, r"n makes several samples of each row\. Omit samples="),
        ({"schema": {"type": "object"}}, r"n cannot be combined with schema=.* Use samples="),
        ({"parse": lambda row, text: {}}, r"n cannot be combined with .*parse=\. Use samples="),
        ({"params": {"n": 0}}, "n must be a number of at least 1, not 0"),
    ],
)
def test_what_several_choices_cannot_express_is_refused(how: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        manycall.generate("Say {{ q }}", SOURCE, **{"params": {"n": 2}, **HOW, **how})


def test_other_jobs_refuse_n_and_name_samples() -> None:
    steps = [{"generate": "Say {{ q }}", "params": {"n": 2}}]
    with pytest.raises(UsageError, match=r"The parameter n is not supported here.* samples="):
        manycall.run_steps(steps, SOURCE, **HOW)
    with pytest.raises(UsageError, match=r"The parameter n is not supported here.* samples="):
        manycall.judge(SOURCE, "Good? {{ q }}", params={"n": 2}, **HOW)

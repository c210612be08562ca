"""`keep`: tool calls, log probabilities and refusals are written next to the answer."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from manycall.cli.flags import parse_params
from manycall.errors import UsageError
from manycall.testing import MemoryTransport, run_virtual
from manycall.transport.messages import HttpResponse, no_header
from shell import rows

OUT = Path("out.jsonl")
CALLS = [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}]
LOGPROBS = {"content": [{"token": "fine", "logprob": -0.1, "top_logprobs": []}]}
NO = "I cannot help with that."


def generate(choice: dict[str, Any], **how: Any) -> tuple[manycall.results.RunResult, list[Any]]:
    """Answer a row with this choice. Return the result and the output rows without id and question."""

    def answer(body: Any) -> HttpResponse:
        return HttpResponse(200, msgspec.json.encode({"choices": [choice]}), no_header)

    results: list[manycall.results.RunResult] = []

    async def work() -> None:
        async with manycall.Client("m", base_url="http://h/v1", transport=MemoryTransport(answer, 0)) as llm:
            stream = llm.generate("Say {{ q }}", [{"id": "a", "q": 1}], out=OUT, progress=False, **how)
            results.append(await stream.result())

    run_virtual(work())
    made = [{name: row[name] for name in row if name not in ("id", "q")} for row in rows(OUT)]
    return results[0], made


def message(content: str | None = "fine", finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    parts = {"role": "assistant", "content": content, **more}
    return {"message": parts, "finish_reason": finish_reason, "logprobs": LOGPROBS}


def test_parts_are_written_in_the_form_of_the_chat_api_if_the_reply_has_them() -> None:
    _, made = generate(message(tool_calls=CALLS), keep=["tool_calls", "logprobs", "refusal"])
    assert made == [{"text": "fine", "text_tool_calls": CALLS, "text_logprobs": LOGPROBS, "text_finish_reason": "stop"}]


def test_nothing_is_written_unless_it_is_asked_for() -> None:
    assert generate(message(tool_calls=CALLS))[1] == [{"text": "fine", "text_finish_reason": "stop"}]


def test_an_answer_of_tool_calls_alone_keeps_them() -> None:
    _, made = generate(message(None, "tool_calls", tool_calls=CALLS), keep="tool_calls,logprobs", output_field="say")
    assert made[0]["say_tool_calls"] == CALLS
    assert (made[0]["say"], made[0]["say_finish_reason"]) == ("", "tool_calls")


def test_a_refusal_is_a_failed_row_unless_it_is_kept() -> None:
    result, made = generate(message(None, refusal=NO))
    assert (result.failure_counts, made) == ({"refused": 1}, [])
    result, made = generate(message(None, refusal=NO), keep=["refusal"], overwrite=True)
    assert (result.done, result.failed) == (1, 0)
    assert made == [{"text": "", "text_refusal": NO, "text_finish_reason": "refusal"}]


def test_each_of_several_choices_has_its_own_parts() -> None:
    def answer(body: Any) -> HttpResponse:
        choices = [message(None, "content_filter"), message("a"), {**message("b"), "logprobs": {"content": []}}]
        return HttpResponse(200, msgspec.json.encode({"choices": choices}), no_header)

    async def work() -> None:
        async with manycall.Client("m", base_url="http://h/v1", transport=MemoryTransport(answer, 0)) as llm:
            how: dict[str, Any] = {"params": {"n": 3}, "keep": "logprobs", "out": OUT, "progress": False}
            await llm.generate("Say {{ q }}", [{"id": "a", "q": 1}], **how).result()

    run_virtual(work())
    assert [row.get("text_logprobs") for row in rows(OUT)] == [LOGPROBS, {"content": []}]


def test_tool_calls_are_a_part_of_the_exported_answer() -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    generate(message("", "tool_calls", tool_calls=CALLS), keep="tool_calls", params={"tools": tools})
    manycall.export(OUT, "train.jsonl", format="messages")
    (row,) = rows(Path("train.jsonl"))
    assert row["tools"] == tools
    assert row["messages"][-1] == {"role": "assistant", "content": "", "tool_calls": CALLS}


def test_unknown_parts_and_refusals_of_a_schema_are_refused() -> None:
    how: dict[str, Any] = {"model": "m", "base_url": "http://127.0.0.1:9/v1", "out": OUT}
    with pytest.raises(UsageError, match=r"keep='thoughts' is not a part of a reply\. Available: tool_calls, logprobs"):
        manycall.generate("Say {{ q }}", [{"q": 1}], keep="thoughts", **how)
    with pytest.raises(UsageError, match="a refusal has none of the fields"):
        manycall.generate("Say {{ q }}", [{"q": 1}], keep="refusal", schema={"type": "object"}, **how)


def test_a_step_keeps_parts_and_a_keep_step_still_filters() -> None:
    steps: list[dict[str, Any]] = [{"generate": "Say {{ q }}", "keep": ["logprobs"]}, {"keep": "q == 1"}]
    how: dict[str, Any] = {"model": "m", "base_url": "sim:latency=0,token_latency=0", "progress": False}
    result = manycall.run_steps(steps, [{"id": "a", "q": 1}, {"id": "b", "q": 2}], out=OUT, **how)
    assert (result.done, result.rejected) == (1, 1)
    with pytest.raises(UsageError, match=r"Step 1 \(judge\): Object contains unknown field `keep`"):
        manycall.run_steps([{"judge": "Good? {{ q }}", "keep": "q"}], [{"q": 1}], out="other.jsonl", **how)


def test_a_parameter_may_be_in_a_file() -> None:
    Path("tools.json").write_text('[{"type": "function", "function": {"name": "weather"}}]')
    given = parse_params(["tools=@tools.json", "stop=a@b"])
    assert given == {"tools": [{"type": "function", "function": {"name": "weather"}}], "stop": "a@b"}
    with pytest.raises(UsageError, match=r"--param tools: file 'gone\.json' not found"):
        parse_params(["tools=@gone.json"])

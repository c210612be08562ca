"""Streams of chat chunks become the body that the server would have sent without streaming.

tests/recorded/streams.jsonl contains streams in each provider's dialect. `lines` are the lines of the stream, `reply`
is the equivalent unstreamed body, `answer` is what it decodes to, and `error` is the exception that the stream raises.
"""

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from manycall import errors
from manycall.providers import openai
from manycall.providers.chat_stream import ChatFold
from manycall.providers.stream_events import Fold, SseEvent
from manycall.records import Completion
from manycall.transport.sse import SseParser

RECORDED = Path(__file__).with_name("recorded") / "streams.jsonl"
STREAMS = [json.loads(line) for line in RECORDED.read_bytes().split(b"\n") if line]
NAMES = [f"{stream['provider']}: {stream['shows']}" for stream in STREAMS]
Reply = dict[str, Any]


def fold(data: bytes, size: int = 0) -> bytes:
    """Assemble the bytes of a stream that arrive in pieces of this size."""
    parser = SseParser()
    folded: Fold = ChatFold()
    for at in range(0, len(data), size or len(data) or 1):
        for event in parser.push(data[at : at + (size or len(data))]):
            folded.push(event)
    for event in parser.finish():
        folded.push(event)
    return folded.finish()


@pytest.mark.parametrize("size", [0, 1, 7], ids=["whole", "bytes", "pieces"])
@pytest.mark.parametrize("stream", STREAMS, ids=NAMES)
def test_a_stream_is_equivalent_to_the_unstreamed_reply_of_the_same_provider(stream: Reply, size: int) -> None:
    data = "\n".join(stream["lines"]).encode()
    if "error" in stream:
        expected = stream["error"]
        with pytest.raises(errors.CallError, match=expected["message"]) as caught:
            fold(data, size)
        assert type(caught.value).__name__ == expected["type"]
        for name in ("status", "code"):
            assert getattr(caught.value, name, None) == expected.get(name, getattr(caught.value, name, None))
        return
    body = fold(data, size)
    assert json.loads(body) == stream["reply"]
    answer = stream["answer"]
    if "raises" in answer:
        with pytest.raises(errors.InvalidResponse) as failure:
            openai.decode("chat", body)
        assert type(failure.value).__name__ == answer["raises"]
        return
    decoded = openai.decode("chat", body)
    assert isinstance(decoded, Completion)
    assert (decoded.text, decoded.reasoning) == (answer["text"], answer["reasoning"])
    assert decoded.finish_reason == answer["finish_reason"]
    assert list(msgspec.structs.astuple(decoded.usage)) == answer["usage"]


def test_every_provider_has_a_recorded_stream() -> None:
    providers = "openai azure deepseek dashscope zhipu moonshot minimax openrouter together groq fireworks mistral xai"
    assert {*providers.split(), *"gemini vllm sglang lmdeploy llamacpp ollama".split()} <= {
        s["provider"] for s in STREAMS
    }


# A reply, and a stream of it that is cut in arbitrary places.
PIECES = st.lists(st.text(max_size=5), max_size=5)
ARGUMENTS = st.lists(st.sampled_from(['{"x"', ":1", "}", "", "é"]), max_size=4)
CALLS = st.lists(st.tuples(st.sampled_from(["f", "g"]), ARGUMENTS), max_size=3)
LOGPROB = st.builds(
    lambda token: {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []}, st.text(max_size=3)
)


@st.composite
def choices(draw: st.DrawFn, index: int) -> tuple[Reply, list[Reply]]:
    """A choice of a reply, and the deltas that it is streamed in."""
    texts: dict[str, list[str]] = {
        "reasoning_content": draw(PIECES),
        "content": draw(PIECES),
        "refusal": draw(st.just([]) | PIECES),
    }
    calls, logprobs = draw(CALLS), draw(st.none() | st.lists(LOGPROB, min_size=1, max_size=3))
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    joined = {name: "".join(pieces) for name, pieces in texts.items()}
    message: Reply = {"role": "assistant", "content": joined["content"]}
    if not joined["content"] and (calls or joined["refusal"]):
        message["content"] = None
    message |= {name: text for name, text in joined.items() if text and name != "content"}
    if calls:
        message["tool_calls"] = [
            {"id": f"t{at}", "type": "function", "function": {"name": name, "arguments": "".join(pieces)}}
            for at, (name, pieces) in enumerate(calls)
        ]
    deltas: list[Reply] = [{"role": "assistant", "content": None}]
    deltas += [{name: piece} for name, pieces in texts.items() for piece in pieces]
    for at, (name, pieces) in enumerate(calls):
        start: Reply = {"index": at, "id": f"t{at}", "type": "function", "function": {"name": name, "arguments": ""}}
        deltas += [{"tool_calls": [start]}]
        deltas += [{"tool_calls": [{"index": at, "function": {"arguments": piece}}]} for piece in pieces]
    chunks: list[Reply] = [{"index": index, "delta": delta, "finish_reason": None} for delta in deltas]
    for entry in logprobs or ():
        chunks.append({"index": index, "delta": {}, "logprobs": {"content": [entry]}, "finish_reason": None})
    chunks.append({"index": index, "delta": {}, "finish_reason": finish})
    whole = {"content": logprobs} if logprobs else None
    return {"index": index, "message": message, "logprobs": whole, "finish_reason": finish}, chunks


@st.composite
def streamed_replies(draw: st.DrawFn) -> tuple[Reply, list[Reply]]:
    drawn = [draw(choices(index)) for index in range(draw(st.integers(1, 3)))]
    usage = draw(st.none() | st.just({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}))
    head = {"id": "c1", "created": 1, "model": "m", "system_fingerprint": draw(st.none() | st.just("fp"))}
    reply = head | {"object": "chat.completion", "choices": [choice for choice, _ in drawn]}
    pending = [list(chunks) for _, chunks in drawn]
    chunks: list[Reply] = []
    while any(pending):  # the choices are interleaved
        at = draw(st.sampled_from([index for index, rest in enumerate(pending) if rest]))
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [pending[at].pop(0)]})
    if usage:
        reply["usage"] = usage
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return reply, chunks


def outcome(body: bytes) -> Any:
    try:
        answer = openai.decode("chat", body)
    except errors.InvalidResponse as error:
        return type(error)
    assert isinstance(answer, Completion)
    return msgspec.structs.replace(answer, body=b"")


@given(streamed_replies(), st.integers(1, 40), st.booleans())
def test_any_reply_can_be_streamed_and_assembled_again(
    streamed: tuple[Reply, list[Reply]], size: int, done: bool
) -> None:
    reply, chunks = streamed
    data = b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks)
    body = fold(data + (b"data: [DONE]\n\n" if done else b""), size)
    assert json.loads(body) == reply
    assert ChatCompletion.model_validate_json(body, strict=True).choices[0].finish_reason
    assert outcome(body) == outcome(msgspec.json.encode(reply))


@given(streamed_replies(), st.data())
def test_a_stream_without_a_finish_reason_is_incomplete(
    streamed: tuple[Reply, list[Reply]], data: st.DataObject
) -> None:
    chunks = [c for c in streamed[1] if not any(choice["finish_reason"] for choice in c["choices"])]
    folded = ChatFold()
    for chunk in chunks[: data.draw(st.integers(0, len(chunks)))]:
        folded.push(SseEvent("", msgspec.json.encode(chunk)))
    folded.push(SseEvent("", b"[DONE]"))
    with pytest.raises(errors.IncompleteResponse):
        folded.finish()


def test_a_stream_that_divides_a_surrogate_pair_is_an_answer() -> None:
    folded = ChatFold()
    for piece in (rb"a \ud83d", rb"\ude00 b"):
        folded.push(SseEvent("", b'{"choices":[{"delta":{"content":"' + piece + b'"}}]}'))
    folded.push(SseEvent("", b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'))
    assert json.loads(folded.finish())["choices"][0]["message"]["content"] == "a \ufffd\ufffd b"


MUTATIONS = st.sampled_from(
    [b"null", b"[]", b"{}", b"1e999", b'"x"', b"[[[[", b"\xff", b'"\\ud800"', b"{", b"[" * 5000]
)


@given(st.sampled_from(STREAMS), st.data())
def test_no_stream_can_do_more_than_raise_a_call_error(stream: Reply, data: st.DataObject) -> None:
    raw = bytearray("\n".join(stream["lines"]).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 20))] = data.draw(MUTATIONS | st.binary(max_size=5))
    try:
        body = fold(bytes(raw))
    except errors.CallError as error:
        str(error).encode()
        return
    outcome(body)


@pytest.mark.parametrize("depth", [*range(100, 1000, 50), *range(900, 1000, 3)])
@pytest.mark.parametrize(
    "template",
    ['{"error":%s}', '{"choices":[{"delta":{"content":[{"type":"thinking","thinking":%s}]},"finish_reason":"stop"}]}'],
)
def test_deep_nesting_can_do_no_more_than_raise_a_call_error(template: str, depth: int) -> None:
    value = "[" * depth + "]" * depth
    try:
        fold(f"data: {template % value}\n\n".encode())
    except errors.CallError:
        pass


def test_a_reply_that_can_be_read_but_not_written_is_invalid() -> None:
    def nested(depth: int) -> ChatFold:
        folded, value = ChatFold(), "[" * depth + "]" * depth
        content = f'{{"delta":{{"content":[{{"type":"x","x":{value}}}]}},"finish_reason":"stop"}}'
        folded.push(SseEvent("", f'{{"choices":[{content}]}}'.encode()))
        return folded

    def finish_from_deeper(folded: ChatFold, frames: int) -> bytes:
        return finish_from_deeper(folded, frames - 1) if frames else folded.finish()

    for depth in range(100, sys.getrecursionlimit(), 20):
        try:
            finish_from_deeper(nested(depth), 50)
        except errors.InvalidResponse as error:
            assert "malformed chunk" in str(error)  # noqa: PT017 (whether it is raised depends on the version of Python)

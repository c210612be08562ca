"""Replies, streams and errors as vLLM 0.32.0 sent them: tests/recorded/vllm.jsonl."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from endpoints import endpoint_at
from fakes import no_header
from manycall import errors
from manycall.client.refusal import read_refusal
from manycall.errors import FailureClass
from manycall.providers import openai
from manycall.providers.catalog import GENERIC, find_preset
from manycall.providers.chat_stream import ChatFold
from manycall.providers.error_codes import classify
from manycall.providers.wires import WIRES
from manycall.records import Completion, Secret
from manycall.transport.messages import HttpResponse
from manycall.transport.sse import SseParser

RECORDED = (Path(__file__).parent / "recorded" / "vllm.jsonl").read_text(encoding="utf-8").split("\n")
VLLM = find_preset("vllm")
MEANINGS = {
    "unknown model": FailureClass.BAD_SETUP,
    "prompt too long": FailureClass.TOO_LONG,
    "bad temperature": FailureClass.PARAMETER,
    "bad type": FailureClass.PARAMETER,
}


class Line(msgspec.Struct, frozen=True):
    """A reply of one of vLLM's APIs, and the stream of the same answer, or an error."""

    api: str
    shows: str
    reply: str
    stream: str = ""
    status: int = 200


LINES = [msgspec.json.decode(line, type=Line) for line in RECORDED if line]
ANSWERS = [line for line in LINES if line.status == 200]
ERRORS = [line for line in LINES if line.status != 200]


def unstreamed(line: Line) -> bytes:
    wire = WIRES.get(line.api)
    return line.reply.encode() if wire is None or wire.decode is None else wire.decode(line.reply.encode())


def folded(line: Line) -> bytes:
    wire = WIRES.get(line.api)
    fold = ChatFold() if wire is None or wire.fold is None else wire.fold()
    parser = SseParser()
    for event in [*parser.push(line.stream.encode()), *parser.finish()]:
        fold.push(event)
    return fold.finish()


def comparable(value: Any) -> Any:
    """Return a body without its id, its time and its empty fields: vLLM sends more of them in unstreamed replies."""
    if isinstance(value, dict):
        kept = {name: comparable(each) for name, each in value.items() if name not in ("id", "created")}
        return {name: each for name, each in kept.items() if each not in (None, "")}
    return [comparable(each) for each in value] if isinstance(value, list) else value


def outcome(line: Line, body: bytes) -> Any:
    try:
        answer = openai.decode("completions" if line.api == "completions" else "chat", body)
    except errors.MaxTokensReached as error:
        return str(error)
    assert isinstance(answer, Completion)
    return answer.text, answer.reasoning, answer.finish_reason, answer.usage


@pytest.mark.parametrize("line", ANSWERS, ids=lambda line: f"{line.api}: {line.shows}")
def test_a_stream_of_vllm_is_equivalent_to_its_unstreamed_reply(line: Line) -> None:
    plain, assembled = unstreamed(line), folded(line)
    assert comparable(msgspec.json.decode(assembled)) == comparable(msgspec.json.decode(plain))
    assert outcome(line, assembled) == outcome(line, plain)


def test_thinking_text_of_vllm_is_separate_from_the_answer() -> None:
    found = {f"{line.api}: {line.shows}": outcome(line, unstreamed(line)) for line in ANSWERS}
    assert found["chat: thinking tags by structured output"][:3] == ("ka", "a b", "stop")
    text, thought, _, usage = found["chat: thinking and a JSON schema"]
    assert (msgspec.json.decode(text), thought, usage.reasoning_tokens) == ({"a": 2}, " 60 mimi estne", 3)
    for api in ("anthropic", "responses"):
        assert "ended inside its thinking" in found[f"{api}: thinking text only"]


@pytest.mark.parametrize("line", ERRORS, ids=lambda line: f"{line.api}: {line.shows}")
def test_an_error_of_vllm_means_the_same_in_each_of_its_apis(line: Line) -> None:
    body = line.reply.encode()
    error = read_refusal(endpoint_at("http://h", Secret("k")), HttpResponse(line.status, body, no_header), body)
    assert classify(error, VLLM) is MEANINGS[line.shows]
    assert classify(error, GENERIC) is MEANINGS[line.shows]  # a vLLM whose address does not identify it

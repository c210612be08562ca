"""Streamed responses over real sockets: cut anywhere, broken, slow, or not streamed after all."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import manycall
from fakes import SoloClient
from manycall import errors
from manycall.client import stream_reader
from manycall.client.stream_reader import StreamReader
from manycall.providers.chat_stream import ChatFold
from manycall.records import Completion
from servers import Connection, http, read_request, serving
from trial import AtOnce

Body = dict[str, Any]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


def event(data: Any) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def delta(finish: str | None = None, **message: Any) -> bytes:
    choice = {"index": 0, "delta": message, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})


USAGE = event({"id": "c", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}})
ANSWER = delta(role="assistant", content="") + delta(content="Grüße \u2028 ") + delta(content="🙂") + delta("stop")
FINE = "Grüße \u2028 🙂"
PLAIN = json.dumps({"choices": [{"message": {"content": FINE}, "finish_reason": "stop"}]}).encode()


def streaming(reply: Callable[[Body], Iterable[bytes | float]]) -> Connection:
    """Answer each request with pieces of bytes. A number is a pause in seconds."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read_request(reader)
        for piece in reply(json.loads(body)) if body else [http(404, b"")]:  # a GET asks for metrics
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                writer.write(piece)
                await writer.drain()

    return connection


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def configure(url: str, **entry: str) -> None:
    lines = [f'{name} = "{value}"' for name, value in {"base_url": url, "stream": "always", **entry}.items()]
    Path("endpoints.toml").write_text("\n".join(["[[endpoint]]", *lines]))


async def ask(model: str = "m", count: int = 1, **options: Any) -> list[Completion]:
    async with SoloClient(model, rng=AtOnce(), **{"timeout": 10.0, **options}) as llm:
        return list(await asyncio.gather(*(llm.chat(str(n)) for n in range(count))))


def talk(server: Connection, count: int = 1, **options: Any) -> list[Completion]:
    with serving(server) as url:
        configure(url)
        return asyncio.run(ask(count=count, **options))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_a_stream_may_be_cut_anywhere(size: int) -> None:
    seen: list[Body] = []

    def reply(body: Body) -> Iterable[bytes]:
        seen.append(body)
        return [HEAD, *pieces(KEEP_ALIVE + ANSWER + USAGE + DONE, size)]

    (answer,) = talk(streaming(reply))
    assert (answer.text, answer.finish_reason) == (FINE, "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 7)
    assert json.loads(answer.body)["object"] == "chat.completion"
    assert (seen[0]["stream"], seen[0]["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize(
    "stream",
    [
        ANSWER,  # neither token counts nor [DONE]
        b"\n\n" + KEEP_ALIVE * 3 + ANSWER + KEEP_ALIVE + DONE,
        b"\xef\xbb\xbf" + ANSWER.replace(b"\n", b"\r\n"),
        PLAIN,
        b"\n\n  \n" + PLAIN,
    ],
    ids=["no usage", "comments", "carriage returns", "plain JSON", "plain JSON after blank lines"],
)
def test_an_answer_is_accepted_without_all_that_streams_usually_have(stream: bytes) -> None:
    (answer,) = talk(streaming(lambda body: [HEAD, *pieces(stream, 50)]))
    assert (answer.text, answer.usage.completion_tokens) == (FINE, 0)


def test_the_pieces_of_tool_calls_are_joined() -> None:
    def part(**call: Any) -> bytes:
        return delta(tool_calls=[{"index": 0, **call}])

    stream = part(id="a", type="function", function={"name": "f", "arguments": ""})
    stream += part(function={"arguments": '{"x"'}) + part(function={"arguments": ":1}"}) + delta("tool_calls") + DONE
    (answer,) = talk(streaming(lambda body: [HEAD, stream]))
    (call,) = json.loads(answer.body)["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}


ERROR = event({"error": {"message": "engine died", "code": 500}})


@pytest.mark.parametrize(
    ("broken", "billed"),
    [
        (delta(content="half") + ERROR + DONE, 1),
        (delta(content="half") + DONE, 1),  # no finish reason
        (delta(content="half"), 1),
        (b"", 1),
        (delta(content="half") + b"data: {no json\n\n", 1),
        (ERROR, 0),  # nothing was written before the error
    ],
    ids=["error event", "only [DONE]", "cut", "empty", "malformed", "error at once"],
)
def test_a_stream_that_breaks_is_sent_again_and_may_have_been_billed(broken: bytes, billed: int) -> None:
    replies = iter([broken, ANSWER])

    async def dialogue() -> SoloClient:
        async with SoloClient("m", rng=AtOnce(), timeout=10.0) as llm:
            assert (await llm.chat("hi")).text == FINE
        return llm

    with serving(streaming(lambda body: [HEAD, next(replies)])) as url:
        configure(url)
        llm = asyncio.run(dialogue())
    assert llm.counters.possibly_billed == billed
    assert llm.counters.retries == 1


def test_a_refused_key_inside_a_stream_stops_the_run() -> None:
    refusal = event({"error": {"message": "Incorrect API key provided", "code": 401}})
    with pytest.raises(errors.RunStopped, match="status 401: Incorrect API key"):
        talk(streaming(lambda body: [HEAD, refusal]))


def test_an_error_event_ends_the_exchange_although_the_server_keeps_the_connection_open() -> None:
    both: list[list[bytes | float]] = [[HEAD, delta(content="half"), ERROR, 30.0], [HEAD, ANSWER]]
    replies = iter(both)
    (answer,) = talk(streaming(lambda body: next(replies)))
    assert answer.text == FINE


def test_a_model_that_only_streams_teaches_it_with_its_first_refusal() -> None:
    refused = []

    def reply(body: Body) -> Iterable[bytes]:
        if body.get("stream"):
            return [HEAD, ANSWER]
        refused.append(body)
        return [http(400, b'{"error": {"message": "This model only support stream mode", "code": "InvalidParameter"}}')]

    with serving(streaming(reply)) as url:
        configure(url, stream="auto")
        assert [each.text for each in asyncio.run(ask(count=8))] == [FINE] * 8
    assert 1 <= len(refused) <= 8


def test_never_streaming_is_kept_even_if_the_model_only_streams() -> None:
    seen: list[Body] = []

    def reply(body: Body) -> Iterable[bytes]:
        seen.append(body)
        return [http(200, PLAIN)]

    with serving(streaming(reply)) as url:
        Path("endpoints.toml").write_text(
            f'[[endpoint]]\nbase_url = "{url}"\nprovider = "dashscope"\napi_key = "k"\nstream = "never"\n'
        )
        assert asyncio.run(ask("qwq-32b"))[0].text == FINE
    assert "stream" not in seen[0]


def behind_a_gateway(seconds: float, every: float, cut_after: float) -> Connection:
    """A model that takes so long, behind a gateway that cuts calls that are silent for too long."""

    def reply(body: Body) -> Iterable[bytes | float]:
        if not body.get("stream"):
            return [cut_after, http(504, b"<html>gateway timeout")]
        assert every < cut_after
        return [HEAD, *[part for _ in range(round(seconds / every)) for part in (KEEP_ALIVE, every)], ANSWER]

    return streaming(reply)


def test_a_model_that_takes_twenty_minutes_behind_a_gateway_that_cuts_silence_loses_no_row(tmp_path: Path) -> None:
    """Scaled by 1/600: answers take 2 s with a byte every 0.05 s, and 0.1 s of silence end a call."""
    with serving(behind_a_gateway(2.0, 0.05, 0.1)) as url:
        configure(url)
        result = manycall.generate(
            "{{ n }}", [{"id": str(n), "n": n} for n in range(20)], model="m", out="o.jsonl", idle_timeout=1.0,
            timeout=30.0, progress=False,
        )  # fmt: skip
    assert result.done == 20
    calls = [json.loads(line) for line in (tmp_path / "o.jsonl.run" / "calls.jsonl").read_bytes().splitlines()]
    assert all(each["ttft"] >= 1.9 <= each["seconds"] for each in calls)
    assert all(each["body"].startswith('{"id":"c","object":"chat.completion"') for each in calls)


def test_a_stream_without_a_byte_for_too_long_fails_with_the_option_to_raise() -> None:
    with pytest.raises(errors.AttemptTimeout, match=r"no byte within 0.2 s \(idle_timeout"):
        talk(streaming(lambda body: [HEAD, delta(content="half"), 30.0]), idle_timeout=0.2)


def test_a_stream_that_never_ends_reaches_the_timeout_of_the_attempt() -> None:
    comments: list[bytes | float] = [KEEP_ALIVE, 0.05]
    with pytest.raises(errors.AttemptTimeout, match=r"no complete response within 0.3 s \(timeout"):
        talk(streaming(lambda body: [HEAD, *comments * 200]), timeout=0.3)


def test_a_stream_that_is_too_large_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_reader, "MAX_STREAM_BYTES", 10_000)
    monkeypatch.setattr(stream_reader, "MAX_BODY_BYTES", 1_000)
    reader = StreamReader(ChatFold(), None)
    with pytest.raises(errors.ResponseTooLarge, match="larger than 10,000 bytes"):
        deque(map(reader.push, [KEEP_ALIVE] * 10_000))
    reader = StreamReader(ChatFold(), None)
    with pytest.raises(errors.ResponseTooLarge, match="larger than 1,000 bytes"):
        reader.push(b"{" + b" " * 1_000)


def test_the_time_to_the_first_event_ends_when_it_arrives(tmp_path: Path) -> None:
    with serving(streaming(lambda body: [HEAD, delta(content="early"), 0.5, ANSWER])) as url:
        configure(url)
        manycall.generate("{{ id }}", [{"id": "a"}], model="m", out="o.jsonl", progress=False)
    (call,) = [json.loads(line) for line in (tmp_path / "o.jsonl.run" / "calls.jsonl").read_bytes().splitlines()]
    assert call["ttft"] < call["seconds"] - 0.4


KEY = "sk-canary-1234567890abcdef"


@pytest.mark.parametrize(
    ("stream", "done"),
    [
        (b"".join(delta(content=character) for character in KEY) + delta("stop"), 1),
        (b"data: {no json " + KEY.encode() + b"\n\n", 0),
        (event({"error": {"message": f"no such model for {KEY}", "code": 400}}), 0),
    ],
    ids=["spelt out", "in a malformed chunk", "in an error"],
)
def test_a_key_in_a_stream_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stream: bytes, done: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(streaming(lambda body: [HEAD, stream])) as url:
        configure(url, api_key_env="OPENAI_API_KEY")
        result = manycall.generate("{{ id }}", [{"id": "a"}], model="m", out="o.jsonl", progress=False)
    assert result.done == done
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"canary-1234567890" in each for each in kept)

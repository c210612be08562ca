"""Calls to the providers' own APIs: what is sent, and what of the reply reaches the row and the journal."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import manycall
from fakes import SoloClient
from manycall import errors
from manycall.records import Completion
from manycall.testing import MemoryTransport
from manycall.transport.messages import HttpRequest, HttpResponse, no_header
from servers import Connection, http, read_request, serving
from trial import AtOnce

Body = dict[str, Any]
KEY = "k-canary-0123456789abcdef"

CHAT = {"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}
ANTHROPIC = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
    "content": [{"type": "thinking", "thinking": "2+2", "signature": "s"}, {"type": "text", "text": "4"}],
    "usage": {"input_tokens": 3, "output_tokens": 9},
}  # fmt: skip
GEMINI = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "4"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
}
RESPONSES = {
    "id": "r", "status": "completed", "model": "m", "error": None, "incomplete_details": None,
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "4"}]}],
    "usage": {"input_tokens": 3, "output_tokens": 1},
}  # fmt: skip


def replying(reply: Body) -> MemoryTransport:
    body = json.dumps(reply).encode()
    return MemoryTransport(lambda sent: HttpResponse(200, body, no_header), seconds=0.0)


async def ask(transport: MemoryTransport | None = None, model: str = "m", **options: Any) -> Completion:
    async with SoloClient(model, transport=transport, rng=AtOnce(), **options) as llm:
        return await llm.chat("2+2?")


def sent_to(url: str, reply: Body, model: str = "m", **options: Any) -> tuple[HttpRequest, Completion]:
    transport = replying(reply)
    answer = asyncio.run(ask(transport, model, base_url=url, api_key=KEY, **options))
    return transport.requests[0], answer


@pytest.mark.parametrize(
    ("name", "reply", "url", "key_header"),
    [
        ("openai", CHAT, "https://api.openai.com/v1/chat/completions", "Authorization"),
        ("anthropic", ANTHROPIC, "https://api.anthropic.com/v1/messages", "x-api-key"),
        (
            "gemini",
            GEMINI,
            "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
            "x-goog-api-key",
        ),
        ("https://api.openai.com/v1/responses", RESPONSES, "https://api.openai.com/v1/responses", "Authorization"),
        (
            "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-01-01-preview",
            CHAT,
            "https://r.openai.azure.com/openai/deployments/m/chat/completions?api-version=2025-01-01-preview",
            "api-key",
        ),
        (
            "https://r.openai.azure.com",
            CHAT,
            "https://r.openai.azure.com/openai/deployments/m/chat/completions?api-version=2024-10-21",
            "api-key",
        ),
    ],
)
def test_each_api_gets_its_url_and_key_header_and_its_reply_becomes_a_chat_completion(
    name: str, reply: Body, url: str, key_header: str
) -> None:
    request, answer = sent_to(name, reply)
    assert (request.url, request.key_header, request.key and request.key.reveal()) == (url, key_header, KEY)
    assert answer.text == "4"
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "4"


def test_plain_chat_is_sent_and_returned_byte_for_byte() -> None:
    request, answer = sent_to("http://127.0.0.1:1/v1", CHAT)
    assert request.body == b'{"model":"m","messages":[{"role":"user","content":"2+2?"}]}'
    assert answer.body == json.dumps(CHAT).encode()
    assert (request.headers, request.on_chunk) == ((), None)


def test_parameters_have_the_providers_names_in_the_body() -> None:
    request, _ = sent_to("openai", CHAT, params={"max_tokens": 9})
    assert json.loads(request.body)["max_completion_tokens"] == 9
    request, answer = sent_to("anthropic", ANTHROPIC, params={"max_tokens": 9, "stop": "END"})
    assert {"max_tokens": 9, "stop_sequences": ["END"]}.items() <= json.loads(request.body).items()
    assert ("anthropic-version", "2023-06-01") in [(name, value.reveal()) for name, value in request.headers]
    assert (answer.reasoning, answer.usage.completion_tokens) == ("2+2", 9)


@pytest.mark.parametrize(("name", "params"), [("anthropic", {"seed": 1}), ("gemini", {"logit_bias": {"1": 2}})])
def test_a_parameter_that_the_api_cannot_express_is_refused_before_any_call(name: str, params: Body) -> None:
    with pytest.raises(errors.UsageError, match=min(params)):
        SoloClient("m", base_url=name, api_key=KEY, params=params)


def test_a_call_that_the_api_cannot_express_fails_alone() -> None:
    async def main() -> None:
        async with SoloClient("m", base_url="anthropic", api_key=KEY, transport=replying(ANTHROPIC)) as llm:
            with pytest.raises(errors.CallError, match="anthropic API cannot make embeddings calls"):
                await llm.embed("text")
            with pytest.raises(errors.CallError, match="seed"):
                await llm.chat("2+2?", seed=3)
            assert (await llm.chat("2+2?")).text == "4"
            assert llm.counters.attempts == 1

    asyncio.run(main())


def test_an_error_in_a_reply_with_status_200_counts_as_an_error() -> None:
    failed = RESPONSES | {"status": "failed", "output": [], "error": {"code": "server_error", "message": "engine died"}}
    with pytest.raises(errors.HttpStatusError, match="status 500: engine died"):
        sent_to("https://api.openai.com/v1/responses", failed)


def echoing(seen: list[bytes], *replies: bytes) -> Connection:
    """Record the heads of the requests, and answer with the replies; at last with a chat completion."""
    left = iter(replies)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await read_request(reader)
        if body:
            seen.append(head)
            writer.write(next(left, http(200, json.dumps(CHAT).encode())))

    return connection


def test_headers_query_and_key_header_arrive_at_the_server() -> None:
    seen: list[bytes] = []
    with serving(echoing(seen)) as url:
        Path("endpoints.toml").write_text(
            f'[[endpoint]]\nbase_url = "{url}"\napi_key = "{KEY}"\nauth = "X-Token"\n'
            'headers = { X-Team = "blue" }\nquery = { region = "eu 1" }\n'
        )
        asyncio.run(ask())
    head = seen[0].lower()
    assert head.startswith(b"post /v1/chat/completions?region=eu%201 http/1.1\r\n")
    assert b"\r\nx-token: " + KEY.encode() + b"\r\n" in head
    assert b"\r\nx-team: blue\r\n" in head
    assert b"authorization" not in head


def test_a_secret_header_that_the_server_repeats_is_not_shown() -> None:
    secret = "gateway-canary-0123456789"
    with serving(echoing([], http(401, json.dumps({"error": {"message": f"bad token {secret}"}}).encode()))) as url:
        Path("endpoints.toml").write_text(f'[[endpoint]]\nbase_url = "{url}"\nheaders = {{ X-Gateway = "{secret}" }}\n')
        with pytest.raises(errors.RunStopped, match=r"bad token \*\*\*"):
            asyncio.run(ask())


def test_a_missing_key_is_named_after_the_provider() -> None:
    with serving(echoing([], http(401, b'{"error": {"message": "who are you?"}}'))) as url:
        Path("endpoints.toml").write_text(f'[[endpoint]]\nbase_url = "{url}"\n')
        with pytest.raises(errors.RunStopped, match="No API key was sent; set OPENAI_API_KEY"):
            asyncio.run(ask())


def test_providers_of_one_pool_share_the_journal() -> None:
    """Rows that Anthropic's API answered are replayed in a run with a chat endpoint, and the other way round."""

    def anthropic(body: Body) -> HttpResponse:
        reply = ANTHROPIC if "messages" in body and "max_tokens" in body else {"error": {"message": "?"}}
        return HttpResponse(200, json.dumps(reply).encode(), no_header)

    seen: dict[str, list[bytes]] = {"chat": [], "anthropic": []}
    replies = [http(200, json.dumps(ANTHROPIC).encode())] * 100
    rows = [{"id": str(n), "n": n} for n in range(20)]

    def run(*entries: str, overwrite_output: bool = False) -> manycall.results.RunResult:
        Path("endpoints.toml").write_text("".join(f"[[endpoint]]\n{each}\n" for each in entries))
        if overwrite_output:
            Path("o.jsonl").write_bytes(b"")
        return manycall.generate("{{ n }}", rows, model="m", out="o.jsonl", progress=False)

    with (
        serving(echoing(seen["chat"])) as chat_url,
        serving(echoing(seen["anthropic"], *replies)) as native_url,
    ):
        chat, native = f'base_url = "{chat_url}"', f'base_url = "{native_url}"\napi = "anthropic"'
        assert run(chat, native).done == 20
        calls = len(seen["chat"]), len(seen["anthropic"])
        assert min(calls) > 0
        assert run(chat, overwrite_output=True).replayed == 20
        assert run(native, overwrite_output=True).replayed == 20
    assert (len(seen["chat"]), len(seen["anthropic"])) == calls
    assert len(Path("o.jsonl").read_bytes().splitlines()) == 20


@pytest.mark.parametrize("provider", ["anthropic", "gemini", "azure"])
def test_a_simulated_provider_is_called_through_its_own_api(provider: str) -> None:
    url = f"sim:provider={provider},latency=0"
    result = manycall.generate("Hello", samples=3, model="m", base_url=url, out="o.jsonl", progress=False)
    assert (result.done, result.retries) == (3, 0)

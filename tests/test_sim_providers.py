"""The simulated providers: paths, errors, refused parameters, thinking, limits and streams, without sockets."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from manycall import clock
from manycall.errors import HttpStatusError, IncompleteResponse, UsageError
from manycall.providers.catalog import PROVIDERS, find_preset
from manycall.providers.chat_stream import ChatFold
from manycall.providers.stream_events import Fold
from manycall.providers.wires import WIRES
from manycall.sim.in_process import InProcessTransport
from manycall.sim.provider_faults import ANSWER_FAULTS, fault_names
from manycall.sim.server import SimServer
from manycall.sim.sim_apis import SIM_APIS
from manycall.sim.sim_dialects import DIALECTS
from manycall.sim.sim_settings import SimSettings
from manycall.sim.virtual_time import run_virtual
from manycall.transport.messages import HttpRequest
from manycall.transport.sse import SseParser
from provider_sims import CHAT_PROVIDERS, THINKERS, base_url, post
from shell import manycall, rows, sim

T = TypeVar("T")

ASK = {"messages": [{"role": "user", "content": "Tell a story."}]}
BODIES: dict[str, dict[str, Any]] = {
    "messages": {**ASK, "max_tokens": 900, "thinking": {"type": "enabled"}},
    "responses": {"input": "Tell a story.", "reasoning": {"summary": "auto"}},
    "gemini": {
        "contents": [{"role": "user", "parts": [{"text": "Tell a story."}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    },
}
HEADERS = ((b"anthropic-version", b"2023-06-01"),)


class Sent(NamedTuple):
    """What a server sent."""

    status: int
    body: bytes
    headers: dict[str, str]
    times: list[float]
    pieces: list[bytes]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def path_of(provider: str, api: str, model: str, *, stream: bool = False) -> str:
    method = "streamGenerateContent" if stream else "generateContent"
    path = SIM_APIS[api].path.replace("(?P<model>[^/]+)", model).replace("(?P<model>[^/:]+)", model)
    path = path.replace("(?:models|tunedModels)", "models")
    return DIALECTS[provider].base_paths[0] + path.partition("(?P<method>")[0] + (method if api == "gemini" else "")


async def send(server: SimServer, provider: str, api: str = "", streamed: bool = False, **body: Any) -> Sent:
    """Send one request to a simulated provider, and receive the whole response."""
    api = api or DIALECTS[provider].apis[0]
    model = body.pop("model", THINKERS.get(provider, "any"))
    whole = {**BODIES.get(api, ASK), **({} if api == "gemini" else {"model": model, "stream": streamed}), **body}
    query = {"azure": "api-version=2024-10-21", "gemini": "alt=sse"}.get(api, "")
    path = path_of(provider, api, model, stream=streamed)
    reply = await server.reply("POST", path, json.dumps(whole).encode(), HEADERS, query)
    times, pieces = [], [reply.body] if reply.body else []
    if reply.stream is not None:
        async for piece in reply.stream:
            times.append(clock.now())
            pieces.append(piece)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Sent(reply.status, b"".join(pieces), headers, times, pieces)


def ask(
    provider: str, api: str = "", *, streamed: bool = False, body: dict[str, Any] | None = None, **settings: Any
) -> Sent:
    """Send one request to a new server, in virtual time."""

    async def work(server: SimServer) -> Sent:
        return await send(server, provider, api, streamed, **(body or {}))

    return run(provider, work, **settings)


def run(provider: str, work: Callable[[SimServer], Coroutine[Any, Any, T]], **settings: Any) -> T:
    async def main() -> T:
        return await work(SimServer(SimSettings(provider=provider, **settings), {}))

    return run_virtual(main())


def code(sent: Sent) -> str:
    """The first of the code, the type and the status of an error."""
    error = sent.json.get("error", sent.json)
    return str(error.get("code") or error.get("type") or error.get("status"))


class TestTheTable:
    def test_every_provider_of_the_catalog_can_be_played(self) -> None:
        assert DIALECTS.keys() - {"generic"} == {provider.name for provider in PROVIDERS}

    @pytest.mark.parametrize("provider", sorted(DIALECTS.keys() - {"generic", "azure"}))
    def test_the_base_path_is_that_of_the_catalog(self, provider: str) -> None:
        base_urls = find_preset(provider).base_urls or ("http://host/openai/v1",)
        assert "/" + base_urls[0].split("/", 3)[3] in DIALECTS[provider].base_paths

    @pytest.mark.parametrize("provider", sorted(DIALECTS))
    def test_every_fault_is_a_response_without_placeholders(self, provider: str) -> None:
        for fault in set(fault_names(DIALECTS[provider])) - set(ANSWER_FAULTS):
            sent = ask(provider, fault=fault)
            assert sent.status >= 400 or provider in ("minimax", "gemini", "gemini_openai")
            assert sent.json
            assert b"{model}" not in sent.body

    def test_an_unknown_provider_or_fault_is_refused_with_the_known_names(self) -> None:
        with pytest.raises(UsageError, match=r"provider='nix' is not known.*openai.*deepseek"):
            SimSettings(provider="nix")
        with pytest.raises(UsageError, match=r"fault='quota_throttle' is no fault of openai.*no_money"):
            SimSettings(provider="openai", fault="quota_throttle")

    def test_a_path_of_another_provider_is_not_found(self) -> None:
        sent = run("zhipu", lambda server: server.reply("POST", "/v1/chat/completions", b"{}"))
        assert sent.status == 404


class TestParameters:
    @pytest.mark.parametrize(
        ("provider", "body", "words"),
        [
            ("openai", {"max_tokens": 5}, "max_completion_tokens"),
            ("openai", {"temperature": 0.5}, "Only the default (1) value is supported"),
            ("openai", {"model": "gpt-4.1", "top_k": 5}, "Unknown parameter: 'top_k'"),
            ("azure", {"max_tokens": 5}, "max_completion_tokens"),
            ("deepseek", {"response_format": {"type": "json_schema", "json_schema": {}}}, "unavailable now"),
            ("dashscope", {"model": "qwq-plus"}, "only support stream mode"),
            ("dashscope", {"model": "qwen3-8b"}, "enable_thinking must be set to false"),
            ("zhipu", {"temperature": 0}, "1214"),
            ("moonshot", {"temperature": 0}, "only 1 is allowed"),
            ("minimax", {"temperature": 0}, '"status_code":2013'),
            ("groq", {"n": 2}, "at most 1"),
            ("groq", {"min_p": 2}, "property 'min_p' is unsupported"),
            ("mistral", {"seed": 2}, "Extra inputs are not permitted"),
            ("xai", {"stop": "a"}, "Argument not supported on this model: stop"),
            ("anthropic", {"max_tokens": None}, "max_tokens: Field required"),
            ("anthropic", {"seed": 1}, "seed: Extra inputs are not permitted"),
            ("anthropic", {"thinking": {"type": "enabled", "budget_tokens": 5}}, "greater than or equal to 1024"),
            ("gemini", {"seed": 1}, "Unknown name"),
            ("vllm", {"max_tokens": 0}, "max_tokens must be at least 1"),
        ],
    )
    def test_a_provider_refuses_a_parameter_in_its_own_words(
        self, provider: str, body: dict[str, Any], words: str
    ) -> None:
        sent = ask(provider, body=body)
        assert sent.status in (400, 422) or provider == "minimax"
        assert words in sent.body.decode()

    @pytest.mark.parametrize(
        ("provider", "body"),
        [
            ("openai", {"max_completion_tokens": 500}),
            ("dashscope", {"model": "qwen3-8b", "enable_thinking": False}),
            ("dashscope", {"model": "qwen3-8b-instruct"}),
            ("zhipu", {"temperature": 0, "do_sample": False}),
            ("moonshot", {"temperature": 1}),
            ("mistral", {"random_seed": 2}),
            ("vllm", {"no_such_parameter": 2}),
        ],
    )
    def test_it_accepts_what_it_names_instead(self, provider: str, body: dict[str, Any]) -> None:
        assert ask(provider, body=body).status == 200

    def test_a_server_may_require_streams_and_refuse_chosen_parameters(self) -> None:
        assert "only support stream mode" in ask("vllm", stream="required").body.decode()
        assert ask("vllm", streamed=True, stream="required").status == 200
        for name, status in [("stop", 400), ("response_format", 400), ("seed", 200)]:
            assert ask("vllm", body={name: 1}, refuse="stop+response_format").status == status


class TestThinking:
    @pytest.mark.parametrize(
        ("provider", "off"),
        [
            ("openai", {"reasoning_effort": "none"}),
            ("deepseek", {"thinking": {"type": "disabled"}}),
            ("dashscope", {"enable_thinking": False}),
            ("openrouter", {"reasoning": {"enabled": False}}),
            ("vllm", {"chat_template_kwargs": {"enable_thinking": False}}),
            ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
            ("anthropic", {"thinking": {"type": "disabled"}}),
        ],
    )
    def test_each_provider_has_its_own_switch(self, provider: str, off: dict[str, Any]) -> None:
        def thinking_tokens(sent: Sent) -> int:
            found = re.search(rb'"(?:reasoning_tokens|thoughtsTokenCount|thinking_tokens)":(\d+)', sent.body)
            return int(found[1]) if found else 0

        assert thinking_tokens(ask(provider)) > 0
        assert thinking_tokens(ask(provider, body=off)) == 0
        if provider == "vllm":
            assert thinking_tokens(ask(provider, body={"enable_thinking": False})) > 0

    def test_a_limit_includes_thinking_text_except_at_some_providers(self) -> None:
        choice = ask("deepseek", body={"max_tokens": 9}).json["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")
        reply = ask("siliconflow", body={"max_tokens": 9}).json
        assert reply["choices"][0]["message"]["content"]
        assert reply["usage"]["completion_tokens"] > 9

    def test_none_means_that_no_model_thinks(self) -> None:
        assert ask("deepseek", reasoning="none").json["choices"][0]["message"].keys() == {"role", "content"}

    def test_a_share_of_the_prompt_is_cached(self) -> None:
        usage = ask("deepseek", cached_share=0.5).json["usage"]
        assert usage["prompt_cache_hit_tokens"] + usage["prompt_cache_miss_tokens"] == usage["prompt_tokens"] == 4
        assert usage["prompt_cache_hit_tokens"] == 2
        native = ask("anthropic", cached_share=0.5).json["usage"]
        assert (native["input_tokens"], native["cache_read_input_tokens"]) == (2, 2)


class TestFaults:
    def test_a_fault_has_its_time_and_its_share(self) -> None:
        async def work(server: SimServer) -> list[int]:
            statuses = []
            for _ in range(100):
                statuses.append((await send(server, "dashscope")).status)
                await clock.sleep(1)
            return statuses

        throttled = run("dashscope", work, latency=0, fault="quota_throttle", fault_start=20, fault_seconds=60)
        assert 18 <= throttled.index(429) <= 20
        assert 55 <= throttled.count(429) <= 60
        assert 20 <= run("dashscope", work, fault="rate_limit", fault_rate=0.3).count(429) <= 40

    def test_an_account_is_checked_before_parameters(self) -> None:
        assert code(ask("openai", body={"max_tokens": 5}, fault="no_money")) == "insufficient_quota"

    def test_a_filtered_prompt_is_filtered_again(self) -> None:
        async def work(server: SimServer) -> list[list[int]]:
            return [[(await send(server, "zhipu", messages=[{"role": "user", "content": f"row {n}"}])).status
                     for _ in range(3)] for n in range(40)]  # fmt: skip

        found = run("zhipu", work, fault="prompt_filtered", fault_rate=0.5)
        assert {tuple(each) for each in found} == {(200,) * 3, (400,) * 3}

    @pytest.mark.parametrize(
        ("provider", "fault", "finish"),
        [
            ("openai", "answer_filtered", "content_filter"),
            ("zhipu", "answer_filtered", "sensitive"),
            ("deepseek", "broken_answer", "insufficient_system_resource"),
            ("zhipu", "broken_answer", "network_error"),
            ("vllm", "broken_answer", "abort"),
            ("openai", "empty_answer", "stop"),
        ],
    )
    def test_an_answer_may_end_badly_in_the_words_of_its_provider(self, provider: str, fault: str, finish: str) -> None:
        assert ask(provider, fault=fault).json["choices"][0]["finish_reason"] == finish

    def test_a_refusal_has_its_place_in_each_api(self) -> None:
        message = ask("openai", fault="refused").json["choices"][0]["message"]
        assert (message["content"], message["refusal"][:9]) == (None, "I'm sorry")
        assert ask("anthropic", fault="refused").json["stop_reason"] == "refusal"
        assert ask("openai", "responses", fault="refused").json["output"][-1]["content"][0]["type"] == "refusal"

    def test_a_gateway_may_answer_in_html(self) -> None:
        sent = ask("openai", fault="html_error")
        assert (sent.status, sent.body[:6]) == (502, b"<html>")

    def test_limits_refuse_in_the_words_and_headers_of_the_provider(self) -> None:
        async def work(server: SimServer) -> Sent:
            await send(server, "anthropic")
            return await send(server, "anthropic")

        sent = run("anthropic", work, rpm=1)
        assert (sent.status, sent.json["error"]["type"]) == (429, "rate_limit_error")
        assert sent.headers["anthropic-ratelimit-requests-remaining"] == "0"

    def test_more_calls_at_once_than_allowed_are_refused(self) -> None:
        async def work(server: SimServer) -> list[Sent]:
            return list(await asyncio.gather(*(send(server, "deepseek") for _ in range(3))))

        sent = run("deepseek", work, max_concurrent=2)
        assert [each.status for each in sent] == [200, 200, 429]
        assert code(sent[-1]) == "concurrency_limit_reached"


def folded(fold: Fold, pieces: list[bytes]) -> Any:
    parser = SseParser()
    for event in [event for piece in pieces for event in parser.push(piece)] + parser.finish():
        fold.push(event)
    return json.loads(fold.finish())


def comparable(reply: Any) -> Any:
    return {name: reply.get(name) for name in ("choices", "usage", "model")}


def without_logprobs(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in choice.items() if name != "logprobs"} for choice in choices]


class TestStreams:
    @pytest.mark.parametrize("provider", CHAT_PROVIDERS)
    def test_a_chat_stream_assembles_to_the_unstreamed_reply(self, provider: str) -> None:
        extra = {} if provider == "mistral" else {"stream_options": {"include_usage": True}}
        stream = ask(provider, streamed=True, body=extra)
        assert stream.body.endswith(b"data: [DONE]\n\n")
        plain = ask(provider)
        assert comparable(folded(ChatFold(), stream.pieces)) == comparable(plain.json)

    @pytest.mark.parametrize("wire", ["anthropic", "gemini", "responses"])
    def test_a_native_stream_assembles_to_the_unstreamed_reply(self, wire: str) -> None:
        provider, api = ("openai", "responses") if wire == "responses" else (wire, "")
        decode, fold = WIRES[wire].decode, WIRES[wire].fold
        assert decode is not None
        assert fold is not None
        plain = json.loads(decode(ask(provider, api).body))
        assert plain["choices"][0]["message"]["reasoning_content"]
        assert comparable(folded(fold(), ask(provider, api, streamed=True).pieces)) == comparable(plain)

    def test_a_plain_server_streams_when_asked(self) -> None:
        stream = ask("generic", streamed=True)
        assert without_logprobs(folded(ChatFold(), stream.pieces)["choices"]) == ask("generic").json["choices"]

    @pytest.mark.parametrize(
        ("provider", "comment"),
        [
            ("deepseek", b": keep-alive\n\n"),
            ("openrouter", b": OPENROUTER PROCESSING\n\n"),
            ("anthropic", b'event: ping\ndata: {"type": "ping"}\n\n'),
        ],
    )
    def test_a_slow_answer_has_a_byte_every_interval(self, provider: str, comment: bytes) -> None:
        sent = ask(provider, streamed=True, latency=1200, stream_interval=30)
        gaps = [later - earlier for earlier, later in pairwise([0.0, *sent.times])]
        assert max(gaps) == pytest.approx(30)
        assert sent.pieces.count(comment) >= 39
        assert sent.times[-1] >= 1200

    def test_text_is_sent_as_it_is_generated(self) -> None:
        sent = ask("openai", streamed=True, latency=1, token_latency=0.1, stream_interval=0.5)
        assert sent.times[0] == pytest.approx(1.5, abs=0.5)
        assert sent.times[-1] > 4
        assert len(set(sent.times)) > 5

    def test_usage_is_sent_only_on_request(self) -> None:
        assert b'"usage"' not in ask("deepseek", streamed=True).body
        assert b'"usage"' in ask("mistral", streamed=True).body

    def test_a_gateway_ends_silent_calls(self) -> None:
        sent = ask("openai", latency=100, gateway_timeout=60)
        assert (sent.status, sent.body[:6]) == (504, b"<html>")
        lost = ask("openai", streamed=True, latency=100, gateway_timeout=60)
        assert lost.pieces == [b""]
        assert lost.times == pytest.approx([60])
        kept = ask("deepseek", streamed=True, latency=100, gateway_timeout=60, stream_interval=30)
        assert kept.body.endswith(b"[DONE]\n\n")

    @pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
    def test_a_stream_may_end_with_an_error_or_break_off(self, provider: str) -> None:
        fold = {"openai": ChatFold, **{name: WIRES[name].fold for name in ("anthropic", "gemini")}}[provider]
        assert fold is not None
        with pytest.raises(HttpStatusError):
            folded(fold(), ask(provider, streamed=True, fault="stream_error").pieces)
        broken = ask(provider, streamed=True, fault="stream_cut")
        assert broken.pieces[-1] == b""
        with pytest.raises(IncompleteResponse):
            folded(fold(), broken.pieces)
        assert ask(provider, fault="stream_error").status == 500

    def test_over_http_a_lost_connection_is_an_incomplete_response(self) -> None:
        with base_url("deepseek", fault="stream_cut", latency=0.02) as url:
            body = {**ASK, "model": "m", "stream": True}
            status, kind, data = post(f"{url}/chat/completions", body)
        assert (status, kind) == (200, "text/event-stream")
        assert b"reasoning_content" in data
        assert b'finish_reason":"stop' not in data

    def test_a_cancelled_stream_releases_its_slot(self) -> None:
        async def work(server: SimServer) -> tuple[int, int, int]:
            body = json.dumps({**ASK, "model": "m", "stream": True}).encode()
            reply = await server.reply("POST", "/v1/chat/completions", body)
            assert reply.stream is not None
            async for _ in reply.stream:
                break
            before = server.batch.running
            await reply.stream.aclose()  # type: ignore[attr-defined]
            return before, server.batch.running, server.counts["finished"]

        assert run("deepseek", work, latency=10) == (1, 0, 0)

    def test_gemini_without_sse_sends_an_array(self) -> None:
        async def work(server: SimServer) -> bytes:
            path = "/v1beta/models/gemini-3-pro:streamGenerateContent"
            reply = await server.reply("POST", path, json.dumps(BODIES["gemini"]).encode())
            assert reply.stream is not None
            return b"".join([piece async for piece in reply.stream])

        chunks = json.loads(run("gemini", work))
        assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


def test_the_command_prints_the_base_url_of_the_provider() -> None:
    with sim("--provider", "zhipu", "--latency", "0") as endpoint:
        assert endpoint.url.endswith("/api/paas/v4")
        assert post(f"{endpoint.url}/chat/completions", {**ASK, "model": "glm-5"})[0] == 200
    done = manycall(
        "generate", "-p", "x", "-n", "2", "-m", "d", "-u", "sim:provider=deepseek,latency=0", "-o", "o.jsonl"
    )
    assert done.code == 0, done.err
    done = manycall("generate", "-p", "x", "-m", "d", "-u", "sim:provider=nix", "-o", "o.jsonl")
    assert done.code == 2
    assert done.err.startswith("manycall: The simulated endpoint did not start: provider nix is not known.")


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "mistral", "zhipu", "deepseek,stream=required"])
def test_a_run_can_use_a_simulated_provider_without_further_settings(provider: str, tmp_path: Path) -> None:
    name = provider.partition(",")[0]
    words = ["generate", "-p", "x", "-n", "2", "-m", THINKERS.get(name, "any"), "-o", "o.jsonl"]
    done = manycall(*words, "-u", f"sim:provider={provider},latency=0,token_latency=0")
    assert done.code == 0, done.err
    written = rows(Path("o.jsonl"))
    assert all(row["text"].endswith(".") for row in written)
    returns_thinking = name in ("mistral", "zhipu", "deepseek")
    assert ["text_reasoning" in row for row in written] == [returns_thinking] * 2


def test_in_virtual_time_a_stream_arrives_piece_by_piece() -> None:
    async def main() -> list[float]:
        server = SimServer(SimSettings(provider="deepseek", latency=90, stream_interval=30), {})
        body = json.dumps({**ASK, "model": "m", "stream": True}).encode()
        times: list[float] = []
        request = HttpRequest("http://a/v1/chat/completions", body, on_chunk=lambda chunk: times.append(clock.now()))
        response = await InProcessTransport({"a": server}).send(request)
        assert response.body == b""
        return times

    times = run_virtual(main())
    assert times[:2] == [30, 60]
    assert times[-1] >= 90


def test_a_key_in_a_header_that_is_not_read_is_a_wrong_key() -> None:
    async def work(server: SimServer) -> int:
        headers = [(b"authorization", b"Bearer good")]
        path = "/v1beta/models/gemini-3-pro:generateContent"
        return (await server.reply("POST", path, json.dumps(BODIES["gemini"]).encode(), headers)).status

    assert run("gemini", work) == 400


VALUES: list[Any] = [
    None, 0, -5, 2.5, "x", "", [], {}, [1], ["a"], {"a": 1}, True, [{"role": 1}], [{"content": None}],
    [{"content": [1]}], [{"content": [{"text": 5}]}], {"type": "enabled", "budget_tokens": "x"},
    {"thinkingConfig": 5}, {"format": 5},
]  # fmt: skip
FIELDS = (
    "messages model stream max_tokens max_completion_tokens temperature stop n thinking response_format input contents "
    "generationConfig system systemInstruction reasoning reasoning_effort text output_config stream_options prompt "
    "max_output_tokens stop_sequences logprobs chat_template_kwargs".split()
)


@pytest.mark.parametrize("provider", sorted(DIALECTS))
def test_no_request_breaks_a_server(provider: str) -> None:
    async def work(server: SimServer) -> set[int]:
        statuses = set()
        for api in DIALECTS[provider].apis:
            for field, value in product(FIELDS, VALUES):
                body = {"model": "gpt-5", "prompt": "x", "input": "x", **BODIES.get(api, ASK), field: value}
                if api == "gemini":
                    body.pop("model")
                data = json.dumps(body).encode()
                path = path_of(provider, api, "m", stream=True)
                reply = await server.reply("POST", path, data, HEADERS, "api-version=1&alt=sse")
                assert reply.stream is None or [piece async for piece in reply.stream]
                statuses.add(reply.status)
        return statuses

    assert run(provider, work, latency=0, token_latency=0) <= {200, 400, 404, 422}


def test_the_plain_server_answers_as_before() -> None:
    """Benchmarks and tests rely on these bytes."""

    async def work(server: SimServer) -> list[tuple[int, bytes]]:
        path = "/v1/chat/completions"
        bodies = [json.dumps({**ASK, "model": "m", "max_tokens": limit}).encode() for limit in (3, 0)]
        return [(reply.status, reply.body) for reply in [await server.reply("POST", path, body) for body in bodies]]

    assert run("generic", work) == [
        (
            200,
            b'{"id":"sim-1","model":"m","usage":{"prompt_tokens":4,"completion_tokens":3,"total_tokens":7},'
            b'"object":"chat.completion","created":1700000000,"choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"blue only li"},"finish_reason":"length"}]}',
        ),
        (
            400,
            b'{"error":{"message":"max_tokens must be at least 1, not 0","type":"invalid_request_error","param":null,'
            b'"code":"invalid_request_error"}}',
        ),
    ]

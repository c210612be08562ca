"""How real servers differ from what the API promises, one test a quirk.

Seen on vLLM 0.32, llama.cpp's llama-server, LiteLLM 1.106, aimock, transformers serve and guidellm's mock server.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

import manycall
from fakes import FakeTransport, SoloClient, answer, refusal
from hostile import CHUNKED, FINE, at_first, chat
from manycall import errors
from manycall.control import retry
from manycall.control.retry import FailedAttempt
from manycall.errors import FailureAction, FailureClass
from manycall.limits import MINUTE_SECONDS, AdvertisedLimit
from manycall.providers import openai, rate_limit_headers
from manycall.providers.error_body import parse_error_body
from manycall.providers.error_codes import classify
from manycall.providers.rate_limit_dialects import find_dialect
from manycall.records import Completion
from manycall.sim import virtual_time
from manycall.transport.messages import POOL_IDLE_SECONDS
from servers import Connection, hang_up, http, read_request, saying, serving, silence
from trial import AtOnce


def talk(server: Connection, dialogue: Callable[[SoloClient], Awaitable[Any]], **options: Any) -> SoloClient:
    """Have a dialogue with a server; return the client that had it."""

    async def main(url: str) -> SoloClient:
        async with SoloClient("m", base_url=url, **{"rng": AtOnce(), "timeout": 10.0, **options}) as llm:
            await dialogue(llm)
        return llm

    with serving(server) as url:
        return asyncio.run(main(url))


def serially(count: int) -> Callable[[SoloClient], Awaitable[None]]:
    """So many calls, one after another, all answered."""

    async def dialogue(llm: SoloClient) -> None:
        for n in range(count):
            assert (await llm.chat(str(n))).text == "fine"

    return dialogue


def keeping_alive(times: int = 1_000_000, idle: float = 60.0) -> Connection:
    """Answer so many requests on each connection, promising more each time; close it when it is idle for so long."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            try:
                async with asyncio.timeout(idle):
                    await read_request(reader)
            except TimeoutError:
                return
            head = f"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: {len(FINE)}\r\n\r\n"
            writer.write(head.encode() + FINE)
            await writer.drain()

    return connection


def refused(status: int, body: bytes) -> errors.HttpStatusError:
    """As the endpoint would report it."""
    code, message = parse_error_body(body)
    return errors.HttpStatusError(message, status=status, code=code, body=body)


def failed(error: errors.CallError) -> FailedAttempt:
    return FailedAttempt(error, classify(error))


def judged(status: int, body: bytes, attempts: int = 1) -> FailureAction:
    """What a reply means while others are answered."""
    return retry.decide(failed(refused(status, body)), attempts, any_success=True)


# Connections


def test_1_connections_that_the_server_closes_when_idle_cost_nothing() -> None:
    """Three servers close after 5.0 s; so ours go first, and one that meets the closing is sent again at once."""
    assert POOL_IDLE_SECONDS <= 4

    async def waves(llm: SoloClient) -> None:
        for _ in range(6):
            await asyncio.gather(*(llm.chat("hi") for _ in range(8)))
            await asyncio.sleep(0.1)

    llm = talk(keeping_alive(idle=0.1), waves, concurrency=8)
    assert llm.counters.calls == 48


def test_1_a_connection_lost_for_the_first_time_does_not_wait() -> None:
    began = time.monotonic()
    llm = talk(at_first(hang_up), serially(1), rng=random.Random(0))
    assert (llm.counters.calls, llm.counters.retries) == (1, 1)
    assert time.monotonic() - began < 5
    assert retry.backoff_seconds(failed(errors.ConnectionLost("closed")), 1, random.Random(0)) == 0


def test_2_a_server_that_closes_after_each_reply_though_it_promises_not_to() -> None:
    llm = talk(keeping_alive(times=1), serially(250))
    assert (llm.counters.calls, llm.counters.failed) == (250, 0)


def test_3_a_server_that_never_answers_while_it_shuts_down_is_not_waited_for_beyond_the_timeout() -> None:
    async def dialogue(llm: SoloClient) -> None:
        with pytest.raises(errors.AttemptTimeout, match="no complete response within") as caught:
            await llm.chat("hi")
        assert caught.value.attempts == retry.RULES[FailureClass.NO_ANSWER].max_attempts

    began = time.monotonic()
    llm = talk(silence, dialogue, timeout=0.2)
    assert llm.counters.possibly_billed == retry.RULES[FailureClass.NO_ANSWER].max_attempts
    assert time.monotonic() - began < 4 * 0.2 + 3


@pytest.mark.parametrize(
    "dying",
    [
        saying(http(500, b'{"error":{"message":"EngineCore died","type":"InternalServerError","code":500}}')),
        saying(http(200, b'data: {"error":{"message":"EngineCore died","code":500}}\n\ndata: [DONE]\n\n')),
        hang_up,
    ],
    ids=["JSON 500", "events that end well", "killed"],
)
def test_4_an_engine_that_dies_and_comes_back_costs_no_row(dying: Connection) -> None:
    llm = talk(at_first(dying, 3), serially(5))
    assert (llm.counters.calls, llm.counters.retries) == (5, 2)  # the poll of /metrics meets the third failure


def test_4_done_does_not_mean_success() -> None:
    with pytest.raises(errors.InvalidResponse, match=r"event stream.*EngineCore died"):
        openai.decode("chat", b'data: {"error":{"message":"EngineCore died"}}\n\ndata: [DONE]\n\n')


def test_5_a_server_that_drains_and_says_goodbye_loses_no_answer() -> None:
    async def draining(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.05)
        writer.write(http(200, FINE))  # with connection: close
        await writer.drain()

    llm = talk(draining, serially(5))
    assert (llm.counters.calls, llm.counters.retries) == (5, 0)


# Errors


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error":{"message":"no","type":"BadRequestError","code":400}}', "badrequesterror", "no"),
        (b'{"error":{"message":"no","type":"throttling_error","code":"429"}}', "throttling_error", "no"),
        (b'{"error":{"message":"no","type":null,"code":null}}', "", "no"),
        (b'{"detail":"no"}', "", "no"),
        (b"no", "", "no"),
        (b"", "", ""),
    ],
)
def test_6_an_error_in_any_format_is_reported(body: bytes, code: str, message: str) -> None:
    assert parse_error_body(body) == (code, message)


def test_7_the_same_500_again_and_again_is_that_rows_failure_alone() -> None:
    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read_request(reader)
        poison = b"surrogate" in body
        writer.write(http(500, b'{"error":{"code":500,"message":"invalid UTF-8"}}') if poison else http(200, FINE))
        await writer.drain()

    async def dialogue(llm: SoloClient) -> None:
        bad = asyncio.create_task(llm.chat("surrogate"))
        await serially(20)(llm)
        with pytest.raises(errors.HttpStatusError, match="returned status 500: invalid UTF-8") as caught:
            await bad
        assert caught.value.attempts == retry.RULES[FailureClass.SERVER_ERROR].max_attempts

    llm = talk(server, dialogue, concurrency=2)
    assert llm.counters.calls == 20
    assert llm.stopped is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}'),
        (400, b'{"error":{"message":"Invalid model name passed in model=x","type":null,"code":"400"}}'),
    ],
    ids=["vLLM", "LiteLLM, transformers"],
)
def test_8_a_wrong_model_is_never_sent_again(status: int, body: bytes) -> None:
    assert retry.decide(failed(refused(status, body)), 1, any_success=False) is not FailureAction.RETRY
    assert judged(status, body) is FailureAction.FAIL


def test_8_a_model_is_always_named_because_some_answer_as_any_other() -> None:
    with pytest.raises(errors.UsageError, match=r"Missing model\. Pass model="):
        SoloClient("", base_url="http://h")
    with pytest.raises(errors.UsageError, match="'model' is not a parameter"):
        SoloClient("m", base_url="http://h", params={"model": ""})


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"This model\'s maximum context length is 2048 tokens.","code":400}}',
        b'{"error":{"code":400,"message":"too long","type":"exceed_context_size_error","n_prompt_tokens":9,"n_ctx":8}}',
    ],
    ids=["vLLM", "llama-server"],
)
def test_9_a_prompt_that_is_too_long_is_its_rows_failure_without_any_code_that_says_so(body: bytes) -> None:
    assert judged(400, body) is FailureAction.FAIL


def test_10_what_one_server_refuses_and_another_crashes_on_ends_for_that_row() -> None:
    """max_tokens=0: a 400 of vLLM, a plain-text 500 of transformers."""
    assert judged(400, b'{"error":{"message":"max_tokens must be at least 1"}}') is FailureAction.FAIL
    assert (
        judged(500, b"Internal Server Error", retry.RULES[FailureClass.SERVER_ERROR].max_attempts) is FailureAction.FAIL
    )


def test_10_requests_are_never_packed_because_none_unpacks_them() -> None:
    heads: list[bytes] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await read_request(reader)
        heads.append(head.lower())
        assert msgspec.json.decode(body)["model"] == "m"
        writer.write(http(200, FINE))
        await writer.drain()

    talk(server, serially(1))
    assert b"content-encoding" not in heads[0]


# Rate limits


def paced(refusals: Sequence[int], headers: dict[str, str]) -> float:
    """Virtual seconds for 30 calls, of which those with these numbers are refused."""
    numbers = iter(range(10_000))

    def handler(body: dict[str, Any]) -> Any:
        return refusal(429, headers=headers) if next(numbers) in refusals else answer()

    async def main() -> float:
        async with SoloClient("m", base_url="http://h", transport=FakeTransport(handler)) as llm:
            await asyncio.gather(*(llm.chat(str(n)) for n in range(30)))
            assert llm.counters.calls == 30
        return virtual_time.now()

    return virtual_time.run_virtual(main())


def test_11_a_retry_after_that_always_says_60_is_kept_and_locks_nothing_up() -> None:
    took = paced(range(8, 12), {"retry-after": "60", "x-ratelimit-api_key-remaining-requests": "0"})
    assert 60 < took < 400


def test_11_its_headers_have_unusual_names() -> None:
    headers = {"x-ratelimit-api_key-limit-requests": "60", "x-ratelimit-api_key-remaining-requests": "7"}
    dialect = find_dialect("gateway.internal", headers.get)
    assert dialect is not None
    assert dialect.name == "LiteLLM"
    assert dialect.parse(headers.get, 0.0) == [AdvertisedLimit("requests", MINUTE_SECONDS, 60, 7, None)]


def test_12_a_hint_that_the_gateway_passes_on_counts() -> None:
    assert rate_limit_headers.parse_retry_after({"llm_provider-retry-after": "7"}.get, 0.0) == 7
    assert 7 < paced([3], {"llm_provider-retry-after": "7"}) < 100


def test_12_a_refusal_without_any_hint_is_waited_out() -> None:
    assert paced([3], {}) < 100


def test_13_a_quota_that_is_charged_afterwards_refuses_a_whole_wave_and_costs_no_row() -> None:
    assert paced(range(10, 26), {}) < 600


@pytest.mark.parametrize(("text", "seconds"), [("6m0s", 360), ("1s", 1), ("20ms", 0.02), ("1h0m0.5s", 3600.5)])
def test_14_a_reset_may_be_a_duration_of_go(text: str, seconds: float) -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-reset-requests": text}
    dialect = find_dialect("127.0.0.1", headers.get)
    assert dialect is not None
    assert dialect.parse(headers.get, 0.0)[0].reset == pytest.approx(seconds)


# Content


@pytest.mark.parametrize("usage", [b"", b',"usage":null', b',"usage":{"prompt_tokens":0,"completion_tokens":0}'])
def test_15_tokens_that_are_not_counted_or_counted_short_cost_no_answer(usage: bytes) -> None:
    found = openai.decode("chat", chat(b'"fine"', usage))
    assert isinstance(found, Completion)
    assert (found.text, found.usage.completion_tokens) == ("fine", 0)


def test_16_several_answers_to_one_call_are_not_asked_for_where_one_is_kept(tmp_path: Any) -> None:
    """Some servers give one whatever n says; an evaluation would lose all but the first anyway."""
    with pytest.raises(errors.UsageError, match=r"The parameter n is not supported.*samples="):
        manycall.evaluate("wordmath", base_url="http://h", model="m", out=tmp_path / "out.jsonl", params={"n": 2})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'"a\\u0000\\u001b[31m\\u202e"', "a\x00\x1b[31m\u202e"),
        (b'"\xef\xbf\xbd"', "\ufffd"),
        (b'"{\\"a\\":\\n\\n   1}"', '{"a":\n\n   1}'),
    ],
)
def test_17_a_text_is_what_the_server_said_to_the_letter(content: bytes, text: str) -> None:
    found = openai.decode("chat", b"\n  " + chat(content) + b"  \n")
    assert isinstance(found, Completion)
    assert found.text == text


def test_17_incomplete_json_is_called_truncated_and_is_not_parsed() -> None:
    found = openai.decode("chat", chat(b'"{\\"a\\": [1, 2"', finish=b'"length"'))
    assert isinstance(found, Completion)
    assert (found.text, found.truncated) == ('{"a": [1, 2', True)


def test_18_an_embedding_that_is_a_text_is_no_embedding() -> None:
    with pytest.raises(errors.InvalidResponse, match="not base64 of 32-bit floats"):
        openai.decode("embeddings", b'{"data":[{"index":0,"embedding":"AAAA"}]}')


def test_19_a_cancelled_call_hangs_up_so_that_the_server_can_stop() -> None:
    """vLLM and llama-server free the slot then; one that goes on all the same is why it counts as in doubt."""
    hung_up: list[float] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await read_request(reader)
        began = time.monotonic()
        writer.write(CHUNKED)
        await reader.read()
        if head.startswith(b"POST"):  # a request for metrics is not a call
            hung_up.append(time.monotonic() - began)

    async def dialogue(llm: SoloClient) -> None:
        with pytest.raises(errors.AttemptTimeout):
            await llm.chat("hi")
        await asyncio.sleep(0.1)

    llm = talk(server, dialogue, timeout=0.2)
    assert llm.counters.possibly_billed == len(hung_up) == 4
    assert max(hung_up) < 2

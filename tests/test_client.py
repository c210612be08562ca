import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeTransport, SoloClient, answer, asked, no_header, refusal
from manycall import errors
from manycall.providers import token_usage
from manycall.sim import virtual_time
from manycall.transport.messages import HttpRequest, HttpResponse

URL = "http://h/v1"


def scripted(*replies: HttpResponse | Exception, seconds: float = 1.0) -> FakeTransport:
    """Gives these replies, one after another."""
    waiting = list(replies)
    return FakeTransport(lambda body: waiting.pop(0), seconds)


def client(transport: FakeTransport, **options: Any) -> SoloClient:
    return SoloClient("m", base_url=URL, transport=transport, **options)


def test_an_answer_needs_one_request() -> None:
    transport = scripted(answer("fine"))

    async def main() -> None:
        async with client(transport, params={"temperature": 0.5}) as llm:
            reply = await llm.chat("hi", max_tokens=3)
            assert (reply.text, reply.finish_reason, reply.usage.prompt_tokens) == ("fine", "stop", 3)

    virtual_time.run_virtual(main())
    (request,) = transport.requests
    assert request.url == "http://h/v1/chat/completions"
    assert request.body == (
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":3,"temperature":0.5}'
    )


@pytest.mark.parametrize("default", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_a_call_replaces_that_of_the_client_under_either_name(default: str) -> None:
    transport = scripted(answer("fine"))

    async def main() -> None:
        async with client(transport, params={default: 9}) as llm:
            await llm.chat("hi", max_completion_tokens=3)

    virtual_time.run_virtual(main())
    assert transport.requests[0].body.endswith(b'}],"max_completion_tokens":3}')


def test_completions_and_embeddings_have_their_own_paths() -> None:
    raw = HttpResponse(200, b'{"choices":[{"text":"on"}]}', no_header)
    vectors = HttpResponse(200, b'{"data":[{"index":0,"embedding":[1.5]}]}', no_header)
    transport = scripted(raw, vectors)

    async def main() -> None:
        async with client(transport, params={"temperature": 0}) as llm:
            assert (await llm.complete("once up")).text == "on"
            assert (await llm.embed("text")).vectors == [[1.5]]

    virtual_time.run_virtual(main())
    assert [r.url for r in transport.requests] == ["http://h/v1/completions", "http://h/v1/embeddings"]
    assert transport.requests[1].body == b'{"model":"m","input":"text"}'


def test_passing_failures_are_sent_again_and_counted() -> None:
    transport = scripted(
        refusal(503), errors.AttemptTimeout("late"), HttpResponse(200, b"<html>", no_header), answer("at last")
    )

    async def main() -> None:
        async with client(transport) as llm:
            assert (await llm.chat("hi")).text == "at last"
            assert (llm.counters.attempts, llm.counters.retries, llm.counters.possibly_billed) == (4, 3, 2)

    virtual_time.run_virtual(main())


def test_no_request_goes_out_before_the_server_said() -> None:
    transport = scripted(refusal(429, headers={"retry-after": "30"}), answer())

    async def main() -> None:
        async with client(transport) as llm:
            await llm.chat("hi")
            assert llm.counters.http_429 == 1

    virtual_time.run_virtual(main())
    first, second = (at for at, _ in transport.log)
    assert 30 <= second - (first + 1) <= 34


def test_a_call_that_waits_for_its_retry_holds_no_permit() -> None:
    transport = FakeTransport(lambda body: refusal(503) if asked(body) == "bad" else answer())

    async def main() -> None:
        async with client(transport, concurrency=1) as llm:
            bad = asyncio.create_task(llm.chat("bad"))
            await asyncio.sleep(0)
            for _ in range(5):
                await llm.chat("good")
            assert not bad.done()
            with pytest.raises(errors.HttpStatusError) as caught:
                await bad
            assert caught.value.attempts == 100

    virtual_time.run_virtual(main())
    assert transport.max_in_flight == 1


def test_a_request_that_can_never_succeed_is_sent_once() -> None:
    transport = scripted(refusal(400, "too long"))

    async def main() -> None:
        async with client(transport) as llm:
            with pytest.raises(errors.HttpStatusError, match="h/v1 returned status 400: too long"):
                await llm.chat("hi")

    virtual_time.run_virtual(main())


@pytest.mark.usefixtures("no_key")
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (refusal(401, "bad key"), r"returned status 401: bad key. No API key was sent; set OPENAI_API_KEY"),
        (refusal(404, "no model x"), "returned status 404: no model x"),
        (refusal(429, "pay first", "insufficient_quota"), "pay first"),
        (refusal(307, "", headers={"location": "http://other"}), "redirects to 'http://other'"),
        (errors.CertificateError("certificate refused: expired"), "http://h/v1: certificate refused: expired"),
    ],
)
def test_a_failure_that_only_the_user_can_fix_stops_everything(reply: HttpResponse | Exception, said: str) -> None:
    transport = FakeTransport(lambda body: reply)

    async def main() -> None:
        async with client(transport, concurrency=2) as llm:
            calls = [asyncio.create_task(llm.chat(str(n))) for n in range(10)]
            with pytest.raises(errors.RunStopped, match=said):
                await calls[0]
            await asyncio.wait(calls)
            assert len(transport.log) == 2
            assert all(isinstance(call.exception(), errors.RunStopped) for call in calls)
            with pytest.raises(errors.RunStopped, match=said):
                await llm.chat("one more")

    virtual_time.run_virtual(main())


def test_a_server_that_is_not_there_stops_the_run_after_seconds() -> None:
    transport = FakeTransport(lambda body: errors.ConnectError("no connection: refused"), seconds=0)

    async def main() -> None:
        async with client(transport) as llm:
            with pytest.raises(errors.RunStopped, match="http://h/v1: no connection: refused"):
                await llm.chat("hi")
            assert virtual_time.now() < 10

    virtual_time.run_virtual(main())


def test_a_404_after_answers_is_that_requests_own_fault() -> None:
    transport = scripted(answer(), refusal(404), answer())

    async def main() -> None:
        async with client(transport) as llm:
            await llm.chat("one")
            with pytest.raises(errors.HttpStatusError):
                await llm.chat("two")
            await llm.chat("three")

    virtual_time.run_virtual(main())


def test_a_key_that_a_server_repeats_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "0123456789abcdef")
    transport = scripted(refusal(400, "your key is 0123456789abcdef"))

    async def main() -> None:
        async with SoloClient("m", base_url="https://h", transport=transport) as llm:
            with pytest.raises(errors.HttpStatusError) as caught:
                await llm.chat("hi")
            assert "0123456789abcdef" not in f"{caught.value} {caught.value.body!r}"

    virtual_time.run_virtual(main())


def test_a_missing_vector_is_no_answer() -> None:
    transport = scripted(HttpResponse(200, b'{"data":[{"index":0,"embedding":[1.5]}]}', no_header))

    async def main() -> None:
        async with client(transport) as llm:
            with pytest.raises(errors.InvalidResponse, match="1 vectors for 2 texts"):
                await llm.embed(["a", "b"])

    virtual_time.run_virtual(main())


def test_several_endpoints_share_the_calls() -> None:
    transport = FakeTransport(lambda body: answer())

    async def main() -> None:
        async with SoloClient(
            "m", base_url=["http://a", "http://b", "http://c"], transport=transport, concurrency=30
        ) as llm:
            await asyncio.gather(*(llm.chat(str(n)) for n in range(30)))

    virtual_time.run_virtual(main())
    urls = [request.url for request in transport.requests]
    assert {urls.count(f"http://{host}/v1/chat/completions") for host in "abc"} == {10}


def test_the_key_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    transport = scripted(refusal(500), answer())

    async def main() -> None:
        async with SoloClient("m", base_url="https://h", transport=transport) as llm:
            await llm.chat("hi")
            assert "canary" not in f"{llm!r} {llm.pool.endpoints!r} {vars(llm)!r}"

    virtual_time.run_virtual(main())
    key = transport.requests[0].key
    assert key is not None
    assert key.reveal() == "sk-canary"


@pytest.mark.parametrize(
    "bad", [{"model": ""}, {"concurrency": 0}, {"timeout": 0}, {"base_url": "nowhere"}, {"params": {"stream": True}}]
)
def test_senseless_arguments_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(errors.UsageError):
        SoloClient(**{"model": "m", "base_url": URL, **bad})


def test_a_quota_that_is_known_is_used_and_never_overrun(tmp_path: Path) -> None:
    """600 requests a minute, which the server counts second by second; an answer takes three seconds."""
    (tmp_path / "endpoints.toml").write_text('[[endpoint]]\nbase_url = "http://h"\nrpm = 600\n')
    transport = FakeTransport(lambda body: answer(), seconds=3.0)

    async def main() -> float:
        async with SoloClient("m", transport=transport, concurrency=256) as llm:
            await asyncio.gather(*(llm.chat(str(n)) for n in range(3000)))
        return virtual_time.now()

    took = virtual_time.run_virtual(main())
    seconds = Counter(int(at) for at, _ in transport.log)
    assert max(seconds.values()) <= 10
    assert 3000 / (took - 3.0) >= 0.97 * 10


def test_one_of_several_endpoints_that_refuses_calls_costs_no_row() -> None:
    def handler(request: HttpRequest) -> HttpResponse:
        away = request.url.startswith("http://b") and virtual_time.now() > 20
        return refusal(404, "no such path") if away else answer()

    class Servers:
        async def send(self, request: HttpRequest) -> HttpResponse:
            if request.method == "GET":
                return HttpResponse(404, b"", no_header)
            await asyncio.sleep(1.0 if handler(request).status == 200 else 0.01)
            return handler(request)

        async def close(self) -> None:
            pass

    async def main() -> None:
        async with SoloClient("m", base_url=["http://a", "http://b"], transport=Servers(), concurrency=20) as llm:
            queue = iter(range(2000))

            async def worker() -> None:
                for n in queue:
                    await llm.chat(str(n))

            await asyncio.gather(*(worker() for _ in range(20)))
            assert llm.counters.calls == 2000

    virtual_time.run_virtual(main())


def test_a_server_that_counts_absurdly_upsets_nothing() -> None:
    def handler(body: dict[str, Any]) -> HttpResponse:
        return answer(usage={"prompt_tokens": 1e160, "completion_tokens": -1e300})

    async def main() -> None:
        async with SoloClient("m", base_url=URL, transport=FakeTransport(handler)) as llm:
            await asyncio.gather(*(llm.chat(str(n)) for n in range(200)))
            assert llm.counters.prompt_tokens == 200 * token_usage.MAX_TOKENS_PER_CALL
            assert llm.counters.completion_tokens == 0

    virtual_time.run_virtual(main())


def test_a_key_that_is_escaped_or_in_a_header_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "abc/def-canary-1")
    body = b'{"error": {"message": "the key abc\\/def-canary-1 is bad"}}'
    replies = [
        HttpResponse(400, body, lambda name: None),
        HttpResponse(400, b"", lambda name: None),
        HttpResponse(307, b"", lambda name: "https://x?key=abc/def-canary-1" if name == "location" else None),
    ]

    async def main(reply: HttpResponse) -> str:
        async with SoloClient("m", base_url="https://h", transport=FakeTransport(lambda body: reply)) as llm:
            with pytest.raises((errors.CallError, errors.RunStopped)) as caught:
                await llm.chat("x")
            return str(caught.value)

    for reply in replies:
        assert "canary" not in virtual_time.run_virtual(main(reply))


def test_no_call_waits_after_an_outage_is_over() -> None:
    """Down for 100 s: each call would look again within a minute of its own, the last of them long after."""
    transport = FakeTransport(
        lambda body: answer() if virtual_time.now() >= 100 else errors.ConnectError("nobody there"), seconds=0.1
    )

    async def main() -> list[float]:
        ends: list[float] = []

        async def one(number: int) -> None:
            await llm.chat(f"q{number}")
            ends.append(virtual_time.now())

        async with client(transport, concurrency=8, rng=random.Random(1)) as llm:
            llm.counters.had_success = True
            await asyncio.gather(*(one(n) for n in range(40)))
        return ends

    ends = virtual_time.run_virtual(main())
    assert min(ends) >= 100
    assert max(ends) - min(ends) <= 1.0


def test_what_a_server_asked_for_is_kept_when_another_call_is_answered() -> None:
    asked_for = refusal(503, headers={"retry-after": "30"})
    calls: Counter[str] = Counter()

    def handler(body: dict[str, Any]) -> HttpResponse | Exception:
        calls[asked(body)] += 1
        if asked(body) == "busy":
            return asked_for if calls["busy"] == 1 else answer()
        return answer() if virtual_time.now() > 12 else errors.ConnectError("nobody there")

    transport = FakeTransport(handler, seconds=0.1)

    async def main() -> float:
        async with client(transport) as llm:
            llm.counters.had_success = True
            others = [asyncio.create_task(llm.chat(f"q{n}")) for n in range(8)]
            await llm.chat("busy")
            ended = virtual_time.now()
            await asyncio.gather(*others)
            return ended

    assert virtual_time.run_virtual(main()) >= 30


@pytest.mark.parametrize(("told_with_answers", "rpm"), [(False, None), (True, 60.0)])
def test_limits_advertised_only_with_refusals_are_not_believed(told_with_answers: bool, rpm: float | None) -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "5"}
    fine = answer()
    if told_with_answers:
        fine = HttpResponse(200, fine.body, headers.get)
    transport = scripted(refusal(429, headers=headers), fine)

    async def main() -> float | None:
        async with client(transport) as llm:
            await llm.chat("hi")
            return llm.pool.endpoints[0].quota.limits.rpm

    assert virtual_time.run_virtual(main()) == rpm

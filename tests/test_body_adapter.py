"""What an endpoint does not accept is learned once, and the call is sent again at once."""

import asyncio
from typing import Any

import msgspec
import pytest

from fakes import FakeTransport, SoloClient, answer, no_header, refusal
from gpt5 import gpt5, refused
from manycall import errors
from manycall.client.body_adapter import MAX_LESSONS, BodyAdapter
from manycall.client.encoded_call import EncodedCall, encode_call
from manycall.providers import address
from manycall.providers.catalog import GENERIC, find_preset
from manycall.records import Api, Request
from manycall.sim import virtual_time
from manycall.transport.messages import HttpRequest, HttpResponse

URL = "http://h/v1"


def call(model: str = "m", api: Api = "chat", **params: Any) -> EncodedCall:
    return encode_call(Request(api, model, [{"role": "user", "content": "hi"}] if api == "chat" else "hi", params))


def error(response: HttpResponse) -> errors.HttpStatusError:
    return errors.HttpStatusError("no", status=response.status, body=response.body)


NO_STOP = error(refused("Unsupported parameter: 'stop' is not supported with this model.", "stop"))


def bodies(transport: FakeTransport) -> list[dict[str, Any]]:
    return [msgspec.json.decode(each.body) for each in transport.requests]


def client(transport: FakeTransport, **options: Any) -> SoloClient:
    return SoloClient("gpt-5-mini", base_url=URL, transport=transport, **options)


def test_the_usual_body_is_sent_unchanged() -> None:
    adapter = BodyAdapter(GENERIC, "m")
    assert adapter.body_for(call(temperature=0)) is None
    assert (adapter.version, adapter.changes, adapter.must_stream("m")) == (0, [], False)


def test_a_refused_parameter_is_omitted_from_then_on() -> None:
    adapter = BodyAdapter(GENERIC, "m")
    assert adapter.learn(NO_STOP, call(stop="."), 0)
    assert adapter.body_for(call(stop=".", seed=7)) == {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 7,
    }  # fmt: skip
    assert adapter.changes == ["m: stop omitted (not accepted)"]


def test_other_models_and_apis_are_not_affected() -> None:
    adapter = BodyAdapter(GENERIC, "m")
    adapter.learn(NO_STOP, call(stop="."), 0)
    for other in (call("other", stop="."), call(api="completions", stop=".")):
        assert adapter.body_for(other) is None
    assert adapter.learn(NO_STOP, call("other", stop="."), 1)
    assert adapter.changes[1:] == ["other: stop omitted (not accepted)"]


def test_a_refusal_of_a_parameter_that_was_not_sent_teaches_nothing() -> None:
    adapter = BodyAdapter(GENERIC, "m")
    assert not adapter.learn(NO_STOP, call(temperature=0), 0)
    assert adapter.changes == []


def test_calls_refused_before_the_lesson_are_sent_again_and_later_ones_are_not() -> None:
    adapter = BodyAdapter(GENERIC, "m")
    adapter.learn(NO_STOP, call(stop="."), 0)
    assert adapter.learn(NO_STOP, call(stop="."), 0)
    assert not adapter.learn(NO_STOP, call(stop="."), adapter.version)
    assert len(adapter.changes) == 1


def test_a_refusal_may_teach_two_things_at_once() -> None:
    details = [
        {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
        for name in ("seed", "logit_bias")
    ]
    refusal = error(HttpResponse(422, msgspec.json.encode({"detail": details}), no_header))
    adapter = BodyAdapter(GENERIC, "m")
    assert adapter.learn(refusal, call(seed=1, logit_bias={}), 0)
    assert adapter.changes == ["m: seed omitted (not accepted)", "m: logit_bias omitted (not accepted)"]
    assert (adapter.body_for(call(seed=1, logit_bias={})) or {}).keys() == {"model", "messages"}


def test_a_limit_is_not_renamed_back_and_forth() -> None:
    adapter, limited = BodyAdapter(GENERIC, "m"), call(max_tokens=4)
    for name, learned in (("max_tokens", True), ("max_completion_tokens", False), ("max_tokens", False)):
        refusal = error(refused(f"Unknown parameter: '{name}'.", name))
        assert adapter.learn(refusal, limited, adapter.version) is learned
    assert "max_completion_tokens" in (adapter.body_for(limited) or {})


def test_a_renaming_of_the_catalog_is_undone_if_the_server_does_not_accept_it() -> None:
    adapter, limited = BodyAdapter(find_preset("openai"), "m"), call(max_tokens=4)
    assert "max_completion_tokens" in (adapter.body_for(limited) or {})
    adapter.learn(error(refused("Unrecognized request argument supplied: max_completion_tokens")), limited, 0)
    assert (adapter.body_for(limited) or {})["max_tokens"] == 4


def test_the_number_of_lessons_is_bounded() -> None:
    adapter = BodyAdapter(GENERIC, "m")
    for value in range(MAX_LESSONS + 3):
        refusal = error(refused(f"invalid temperature: only {value} is allowed for this model"))
        adapter.learn(refusal, call(temperature=99), adapter.version)
    assert adapter.version == MAX_LESSONS


def test_a_call_that_is_sent_again_in_another_form_does_not_wait_longer_after_its_next_failure() -> None:
    replies: list[HttpResponse | Exception] = [
        refused("Unsupported parameter: 'stop'", "stop"), errors.ConnectionLost("reset"), answer(),
    ]  # fmt: skip
    transport = FakeTransport(lambda body: replies.pop(0))

    async def main() -> None:
        async with client(transport) as llm:
            await llm.chat("hi", stop=".")

    virtual_time.run_virtual(main())
    assert [at for at, _ in transport.log] == [0.0, 1.0, 2.0]  # like the first failure of any other call


def test_the_attempts_of_a_failed_call_include_those_in_another_form() -> None:
    replies = [refused("Unsupported parameter: 'stop'", "stop"), refusal(400, "too long")]
    transport = FakeTransport(lambda body: replies.pop(0))

    async def main() -> None:
        async with client(transport) as llm:
            with pytest.raises(errors.HttpStatusError) as caught:
                await llm.chat("hi", stop=".")
            assert caught.value.attempts == 2

    virtual_time.run_virtual(main())


def test_a_model_that_only_streams_is_streamed() -> None:
    adapter = BodyAdapter(GENERIC, "m")
    adapter.learn(error(refused("This model only support stream mode")), call("other"), 0)
    assert not adapter.must_stream("m")
    adapter.learn(error(refused("This model only support stream mode")), call(), 1)
    assert adapter.must_stream("m")
    assert BodyAdapter(find_preset("dashscope"), "qwq-plus").must_stream("qwq-plus") is bool(
        find_preset("dashscope").streams_only
    )


def test_dropped_parameters_are_omitted_from_every_api() -> None:
    adapter = BodyAdapter(GENERIC, "m", drop=["stop", "seed"])
    for each in (call(stop=".", seed=1, top_p=1), call(api="completions", stop=".", seed=1, top_p=1)):
        assert (adapter.body_for(each) or {}).keys() & {"stop", "seed", "top_p"} == {"top_p"}
    assert adapter.changes == []


def test_thinking_is_translated_for_the_provider_and_only_in_chat() -> None:
    adapter = BodyAdapter(find_preset("dashscope"), "m", thinking="off")
    assert (adapter.body_for(call()) or {})["enable_thinking"] is False
    assert "enable_thinking" not in (adapter.body_for(call(api="completions")) or {})


def test_thinking_is_merged_with_other_template_arguments() -> None:
    adapter = BodyAdapter(find_preset("vllm"), "m", thinking="off")
    body = adapter.body_for(call(chat_template_kwargs={"style": "short"}))
    assert (body or {})["chat_template_kwargs"] == {"style": "short", "enable_thinking": False, "thinking": False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": "model"}, "drop='model' is not possible"),
        ({"thinking": "off"}, "does not know how this server switches thinking"),
        ({"thinking": "much"}, "thinking='much' is not valid"),
        ({"params": {"extra_body": {"top_k": 5}}}, "'extra_body' is an argument of the OpenAI SDK"),
    ],
)
def test_an_option_that_the_endpoint_cannot_follow_is_refused_before_any_call(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(errors.UsageError, match=message):
        client(FakeTransport(gpt5), **options)


def test_a_parameter_that_contradicts_thinking_is_refused_before_any_call() -> None:
    with pytest.raises(errors.UsageError, match="thinking= sets 'enable_thinking', which is a parameter too"):
        SoloClient(
            "m", base_url="https://dashscope.aliyuncs.com/compatible-mode/v1", api_key="k" * 20, thinking="off",
            params={"enable_thinking": True}, transport=FakeTransport(gpt5),
        )  # fmt: skip


def test_the_field_of_googles_own_api_is_a_parameter() -> None:
    client(FakeTransport(gpt5), params={"extra_body": {"google": {"thinking_config": {}}}})


def test_a_call_is_answered_although_the_model_accepts_none_of_its_parameters() -> None:
    transport = FakeTransport(gpt5)

    async def main() -> None:
        async with client(transport, params={"temperature": 0, "max_tokens": 400}) as llm:
            assert (await llm.chat("hi", stop=".")).text == "5"
            assert virtual_time.now() == 4.0  # four attempts of one second, without a wait
            await llm.chat("once more", stop=".")
            events = [event.what for event in llm.pool.endpoints[0].events]
            assert [each for each in events if each.startswith("gpt-5-mini")] == [
                "gpt-5-mini: sends max_completion_tokens instead of max_tokens",
                "gpt-5-mini: temperature omitted (only 1 is accepted)",
                "gpt-5-mini: stop omitted (not accepted)",
            ]

    virtual_time.run_virtual(main())
    assert len(transport.requests) == 5
    assert bodies(transport)[-1] == {
        "model": "gpt-5-mini", "messages": [{"role": "user", "content": "once more"}], "max_completion_tokens": 400,
    }  # fmt: skip


def test_a_thousand_calls_at_once_are_all_answered_and_the_lesson_is_announced_once() -> None:
    transport = FakeTransport(gpt5)

    async def main() -> None:
        async with client(transport, concurrency=500, params={"temperature": 0, "max_tokens": 4}) as llm:
            replies = await asyncio.gather(*(llm.chat(str(n)) for n in range(1000)))
            assert {reply.text for reply in replies} == {"5"}
            assert len(llm.pool.parameter_changes) == 2

    virtual_time.run_virtual(main())


def test_calls_of_another_model_keep_their_parameters() -> None:
    transport = FakeTransport(lambda body: gpt5(body) if body["model"] == "gpt-5-mini" else answer())

    async def main() -> None:
        async with client(transport, params={"temperature": 0}) as llm:
            await llm.chat("hi")
            await llm.chat("hi", model="gpt-4.1")

    virtual_time.run_virtual(main())
    assert [body.get("temperature") for body in bodies(transport)] == [0, None, 0]


def test_a_server_that_refuses_a_parameter_that_is_no_longer_sent_fails_the_call() -> None:
    transport = FakeTransport(lambda body: refused("`stop` is not supported with this model", "stop"))

    async def main() -> None:
        async with client(transport) as llm:
            with pytest.raises(errors.HttpStatusError, match="not supported with this model"):
                await llm.chat("hi", stop=".")

    virtual_time.run_virtual(main())
    assert ["stop" in body for body in bodies(transport)] == [True, False]


class ByHost:
    """Sends each request to the transport of its host."""

    def __init__(self, **hosts: FakeTransport) -> None:
        self._hosts = hosts

    async def send(self, request: HttpRequest) -> HttpResponse:
        return await self._hosts[address.parse(request.url).host].send(request)

    async def close(self) -> None:
        pass


def test_each_endpoint_of_a_pool_is_asked_in_its_own_way() -> None:
    strict, lenient = FakeTransport(gpt5), FakeTransport(lambda body: answer())

    async def main() -> None:
        transport = ByHost(strict=strict, lenient=lenient)
        urls = ["http://strict/v1", "http://lenient/v1"]
        async with SoloClient("m", base_url=urls, transport=transport, concurrency=4) as llm:
            await asyncio.gather(*(llm.chat(str(n), stop=".") for n in range(40)))

    virtual_time.run_virtual(main())
    assert all("stop" in body for body in bodies(lenient))
    assert 1 <= sum("stop" in body for body in bodies(strict)) <= 4 < len(strict.requests)

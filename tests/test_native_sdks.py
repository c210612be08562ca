"""The SDKs of the providers accept our requests and translated replies, and the recorded replies and streams.

OpenAI's SDK is a development dependency. Anthropic's and Google's SDKs are not, because they need 79 MB. Their tests
are skipped unless both are installed: `.venv/bin/pip install anthropic google-genai`.
"""

import json
from typing import Any

import pytest

import native_streams
from test_native_replies import COMPLETE, STREAMS, decode, fold, recorded
from test_native_requests import CONVERSATION, EQUIVALENTS, encode

BROKEN = {"error"}
"""Finish reasons that OpenAI's types do not have, but other providers of its API use."""


def cases(wire: str) -> list[Any]:
    return [
        pytest.param(param.values[1]["reply"], id=param.values[1]["case"])
        for param in recorded("expect")
        if param.values[0] == wire
    ]


def params_of(wire: str) -> list[Any]:
    return [pytest.param(params, id=min(params)) for name, params, _ in EQUIVALENTS if name == wire]


@pytest.mark.parametrize(("name", "line"), recorded("expect"))
def test_openai_accepts_every_translated_reply(name: str, line: dict[str, Any]) -> None:
    openai = pytest.importorskip("openai")
    body = json.loads(decode(name, line["reply"]))
    if body["choices"][0]["finish_reason"] in BROKEN:
        body["choices"][0]["finish_reason"] = "stop"
    reply = openai.types.chat.ChatCompletion.model_validate(body)
    assert (reply.choices[0].message.content or "") == (line["expect"]["content"] or "")


class TestResponses:
    """OpenAI's types of the Responses API."""

    @pytest.fixture
    def types(self) -> Any:
        return pytest.importorskip("openai.types.responses")

    @pytest.mark.parametrize("reply", cases("responses"))
    def test_the_recorded_replies_are_responses(self, types: Any, reply: Any) -> None:
        parsed = types.Response.model_validate(reply)
        commentary = any(getattr(item, "phase", None) == "commentary" for item in parsed.output)
        text = json.loads(decode("responses", reply))["choices"][0]["message"]["content"]
        assert commentary or parsed.output_text == (text or "")

    @pytest.mark.parametrize("params", params_of("responses"))
    def test_the_parameters_are_parameters_of_the_api(self, types: Any, params: dict[str, Any]) -> None:
        pydantic = pytest.importorskip("pydantic")
        body = encode("responses", CONVERSATION, **params)
        create = types.response_create_params
        is_streamed = "stream" in params
        kind = create.ResponseCreateParamsStreaming if is_streamed else create.ResponseCreateParamsNonStreaming
        pydantic.TypeAdapter(kind).validate_python(body)
        assert body.keys() <= _inherited(kind)


class TestAnthropic:
    """Anthropic's SDK."""

    @pytest.fixture
    def types(self) -> Any:
        return pytest.importorskip("anthropic").types

    @pytest.mark.parametrize("reply", cases("anthropic"))
    def test_the_recorded_replies_and_their_streams_are_messages(self, types: Any, reply: Any) -> None:
        pydantic = pytest.importorskip("pydantic")
        types.Message.model_validate(reply)
        adapter = pydantic.TypeAdapter(types.RawMessageStreamEvent)
        for event in native_streams.anthropic_stream(reply, native_streams.one_piece):
            if event.event != "ping":
                adapter.validate_json(event.data)

    @pytest.mark.parametrize("reply", cases("anthropic"))
    def test_the_fold_agrees_with_the_sdk(self, types: Any, reply: Any) -> None:
        pydantic = pytest.importorskip("pydantic")
        accumulate = pytest.importorskip("anthropic.lib.streaming._messages").accumulate_event
        adapter = pydantic.TypeAdapter(types.RawMessageStreamEvent)
        events = list(native_streams.anthropic_stream(reply, native_streams.every_character))
        message, buffers = None, dict[int, bytes]()
        for event in events:
            if event.event != "ping":
                parsed = adapter.validate_json(event.data)
                message = accumulate(event=parsed, current_snapshot=message, json_bufs=buffers)
        assert message is not None
        assert json.loads(fold("anthropic", events)) == json.loads(decode("anthropic", json.loads(message.to_json())))

    @pytest.mark.parametrize("params", params_of("anthropic"))
    def test_the_parameters_are_parameters_of_the_api(self, types: Any, params: dict[str, Any]) -> None:
        pydantic = pytest.importorskip("pydantic")
        body = encode("anthropic", CONVERSATION, **params)
        create = types.message_create_params
        kind = create.MessageCreateParamsStreaming if "stream" in params else create.MessageCreateParamsNonStreaming
        pydantic.TypeAdapter(kind).validate_python(body)
        # These parameters are still accepted by the API version that manycall asks for, but no longer in the SDK.
        assert body.keys() <= _inherited(kind) | {"temperature", "top_p", "top_k"}


class TestGemini:
    """Google's SDK. Its types reject unknown fields."""

    @pytest.fixture
    def types(self) -> Any:
        pytest.importorskip("google.genai")
        from google.genai import types

        return types

    @pytest.mark.parametrize("reply", cases("gemini"))
    def test_the_recorded_replies_and_their_streams_are_replies(self, types: Any, reply: Any) -> None:
        types.GenerateContentResponse.model_validate(reply)
        for event in native_streams.gemini_stream(reply, native_streams.one_piece):
            types.GenerateContentResponse.model_validate_json(event.data)

    @pytest.mark.parametrize("params", params_of("gemini"))
    def test_the_parameters_are_parameters_of_the_api(self, types: Any, params: dict[str, Any]) -> None:
        body = encode("gemini", CONVERSATION, **params)
        kinds = {
            "contents": list[types.Content],
            "systemInstruction": types.Content,
            "generationConfig": types.GenerationConfig,
            "tools": list[types.Tool],
            "toolConfig": types.ToolConfig,
            "safetySettings": list[types.SafetySetting],
            "serviceTier": types.ServiceTier,
        }
        pydantic = pytest.importorskip("pydantic")
        for name, value in body.items():
            pydantic.TypeAdapter(kinds[name]).validate_python(value)


def _inherited(kind: Any) -> set[str]:
    return set(kind.__required_keys__ | kind.__optional_keys__)


def test_the_tables_of_this_file_have_cases() -> None:
    assert len(COMPLETE) > 15
    assert all(cases(name) and params_of(name) for name in STREAMS)

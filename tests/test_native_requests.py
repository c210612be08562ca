"""Chat requests become requests of the native APIs, or a UsageError that names the parameter."""

import copy
import re
from typing import Any

import pytest

from manycall import errors
from manycall.providers.anthropic import DEFAULT_MAX_TOKENS
from manycall.providers.wires import WIRES

PIXEL = "data:image/png;base64,iVBORw0KGgo="
HI = [{"role": "user", "content": "hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
AS_SCHEMA = {"type": "json_schema", "json_schema": {"name": "result", "schema": SCHEMA, "strict": True}}
ADAPTIVE = {"type": "adaptive", "display": "summarized"}
TOKENS = {"type": "enabled", "budget_tokens": 20_000}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": [{"type": "text", "text": "Use °C."}]},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Where is this?"},
            {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://h/cat.png"}},
        ],
    },
    {"role": "user", "content": "And the weather?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": "I need the tool."},
    {"role": "tool", "tool_call_id": "c1", "content": '{"celsius": 3}'},
    {"role": "assistant", "content": "Oslo, 3 °C."},
    {"role": "user", "content": "Thanks"},
]


def encode(wire: str, messages: Any = None, model: str = "m", **params: Any) -> dict[str, Any]:
    translate = WIRES[wire].encode
    assert translate is not None
    body = {"model": model, "messages": HI if messages is None else messages, **params}
    before = copy.deepcopy(body)
    native = translate(body)
    assert body == before
    return native


def added(wire: str, model: str = "m", **params: Any) -> dict[str, Any]:
    """Return what the parameters change in the native body."""
    plain, native = encode(wire, model=model), encode(wire, model=model, **params)
    return {name: value for name, value in native.items() if plain.get(name) != value}


def test_a_conversation_for_anthropic() -> None:
    assert encode("anthropic", CONVERSATION) == {
        "model": "m",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Use °C."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Where is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                    },
                    {"type": "image", "source": {"type": "url", "url": "https://h/cat.png"}},
                    {"type": "text", "text": "And the weather?"},
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c1", "content": '{"celsius": 3}'}],
            },
            {"role": "assistant", "content": "Oslo, 3 °C."},
            {"role": "user", "content": "Thanks"},
        ],
    }


def test_a_conversation_for_the_responses_api() -> None:
    assert encode("responses", CONVERSATION) == {
        "model": "m",
        "store": False,
        "input": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "input_text", "text": "Use °C."}]},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Where is this?"},
                    {"type": "input_image", "image_url": PIXEL, "detail": "low"},
                    {"type": "input_image", "image_url": "https://h/cat.png", "detail": "auto"},
                ],
            },
            {"role": "user", "content": "And the weather?"},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'},
            {"type": "function_call_output", "call_id": "c1", "output": '{"celsius": 3}'},
            {"role": "assistant", "content": "Oslo, 3 °C."},
            {"role": "user", "content": "Thanks"},
        ],
    }


def test_a_conversation_for_gemini() -> None:
    assert encode("gemini", CONVERSATION) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Use °C."}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "Where is this?"},
                    {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
                    {"fileData": {"fileUri": "https://h/cat.png"}},
                    {"text": "And the weather?"},
                ],
            },
            {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": "c1"}}]},
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "weather", "response": {"celsius": 3}, "id": "c1"}}],
            },
            {"role": "model", "parts": [{"text": "Oslo, 3 °C."}]},
            {"role": "user", "parts": [{"text": "Thanks"}]},
        ],
    }


EQUIVALENTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("anthropic", {"max_tokens": 5}, {"max_tokens": 5}),
    ("anthropic", {"max_completion_tokens": 5}, {"max_tokens": 5}),
    ("anthropic", {"max_tokens": 5, "max_completion_tokens": 5}, {"max_tokens": 5}),
    ("anthropic", {"stop": "END"}, {"stop_sequences": ["END"]}),
    ("anthropic", {"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
    ("anthropic", {"temperature": 0, "top_p": 0.9, "top_k": 5}, {"temperature": 0, "top_p": 0.9, "top_k": 5}),
    ("anthropic", {"user": "u1"}, {"metadata": {"user_id": "u1"}}),
    ("anthropic", {"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
    ("anthropic", {"service_tier": "default"}, {"service_tier": "standard_only"}),
    ("anthropic", {"response_format": {"type": "text"}}, {}),
    (
        "anthropic",
        {"thinking_token_budget": 2048},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": DEFAULT_MAX_TOKENS + 2048},
    ),
    (
        "anthropic",
        {"response_format": AS_SCHEMA, "reasoning_effort": "high"},
        {
            "thinking": ADAPTIVE,
            "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": CLOSED}},
        },
    ),
    (
        "anthropic",
        {"tools": [WEATHER, {"type": "web_search_20260209", "name": "web_search"}]},
        {
            "tools": [
                {
                    "name": "weather",
                    "description": "The weather of a city",
                    "input_schema": WEATHER["function"]["parameters"],  # type: ignore[index]
                },
                {"type": "web_search_20260209", "name": "web_search"},
            ]
        },
    ),
    (
        "anthropic",
        {"tools": [{"type": "function", "function": {"name": "now", "strict": True}}]},
        {"tools": [{"name": "now", "input_schema": {"type": "object", "properties": {}}, "strict": True}]},
    ),
    ("anthropic", {"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}),
    ("anthropic", {"tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
    ("anthropic", {"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
    *[
        ("anthropic", {"tool_choice": choice}, {"tool_choice": choice})
        for choice in ({"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "weather"})
    ],
    ("anthropic", {"parallel_tool_calls": True, "store": False, "modalities": ["text"]}, {}),
    (
        "anthropic",
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": False},
        {"tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}},
    ),
    (
        "anthropic",
        {"tool_choice": "required", "parallel_tool_calls": False},
        {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    ),
    ("anthropic", {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral"}}),
    ("responses", {"max_tokens": 50}, {"max_output_tokens": 50}),
    ("responses", {"max_completion_tokens": 50}, {"max_output_tokens": 50}),
    ("responses", {"reasoning_effort": "max"}, {"reasoning": {"effort": "max", "summary": "auto"}}),
    ("responses", {"reasoning_effort": "none"}, {"reasoning": {"effort": "none"}}),
    (
        "responses",
        {"reasoning_effort": "low", "reasoning": {"summary": None}},
        {"reasoning": {"effort": "low", "summary": None}},
    ),
    (
        "responses",
        {"response_format": AS_SCHEMA, "verbosity": "low"},
        {
            "text": {
                "format": {"type": "json_schema", "name": "result", "schema": SCHEMA, "strict": True},
                "verbosity": "low",
            }
        },
    ),
    ("responses", {"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
    ("responses", {"temperature": 0.5, "service_tier": "flex"}, {"temperature": 0.5, "service_tier": "flex"}),
    ("responses", {"store": True}, {"store": True}),
    ("responses", {"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}),
    (
        "responses",
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
    ),
    (
        "responses",
        {"logprobs": True, "top_logprobs": 3, "include": ["reasoning.encrypted_content"]},
        {"include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 3},
    ),
    (
        "responses",
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {
            "tools": [
                {
                    "type": "function",
                    "name": "weather",
                    "description": "The weather of a city",
                    "parameters": WEATHER["function"]["parameters"],  # type: ignore[index]
                    "strict": False,
                }
            ],
            "tool_choice": {"type": "function", "name": "weather"},
        },
    ),
    ("responses", {"tool_choice": "required"}, {"tool_choice": "required"}),
    (
        "gemini",
        {
            "temperature": 0,
            "top_p": 0.9,
            "top_k": 5,
            "max_tokens": 50,
            "seed": 1,
            "n": 2,
            "stop": "END",
            "presence_penalty": 0.5,
            "frequency_penalty": 0.25,
            "logprobs": True,
            "top_logprobs": 3,
        },
        {
            "generationConfig": {
                "temperature": 0,
                "topP": 0.9,
                "topK": 5,
                "maxOutputTokens": 50,
                "seed": 1,
                "candidateCount": 2,
                "stopSequences": ["END"],
                "presencePenalty": 0.5,
                "frequencyPenalty": 0.25,
                "responseLogprobs": True,
                "logprobs": 3,
            }
        },
    ),
    ("gemini", {"max_completion_tokens": 50}, {"generationConfig": {"maxOutputTokens": 50}}),
    (
        "gemini",
        {"response_format": AS_SCHEMA},
        {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}},
    ),
    (
        "gemini",
        {"response_format": {"type": "json_object"}},
        {"generationConfig": {"responseMimeType": "application/json"}},
    ),
    ("gemini", {"stream": True, "stream_options": {"include_usage": True}}, {}),
    ("gemini", {"service_tier": "flex"}, {"serviceTier": "flex"}),
    ("gemini", {"service_tier": "auto"}, {}),
    ("gemini", {"service_tier": "default"}, {"serviceTier": "standard"}),
    ("gemini", {"service_tier": "priority"}, {"serviceTier": "priority"}),
    ("gemini", {"parallel_tool_calls": True, "store": False, "modalities": ["text"]}, {}),
    (
        "gemini",
        {"tools": [WEATHER, {"googleSearch": {}}], "tool_choice": "auto"},
        {
            "tools": [
                {
                    "functionDeclarations": [
                        {
                            "name": "weather",
                            "description": "The weather of a city",
                            "parametersJsonSchema": WEATHER["function"]["parameters"],  # type: ignore[index]
                        }
                    ]
                },
                {"googleSearch": {}},
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        },
    ),
    ("gemini", {"tool_choice": "none"}, {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}}),
    ("gemini", {"tool_choice": "required"}, {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
    (
        "gemini",
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}}},
    ),
    (
        "gemini",
        {"temperature": 1, "generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}, "safetySettings": []},
        {
            "generationConfig": {"temperature": 1, "thinkingConfig": {"thinkingBudget": -1}},
            "safetySettings": [],
        },
    ),
]


@pytest.mark.parametrize(("wire", "params", "native"), EQUIVALENTS, ids=[f"{w}-{min(p)}" for w, p, _ in EQUIVALENTS])
def test_a_parameter_has_an_equivalent(wire: str, params: dict[str, Any], native: dict[str, Any]) -> None:
    assert added(wire, **params) == native


@pytest.mark.parametrize(
    ("model", "effort", "native"),
    [
        ("claude-opus-4-8", "max", {"thinking": ADAPTIVE, "output_config": {"effort": "max"}}),
        ("claude-sonnet-5-5", "low", {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}),
        ("deepseek-v4-pro", "high", {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
        ("claude-opus-10", "low", {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}),
        ("claude-opus-4-6", "xhigh", {"thinking": ADAPTIVE, "output_config": {"effort": "xhigh"}}),
        ("claude-opus-4-6", "none", {"thinking": {"type": "disabled"}}),
        ("claude-sonnet-4-5-20250929", "low", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("claude-sonnet-4-20250514", "medium", {"thinking": {"type": "enabled", "budget_tokens": 4096}}),
        ("claude-4-opus-20250514", "low", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("claude-3-7-sonnet-latest", "high", {"thinking": {"type": "enabled", "budget_tokens": 12_288}}),
    ],
)
def test_claude_up_to_4_5_takes_thinking_tokens_and_later_models_take_a_level(
    model: str, effort: str, native: dict[str, Any]
) -> None:
    assert added("anthropic", model, reasoning_effort=effort) == native


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        ("gemini-3.5-flash", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-3-pro", "xhigh", {"thinkingLevel": "xhigh", "includeThoughts": True}),
        ("gemini-flash-latest", "high", {"thinkingLevel": "high", "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-flash", "minimal", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24_576, "includeThoughts": True}),
    ],
)
def test_gemini_3_takes_a_thinking_level_and_earlier_models_take_tokens(
    model: str, effort: str, thinking: dict[str, Any]
) -> None:
    assert added("gemini", model, reasoning_effort=effort) == {"generationConfig": {"thinkingConfig": thinking}}


NEUTRAL: dict[str, Any] = {
    "n": 1,
    "logprobs": False,
    "frequency_penalty": 0,
    "presence_penalty": 0.0,
    "logit_bias": {},
    "seed": None,
}


@pytest.mark.parametrize("wire", ["anthropic", "responses"])
def test_parameters_that_ask_for_the_default_are_omitted(wire: str) -> None:
    assert added(wire, **NEUTRAL) == {}


UNSUPPORTED: dict[str, dict[str, Any]] = {
    "anthropic": {
        "n": 2,
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "frequency_penalty": 0.5,
        "presence_penalty": 1,
        "logit_bias": {"5": 1},
        "verbosity": "low",
        "service_tier": "flex",
        "modalities": ["audio"],
        "store": True,
        **dict.fromkeys("audio function_call functions prediction web_search_options".split(), "x"),
        **dict.fromkeys("prompt_cache_key prompt_cache_retention safety_identifier".split(), "x"),
        "parallel_tool_calls": 3,
        "tool_choice": "sometimes",
        "reasoning_effort": "minimal",
    },
    "responses": {
        "n": 2,
        "seed": 0,
        "stop": "END",
        "frequency_penalty": 0.5,
        "presence_penalty": 1,
        "logit_bias": {"5": 1},
        "modalities": ["audio"],
        "thinking_token_budget": 8,
        **dict.fromkeys("audio function_call functions prediction web_search_options".split(), "x"),
    },
    "gemini": {
        "logit_bias": {"5": 1},
        "user": "u",
        "parallel_tool_calls": False,
        "service_tier": "scale",
        "verbosity": "low",
        "metadata": {"a": "b"},
        "modalities": ["audio"],
        "store": True,
        "tools": [{"type": "function", "function": {"name": "strict-weather", "strict": True}}],
        **dict.fromkeys("audio function_call functions prediction web_search_options".split(), "x"),
        **dict.fromkeys("prompt_cache_key prompt_cache_retention safety_identifier".split(), "x"),
        "tool_choice": ["auto"],
        "reasoning_effort": "none",
    },
}


@pytest.mark.parametrize(("wire", "name"), [(wire, name) for wire, names in UNSUPPORTED.items() for name in names])
def test_a_parameter_without_an_equivalent_is_a_usage_error_that_names_it(wire: str, name: str) -> None:
    with pytest.raises(errors.UsageError, match="strict" if name == "tools" else name):
        encode(wire, **{name: UNSUPPORTED[wire][name]})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 6}, "Set only one of them"),
        ({"model": "claude-sonnet-4-5", "reasoning_effort": "high", "max_tokens": 9000}, "Set max_tokens above 12288"),
        ({"model": "claude-sonnet-4-5", "thinking": TOKENS, "max_tokens": 20_000}, "Set max_tokens above 20000"),
        ({"model": "claude-sonnet-4-5", "reasoning_effort": "max"}, "budget_tokens"),
        ({"response_format": {"type": "json_object"}}, "json_schema"),
        ({"response_format": {"type": "grammar"}}, "'response_format' of the request is not valid"),
        ({"response_format": "json"}, "'response_format' of the request is not valid"),
        ({"tools": [WEATHER, "search"]}, "'tools' of the request is not valid"),
        ({"tools": [{"type": "function", "function": {"nam": "x"}}]}, "'tools' of the request is not valid"),
        ({"stop": 5}, "'stop' of the request is not valid"),
        ({"tool_choice": {"type": "function", "function": {}}}, "'tool_choice' of the request is not valid"),
    ],
)
def test_a_parameter_that_anthropic_cannot_take_is_explained(params: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.UsageError, match=re.escape(message)):
        encode("anthropic", **params)


def test_anthropic_gets_a_schema_whose_objects_have_no_further_properties() -> None:
    """A property may be called like a keyword. What a schema says of further properties is sent as it is."""
    text = {"type": "string"}
    open_object = {"type": "object", "additionalProperties": text}
    schema = {
        "type": "object",
        "properties": {"properties": text, "list": {"type": "array", "items": SCHEMA}, "map": open_object},
        "$defs": {"choice": {"anyOf": [SCHEMA, {"type": "object"}]}, "given": {**SCHEMA, "additionalProperties": True}},
        "default": {"properties": 1},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "result", "schema": schema}}
    assert added("anthropic", response_format=wanted)["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {"properties": text, "list": {"type": "array", "items": CLOSED}, "map": open_object},
        "$defs": {"choice": {"anyOf": [CLOSED, {"type": "object"}]}, "given": {**SCHEMA, "additionalProperties": True}},
        "default": {"properties": 1},
        "additionalProperties": False,
    }


def test_thinking_tokens_of_claude_leave_room_for_the_answer() -> None:
    native = added("anthropic", "claude-sonnet-4-5", thinking=TOKENS)
    assert native == {"thinking": TOKENS, "max_tokens": 20_000 + DEFAULT_MAX_TOKENS}
    with_tools = added("anthropic", "claude-sonnet-4-5", thinking=TOKENS, max_tokens=9000, tools=[WEATHER])
    assert with_tools["max_tokens"] == 9000


ALL_WIRES = ["anthropic", "responses", "gemini"]


@pytest.mark.parametrize("wire", ALL_WIRES)
@pytest.mark.parametrize(
    "message",
    [
        "hi",
        {"content": "hi"},
        {"role": "critic", "content": "hi"},
        {"role": "user", "content": 5},
        {"role": "user", "content": ["hi"]},
        {"role": "user", "content": "hi", "name": "Ada"},
        {"role": "user", "content": "hi", "weight": 1},
        {"role": "user", "content": [{"type": "image_url"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]},
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://h/v.mp4"}}]},
        {"role": "assistant", "tool_calls": [{"id": "c"}]},
        {"role": "assistant", "content": "hi", "audio": {"id": "a"}},
    ],
)
def test_a_message_that_the_api_cannot_express_is_a_usage_error(wire: str, message: Any) -> None:
    with pytest.raises(errors.UsageError) as caught:
        encode(wire, [message])
    assert len(str(caught.value)) > 20


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
@pytest.mark.parametrize("url", ["data:image/png,abc", "data:;base64,abc", "data:image/png;base64,"])
def test_a_malformed_data_url_is_a_usage_error(wire: str, url: str) -> None:
    with pytest.raises(errors.UsageError, match="data URL must have the form"):
        encode(wire, [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}])


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
@pytest.mark.parametrize("arguments", ["{", "[1]", "5"])
def test_tool_arguments_that_are_no_object_are_a_usage_error(wire: str, arguments: str) -> None:
    call = {"id": "c", "function": {"name": "weather", "arguments": arguments}}
    with pytest.raises(errors.UsageError, match="weather"):
        encode(wire, [{"role": "assistant", "tool_calls": [call]}])


@pytest.mark.parametrize("wire", ALL_WIRES)
def test_null_fields_of_a_message_mean_that_they_are_absent(wire: str) -> None:
    message = {"role": "assistant", "content": "hi"}
    fields = dict.fromkeys(["audio", "function_call", "refusal", "name", "tool_calls", "annotations"])
    assert encode(wire, [message | fields]) == encode(wire, [message])


def test_the_answers_to_parallel_calls_are_in_one_turn() -> None:
    calls = [CALL, CALL | {"id": "c2"}]
    results = [{"role": "tool", "tool_call_id": each, "content": "3 °C"} for each in ("c1", "c2")]
    messages = [*HI, {"role": "assistant", "tool_calls": calls}, *results]
    assert [len(turn["content"]) for turn in encode("anthropic", messages)["messages"]] == [2, 2, 2]
    contents = encode("gemini", messages)["contents"]
    assert [len(turn["parts"]) for turn in contents] == [1, 2, 2]
    response = contents[2]["parts"][0]["functionResponse"]
    assert response == {"name": "weather", "response": {"output": "3 °C"}, "id": "c1"}


def test_gemini_needs_the_function_that_a_tool_message_answers() -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "3 °C"}
    with pytest.raises(errors.UsageError, match="name of the function"):
        encode("gemini", [*HI, result])
    parts = encode("gemini", [*HI, result | {"name": "weather"}])["contents"][0]["parts"]
    assert parts[1]["functionResponse"]["name"] == "weather"


def test_gemini_gets_the_thought_signature_of_its_tool_call_back() -> None:
    signed = CALL | {"extra_content": {"google": {"thought_signature": "CiQB"}}}
    part = encode("gemini", [*HI, {"role": "assistant", "tool_calls": [signed]}])["contents"][1]["parts"][0]
    assert part["thoughtSignature"] == "CiQB"


def test_gemini_takes_audio_and_files() -> None:
    content = [
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}},
    ]
    assert encode("gemini", [{"role": "user", "content": content}])["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
    ]


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
def test_a_file_that_the_provider_stores_is_a_usage_error(wire: str) -> None:
    part = {"type": "file", "file": {"file_id": "file-1"}}
    with pytest.raises(errors.UsageError, match="'file'"):
        encode(wire, [{"role": "user", "content": [part]}])


def test_the_responses_api_takes_files_but_only_text_from_the_assistant() -> None:
    part = {"type": "file", "file": {"file_id": "file-1"}}
    native = encode("responses", [{"role": "user", "content": [part]}])
    assert native["input"][0]["content"] == [{"type": "input_file", "file_id": "file-1"}]
    with pytest.raises(errors.UsageError, match="of role 'assistant'"):
        encode("responses", [{"role": "assistant", "content": [part]}])


def test_a_refusal_in_the_history_is_sent_as_text() -> None:
    message = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert encode("anthropic", [message])["messages"] == [{"role": "assistant", "content": "No."}]
    assert encode("responses", [message])["input"] == [{"role": "assistant", "content": "No."}]
    assert encode("gemini", [message])["contents"] == [{"role": "model", "parts": [{"text": "No."}]}]


@pytest.mark.parametrize("text", ["I look it up.", "", None])
def test_an_assistant_message_may_have_a_text_and_tool_calls(text: str | None) -> None:
    message = {"role": "assistant", "content": text, "tool_calls": [CALL]}
    blocks = encode("anthropic", [message])["messages"][0]["content"]
    items = encode("responses", [message])["input"]
    parts = encode("gemini", [message])["contents"][0]["parts"]
    assert len(blocks) == len(items) == len(parts) == (2 if text else 1)
    if text:
        assert (blocks[0]["text"], items[0]["content"], parts[0]["text"]) == (text, text, text)


def test_an_empty_assistant_message_is_kept() -> None:
    message = {"role": "assistant", "content": ""}
    assert encode("responses", [message])["input"] == [message]
    assert encode("gemini", [message])["contents"] == [{"role": "model", "parts": [{"text": ""}]}]


def test_native_content_parts_are_sent_unchanged() -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    cached = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    content = encode("anthropic", [{"role": "user", "content": [document, cached]}])["messages"][0]["content"]
    assert content == [document, cached]


def test_a_user_may_set_thinking_of_anthropic_directly() -> None:
    thinking = {"type": "between_tools"}
    assert added("anthropic", thinking=thinking) == {"thinking": thinking}
    assert added("anthropic", max_tokens=9, thinking=TOKENS) == {"max_tokens": 9, "thinking": TOKENS}
    both = added("anthropic", thinking={"display": "omitted"}, reasoning_effort="low")
    assert both["thinking"] == {"type": "adaptive", "display": "omitted"}

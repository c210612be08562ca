"""Translate chat requests into requests of Gemini's generateContent API. `gemini_reply` translates the replies."""

import re
from typing import Any
from urllib.parse import quote

import msgspec

from manycall import errors
from manycall.providers import chat_request
from manycall.providers.chat_request import Body, ChatMessage, ToolCall, rename

API = "The Gemini API"
THINKING_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
"""Thinking tokens for each reasoning_effort, for models before Gemini 3, as in Google's chat-compatible API."""
THINKING_LEVELS = ("minimal", "low", "medium", "high", "xhigh")
"""Thinking levels from Gemini 3 on, which cannot turn thinking off."""
_BEFORE_GEMINI_3 = re.compile(r"gemini-[12][.-]")


def url(base: str, model: str, stream: bool) -> str:
    """Return the URL, which contains the model and whether to stream."""
    path = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"{base.rstrip('/')}/{quote(path, safe='/')}:{method}"


def encode(body: Body) -> Body:
    """Return the body of the Gemini API for a chat body. The URL, not the body, contains the model and `stream`.

    Raises:
        UsageError: the API cannot express a part of the body.
    """
    system: list[Body] = []
    turns: list[Body] = []
    functions: dict[str, str] = {}
    for message in chat_request.messages_of(body):
        functions |= {call.id: call.function.name for call in message.tool_calls or ()}
        if message.role in ("system", "developer"):
            system += _parts(message)
            continue
        role = "model" if message.role == "assistant" else "user"
        parts = [_function_response(message, functions)] if message.role == "tool" else _turn(message)
        if turns and turns[-1]["role"] == role:  # the answers to parallel calls must be in one turn
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": role, "parts": parts})
    native: Body = {"contents": turns}
    if system:
        native["systemInstruction"] = {"parts": system}
    native = chat_request.merge(native, chat_request.translate(body, _RULES))
    if (effort := native.pop("reasoning_effort", None)) is not None:
        native = chat_request.merge(
            {"generationConfig": {"thinkingConfig": _thinking(effort, str(body["model"]))}}, native
        )
    return native


def _parts(message: ChatMessage) -> list[Body]:
    return [_part(part) for part in chat_request.parts_of(message)]


def _turn(message: ChatMessage) -> list[Body]:
    """Return the parts of a user or assistant message. An empty text next to tool calls is left out."""
    calls = [_function_call(call) for call in message.tool_calls or ()]
    return [part for part in _parts(message) if not calls or part != {"text": ""}] + calls


def _part(part: Body) -> Body:
    """Return a content part. Parts of the Gemini API are returned unchanged."""
    match part.get("type"):
        case "text":
            return {"text": part.get("text")}
        case "refusal":
            return {"text": part.get("refusal")}
        case "image_url":
            return _file(chat_request.image_url(part))
        case "input_audio":
            audio = chat_request.as_type("messages", part.get("input_audio"), dict[str, str])
            return {"inlineData": {"mimeType": f"audio/{audio.get('format')}", "data": audio.get("data")}}
        case "file":
            data = chat_request.as_type("messages", part.get("file"), Body).get("file_data")
            if isinstance(data, str):
                return _file(data)
            raise chat_request.unsupported_part(part, API, " without file_data")
        case "video_url":
            raise chat_request.unsupported_part(part, API)
    return part


def _file(url: str) -> Body:
    if (data := chat_request.split_data_url(url)) is not None:
        return {"inlineData": {"mimeType": data[0].partition(";")[0], "data": data[1]}}
    return {"fileData": {"fileUri": url}}


def _function_call(call: ToolCall) -> Body:
    """Return a tool call of the model, with the thought signature that Gemini 3 requires in later requests."""
    function: Body = {"name": call.function.name, "args": chat_request.arguments_of(call)}
    part: Body = {"functionCall": function | ({"id": call.id} if call.id else {})}
    google = (call.extra_content or {}).get("google")
    if isinstance(google, dict) and "thought_signature" in google:
        part["thoughtSignature"] = google["thought_signature"]
    return part


def _function_response(message: ChatMessage, functions: dict[str, str]) -> Body:
    """Return the result of a tool. The API identifies it by the function's name and requires an object."""
    call = message.tool_call_id or ""
    name = message.name or functions.get(call)
    if name is None:
        raise errors.UsageError(
            f"A tool message answers the call {call!r}, which no earlier message contains. {API} needs the name of "
            "the function: add the assistant message with the tool call, or the field 'name'."
        )
    text = chat_request.text_of(message, API)
    try:
        response = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        response = {"output": text}
    return {"functionResponse": {"name": name, "response": response} | ({"id": call} if call else {})}


def _thinking(effort: Any, model: str) -> Body:
    """Return the thinking parameters: a number of tokens before Gemini 3, then a level."""
    before_3 = _BEFORE_GEMINI_3.search(model) is not None
    allowed = tuple(THINKING_BUDGETS) if before_3 else THINKING_LEVELS
    if effort not in allowed:
        raise errors.UsageError(
            f"The model {model} has no equivalent of reasoning_effort {effort!r}. Use {', '.join(allowed)}."
        )
    if not before_3:
        return {"thinkingLevel": effort, "includeThoughts": True}
    return {"thinkingBudget": THINKING_BUDGETS[effort], "includeThoughts": effort != "none"}


def _response_format(value: Any) -> Body:
    wanted = chat_request.as_type("response_format", value, chat_request.ResponseFormat)
    if wanted.type == "text":
        return {}
    schema = {} if wanted.json_schema is None else {"responseJsonSchema": wanted.json_schema.schema}
    return {"generationConfig": {"responseMimeType": "application/json"} | schema}


def _tools(value: Any) -> Body:
    functions, native = chat_request.functions_of(value)
    declared = [{"functionDeclarations": [_declaration(function) for function in functions]}] if functions else []
    return {"tools": declared + native}


def _declaration(function: chat_request.ToolDefinition) -> Body:
    """Return a function declaration. The API has no `strict`: the mode VALIDATED of toolConfig is its equivalent."""
    if function.strict:
        raise errors.UsageError(f"{API} has no 'strict' for the tool {function.name!r}. Remove it.")
    optional = {"description": function.description, "parametersJsonSchema": function.parameters}
    return {"name": function.name} | {name: value for name, value in optional.items() if value is not None}


def _calling(mode: str, **extra: Any) -> Body:
    return {"toolConfig": {"functionCallingConfig": {"mode": mode, **extra}}}


_choose_tool = chat_request.choose(
    "tool_choice", API, {"auto": _calling("AUTO"), "required": _calling("ANY"), "none": _calling("NONE")}
)


def _tool_choice(value: Any) -> Body:
    if (name := chat_request.chosen_function(value)) is not None:
        return _calling("ANY", allowedFunctionNames=[name])
    return _choose_tool(value)


_SETTINGS = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "seed": "seed",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
"""Chat parameter -> field of generationConfig with the same meaning."""

_RULES: dict[str, chat_request.Rule] = {
    **{name: rename("generationConfig", native) for name, native in _SETTINGS.items()},
    "stop": lambda value: {"generationConfig": {"stopSequences": chat_request.stop_sequences(value)}},
    "response_format": _response_format,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "service_tier": chat_request.choose(
        "service_tier",
        API,
        {
            "auto": {},
            "default": {"serviceTier": "standard"},
            **{tier: {"serviceTier": tier} for tier in ("standard", "flex", "priority")},
        },
    ),
    "stream": chat_request.omit,
    "stream_options": chat_request.omit,
    **chat_request.unsupported(
        API,
        {
            "parallel_tool_calls": (True,),
            "logit_bias": ({},),
            "modalities": (["text"],),
            "store": (False,),
            **dict.fromkeys("audio function_call functions metadata prediction user verbosity".split(), ()),
            **dict.fromkeys("prompt_cache_key prompt_cache_retention safety_identifier".split(), ()),
            "web_search_options": (),
        },
    ),
}

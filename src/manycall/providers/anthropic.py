"""Translate chat requests into requests of Anthropic's Messages API. `anthropic_reply` translates the replies.

Other providers offer the Messages API too: DeepSeek, Moonshot, Zhipu, DashScope, vLLM, SGLang and llama.cpp.
"""

import re
from collections.abc import Callable
from typing import Any

from manycall import errors
from manycall.providers import chat_request
from manycall.providers.chat_request import Body, ChatMessage, rename

API = "The Anthropic Messages API"
VERSION = "2023-06-01"
"""Value of the header anthropic-version. From 2026-10-21 on, the API refuses temperature, top_p and top_k."""
DEFAULT_MAX_TOKENS = 16_384
"""Sent if the user sets no limit, because the API requires one, which includes the thinking text. It is below the
maximum of every current model, and below 21,333, above which Anthropic's SDK refuses a call without streaming. The
user's number of thinking tokens is added to it."""
THINKING_BUDGETS = {"low": 1024, "medium": 4096, "high": 12_288}
"""Thinking tokens for each reasoning_effort, for models up to Claude 4.5. 1,024 is the API's minimum."""
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_MAPS_OF_SCHEMAS = ("properties", "$defs", "definitions")
_SCHEMAS = ("items", "prefixItems", "anyOf", "allOf", "oneOf", "additionalProperties")
_CLAUDE_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")


def url(base: str, model: str, stream: bool) -> str:
    """Return the URL. Like Anthropic's SDK, append /v1/messages to a base URL with or without /v1."""
    return base.rstrip("/").removesuffix("/messages").removesuffix("/v1") + "/v1/messages"


def encode(body: Body) -> Body:
    """Return the body of the Messages API for a chat body.

    Raises:
        UsageError: the API cannot express a part of the body.
    """
    system: list[Body] = []
    turns: list[Body] = []
    for message in chat_request.messages_of(body):
        if message.role in ("system", "developer"):
            system += _blocks(message)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _TURNS[message.role](message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    native: Body = {
        "model": body["model"],
        "messages": [turn | {"content": _shortest(turn["content"])} for turn in turns],
    }
    if system:
        native["system"] = _shortest(system)
    native = chat_request.merge(native, chat_request.translate(body, _RULES))
    budget = _thinking_budget(native)
    native.setdefault("max_tokens", DEFAULT_MAX_TOKENS + budget)
    # With tools, thinking between calls may take more than max_tokens.
    if budget and "tools" not in native and _CLAUDE_VERSION.search(str(body["model"])):
        _require_room(f"thinking of {body['model']}", budget, native["max_tokens"])
    if (effort := native.pop("reasoning_effort", None)) is not None:
        native = chat_request.merge(_thinking(effort, body["model"], native["max_tokens"]), native)
    return native


def _shortest(blocks: list[Body]) -> str | list[Body]:
    """Return the text of a single plain text block, else the blocks."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _blocks(message: ChatMessage) -> list[Body]:
    return [_block(part) for part in chat_request.parts_of(message)]


def _block(part: Body) -> Body:
    """Return a content part as a block. Blocks of the Messages API are returned unchanged."""
    match part.get("type"):
        case "image_url":
            return {"type": "image", "source": _image_source(chat_request.image_url(part))}
        case "refusal":
            return {"type": "text", "text": part.get("refusal")}
        case "input_audio" | "file" | "video_url":
            raise chat_request.unsupported_part(part, API)
    return part


def _image_source(url: str) -> Body:
    if (data := chat_request.split_data_url(url)) is not None:
        return {"type": "base64", "media_type": data[0].partition(";")[0], "data": data[1]}
    return {"type": "url", "url": url}


def _assistant_turn(message: ChatMessage) -> list[Body]:
    """Return the blocks of an assistant message. The API refuses empty texts, and thinking without its signature."""
    blocks = [block for block in _blocks(message) if block != {"type": "text", "text": ""}]
    return blocks + [
        {"type": "tool_use", "id": call.id, "name": call.function.name, "input": chat_request.arguments_of(call)}
        for call in message.tool_calls or ()
    ]


def _tool_turn(message: ChatMessage) -> list[Body]:
    content = _shortest(_blocks(message))
    return [{"type": "tool_result", "tool_use_id": message.tool_call_id or "", "content": content}]


_TURNS: dict[str, Callable[[ChatMessage], list[Body]]] = {
    "user": _blocks,
    "assistant": _assistant_turn,
    "tool": _tool_turn,
}


def _tools(value: Any) -> Body:
    functions, native = chat_request.functions_of(value)
    return {"tools": [*map(_tool, functions), *native]}


def _tool(function: chat_request.ToolDefinition) -> Body:
    tool: Body = {"name": function.name, "input_schema": function.parameters or {"type": "object", "properties": {}}}
    optional = {"description": function.description, "strict": function.strict}
    return tool | {name: value for name, value in optional.items() if value is not None}


_choose_tool = chat_request.choose(
    "tool_choice",
    API,
    {
        choice: {"tool_choice": {"type": kind}}
        for choice, kind in (("auto", "auto"), ("required", "any"), ("none", "none"))
    },
)


def _tool_choice(value: Any) -> Body:
    if isinstance(value, dict) and value.get("type") in ("auto", "any", "tool", "none"):  # already Anthropic's spelling
        return {"tool_choice": value}
    if (name := chat_request.chosen_function(value)) is not None:
        return {"tool_choice": {"type": "tool", "name": name}}
    return _choose_tool(value)


def _response_format(value: Any) -> Body:
    wanted = chat_request.as_type("response_format", value, chat_request.ResponseFormat)
    if wanted.type == "text":
        return {}
    if wanted.json_schema is None:
        raise errors.UsageError(f"{API} returns JSON only for a schema. Use a response_format of type 'json_schema'.")
    return {"output_config": {"format": {"type": "json_schema", "schema": _closed(wanted.json_schema.schema)}}}


def _closed(schema: Any) -> Any:
    """Return a JSON schema with `additionalProperties: false` in each object with properties that does not set it.

    The API requires it. An object without properties remains open: closed, it would permit only {}.
    """
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {keyword: _closed_value(keyword, value) for keyword, value in schema.items()}
    if "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def _closed_value(keyword: str, value: Any) -> Any:
    if keyword in _MAPS_OF_SCHEMAS and isinstance(value, dict):
        return {name: _closed(each) for name, each in value.items()}
    return _closed(value) if keyword in _SCHEMAS else value


def _thinking_budget(native: Body) -> int:
    """Return the number of thinking tokens in the parameter `thinking`; 0 if it has none."""
    thinking = native.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return budget if isinstance(budget, int) else 0


def _require_room(name: str, budget: int, max_tokens: Any) -> None:
    if not isinstance(max_tokens, int) or max_tokens <= budget:
        raise errors.UsageError(
            f"{name} is {budget:,} thinking tokens, which max_tokens includes. Set max_tokens above {budget}."
        )


def _thinking(effort: Any, model: str, max_tokens: Any) -> Body:
    """Return the thinking parameters. Claude up to 4.5 takes a number of tokens, newer models take a level.

    A few newer models refuse `disabled`. Their names are not listed here: the API's error names the remedy.
    """
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    version = _CLAUDE_VERSION.search(str(model))
    if version is None or (int(version[1]), int(version[2] or 0)) > (4, 5):
        if effort not in _EFFORTS:
            raise errors.UsageError(f"{API} has no reasoning_effort {effort!r}. Use none, {', '.join(_EFFORTS)}.")
        # The default of `display` is to return no thinking text.
        return {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": effort}}
    if effort not in THINKING_BUDGETS:
        levels = ", ".join(THINKING_BUDGETS)
        raise errors.UsageError(
            f"The model {model} takes a number of thinking tokens, and manycall has none for reasoning_effort "
            f"{effort!r}. Use none, {levels}, or set thinking to {{'type': 'enabled', 'budget_tokens': N}}."
        )
    budget = THINKING_BUDGETS[effort]
    _require_room(f"reasoning_effort {effort!r} of {model}", budget, max_tokens)
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


_RULES: dict[str, chat_request.Rule] = {
    "max_completion_tokens": rename("max_tokens"),
    "stop": lambda value: {"stop_sequences": chat_request.stop_sequences(value)},
    "user": rename("metadata", "user_id"),
    "response_format": _response_format,
    "tools": _tools,
    "parallel_tool_calls": chat_request.choose(
        "parallel_tool_calls",
        API,
        {True: {}, False: {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}},
    ),
    "tool_choice": _tool_choice,
    "service_tier": chat_request.choose(
        "service_tier",
        API,
        {
            "auto": {"service_tier": "auto"},
            "default": {"service_tier": "standard_only"},
            "standard_only": {"service_tier": "standard_only"},
        },
    ),
    "stream_options": chat_request.omit,  # the API always sends the token counts
    # vLLM ignores its own spelling here, and accepts 1,024 tokens or more.
    "thinking_token_budget": lambda tokens: {"thinking": {"type": "enabled", "budget_tokens": tokens}},
    **chat_request.unsupported(
        API,
        {
            "n": (1,),
            "seed": (),
            "logprobs": (False,),
            "top_logprobs": (0,),
            "frequency_penalty": (0,),
            "presence_penalty": (0,),
            "logit_bias": ({},),
            "modalities": (["text"],),
            "store": (False,),
            **dict.fromkeys("audio function_call functions prediction verbosity web_search_options".split(), ()),
            **dict.fromkeys("prompt_cache_key prompt_cache_retention safety_identifier".split(), ()),
        },
    ),
}

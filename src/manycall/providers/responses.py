"""Translate chat requests into requests of OpenAI's Responses API. `responses_reply` translates the replies.

Some models have no chat API: gpt-5.5-pro, o3-pro, the codex and deep-research models. Others return a summary of their
thinking only here.
"""

from collections.abc import Callable
from typing import Any

from manycall.providers import chat_request
from manycall.providers.chat_request import Body, ChatMessage, rename

API = "The Responses API"


def url(base: str, model: str, stream: bool) -> str:
    """Return the URL."""
    return base.rstrip("/").removesuffix("/responses") + "/responses"


def encode(body: Body) -> Body:
    """Return the body of the Responses API for a chat body.

    The server does not store the response unless `store` is set. Every message keeps its role and its place.

    Raises:
        UsageError: the API cannot express a part of the body.
    """
    items = [item for message in chat_request.messages_of(body) for item in _ITEMS[message.role](message)]
    native: Body = {"model": body["model"], "input": items, "store": False}
    return chat_request.merge(native, chat_request.translate(body, _RULES))


def _message(message: ChatMessage) -> list[Body]:
    content = message.content
    if not isinstance(content, str):
        content = [_part(part) for part in chat_request.parts_of(message)]
    return [{"role": message.role, "content": content}]


def _part(part: Body) -> Body:
    """Return a content part. Parts of the Responses API are returned unchanged."""
    match part.get("type"):
        case "text":
            return {"type": "input_text", "text": part.get("text")}
        case "image_url":
            image = part.get("image_url")
            detail = image.get("detail") if isinstance(image, dict) else None
            return {"type": "input_image", "image_url": chat_request.image_url(part), "detail": detail or "auto"}
        case "file":
            return {"type": "input_file", **chat_request.as_type("messages", part.get("file"), Body)}
        case "input_audio" | "video_url":
            raise chat_request.unsupported_part(part, API)
    return part


def _assistant(message: ChatMessage) -> list[Body]:
    """Return the text, then the tool calls. The text is a string, which servers other than OpenAI accept too."""
    text = chat_request.text_of(message, API)
    calls = [
        {
            "type": "function_call",
            "call_id": call.id,
            "name": call.function.name,
            "arguments": call.function.arguments or "{}",
        }
        for call in message.tool_calls or ()
    ]
    return [{"role": "assistant", "content": text}, *calls] if text or not calls else calls


def _tool(message: ChatMessage) -> list[Body]:
    output = _message(message)[0]["content"]
    return [{"type": "function_call_output", "call_id": message.tool_call_id or "", "output": output}]


_ITEMS: dict[str, Callable[[ChatMessage], list[Body]]] = {
    "system": _message,
    "developer": _message,
    "user": _message,
    "assistant": _assistant,
    "tool": _tool,
}


def _reasoning_effort(effort: Any) -> Body:
    """Return the effort, with a request for the summary, which is the only thinking text that OpenAI returns.

    OpenAI sends summaries only to verified organizations. Others set the parameter reasoning to {"summary": null}.
    """
    return {"reasoning": {"effort": effort} | ({} if effort == "none" else {"summary": "auto"})}


def _response_format(value: Any) -> Body:
    wanted = chat_request.as_type("response_format", value, chat_request.ResponseFormat)
    if wanted.json_schema is None:
        return {"text": {"format": {"type": wanted.type}}}
    schema = wanted.json_schema
    optional = {"description": schema.description, "strict": schema.strict}
    format_ = {"type": "json_schema", "name": schema.name, "schema": schema.schema}
    return {"text": {"format": format_ | {name: each for name, each in optional.items() if each is not None}}}


def _tools(value: Any) -> Body:
    functions, native = chat_request.functions_of(value)
    return {"tools": [*map(_function, functions), *native]}


def _function(function: chat_request.ToolDefinition) -> Body:
    """Return a tool. `strict` is always set, because its default is true here and false in the chat API."""
    tool: Body = {
        "type": "function",
        "name": function.name,
        "parameters": function.parameters or {"type": "object", "properties": {}},
        "strict": bool(function.strict),
    }
    return tool if function.description is None else tool | {"description": function.description}


def _tool_choice(value: Any) -> Body:
    name = chat_request.chosen_function(value)
    return {"tool_choice": value if name is None else {"type": "function", "name": name}}


def _stream_options(value: Any) -> Body:
    """Return the options without include_usage: the API always sends the token counts."""
    options = dict(chat_request.as_type("stream_options", value, Body))
    options.pop("include_usage", None)
    return {"stream_options": options} if options else {}


_RULES: dict[str, chat_request.Rule] = {
    "max_tokens": rename("max_output_tokens"),
    "max_completion_tokens": rename("max_output_tokens"),
    "reasoning_effort": _reasoning_effort,
    "response_format": _response_format,
    "verbosity": rename("text", "verbosity"),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "stream_options": _stream_options,
    "logprobs": chat_request.choose("logprobs", API, {True: {"include": ["message.output_text.logprobs"]}, False: {}}),
    **chat_request.unsupported(
        API,
        {
            "n": (1,),
            "seed": (),
            "stop": ([],),
            "frequency_penalty": (0,),
            "presence_penalty": (0,),
            "logit_bias": ({},),
            "modalities": (["text"],),
            "thinking_token_budget": (),  # vLLM accepts it and ignores it
            **dict.fromkeys("audio function_call functions prediction web_search_options".split(), ()),
        },
    ),
}

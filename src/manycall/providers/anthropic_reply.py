"""Translate replies of Anthropic's Messages API, streamed or not, into chat completions."""

from typing import Any

import msgspec

from manycall import errors
from manycall.providers import reply_builder
from manycall.providers.reply_builder import Count
from manycall.providers.stream_events import SseEvent

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
ERROR_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP status of each error type, for errors inside a stream."""


class _Block(msgspec.Struct):
    type: str
    text: str | None = ""
    thinking: str | None = ""
    id: str | None = ""
    name: str | None = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Reply(msgspec.Struct):
    content: list[_Block]
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    usage: msgspec.Raw = msgspec.Raw()


_decode_reply = msgspec.json.Decoder(_Reply)
_decode_object = msgspec.json.Decoder(dict[str, Any])


def decode(body: bytes) -> bytes:
    """Return the chat completion that is equivalent to a reply of the Messages API.

    Raises:
        InvalidResponse: the body is not a message.
        HttpStatusError: the body is an error.
    """
    reply = reply_builder.parse_reply(body, _decode_reply, ERROR_STATUSES)
    arguments = [reply_builder.compact_json(bytes(b.input)) for b in reply.content if b.type == "tool_use"]
    return _as_chat(reply, arguments, reply_builder.decode_optional(reply.usage, _decode_object))


def _as_chat(reply: _Reply, arguments: list[str], used: dict[str, Any] | None) -> bytes:
    """Return the chat completion. `arguments` has the JSON text of each tool call."""
    calls = [block for block in reply.content if block.type == "tool_use"]
    stop = reply.stop_reason
    choice = reply_builder.choice(
        FINISH_REASONS.get(stop, stop) if stop else None,
        stop,
        text="".join(block.text or "" for block in reply.content if block.type == "text"),
        reasoning="\n\n".join(block.thinking for block in reply.content if block.type == "thinking" and block.thinking),
        refusal=str((reply.stop_details or {}).get("explanation") or "") if stop == "refusal" else "",
        tool_calls=[
            reply_builder.tool_call(block.id or "", block.name or "", text)
            for block, text in zip(calls, arguments, strict=True)
        ],
        stop_sequence=reply.stop_sequence,
        stop_details=reply.stop_details,
    )
    tier = (used or {}).get("service_tier")
    tier = "default" if tier == "standard" else tier
    return reply_builder.completion(
        reply.id, reply.model, [choice], _usage(used), service_tier=tier if isinstance(tier, str) else None
    )


class _Details(msgspec.Struct):
    thinking_tokens: Count = None


class _Usage(msgspec.Struct):
    input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None
    output_tokens: Count = None
    output_tokens_details: _Details | None = None


_PRICED_FIELDS = ("cache_creation", "inference_geo", "speed", "server_tool_use")
"""Fields of the usage that decide the price. They are kept as they are."""


def _usage(used: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the token counts. The three counts of input tokens do not overlap."""
    if used is None:
        return None
    try:
        counts = msgspec.convert(used, _Usage)
    except msgspec.ValidationError:
        return None
    details = counts.output_tokens_details
    read, written = counts.cache_read_input_tokens, counts.cache_creation_input_tokens
    return reply_builder.chat_usage(
        reply_builder.total(counts.input_tokens, read, written),
        reply_builder.total(counts.output_tokens),
        cached=reply_builder.total(read),
        cache_write=reply_builder.total(written),
        reasoning=reply_builder.total(details.thinking_tokens if details else 0),
        **{name: used.get(name) for name in _PRICED_FIELDS},
    )


class _Delta(msgspec.Struct):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None


class _Event(reply_builder.StreamUpdate):
    index: int = 0
    message: _Reply | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = msgspec.Raw()


_decode_event = msgspec.json.Decoder(_Event)


class AnthropicFold:
    """Assembles the events of a streamed message.

    The events are message_start, then content_block_start and content_block_delta for each block, then message_delta
    with the stop reason. Other events, such as ping, are skipped.
    """

    def __init__(self) -> None:
        self._reply: _Reply | None = None
        self._blocks: dict[int, _Block] = {}
        self._pieces: dict[int, list[str]] = {}
        self._usage: dict[str, Any] = {}
        self._error: errors.CallError | None = None

    def push(self, event: SseEvent) -> None:
        """Add the next event."""
        if self._error is not None or event.data == b"[DONE]":
            return
        try:
            self._add(event)
        except errors.CallError as error:
            self._error = error

    def _add(self, event: SseEvent) -> None:
        update = reply_builder.parse_event(event, _decode_event, ERROR_STATUSES)
        match update:
            case _Event(type="message_start", message=_Reply() as reply):
                self._reply = reply
                self._add_usage(reply.usage)
            case _Event(type="content_block_start", content_block=_Block() as block):
                self._blocks[update.index] = block
                self._pieces[update.index] = []
            case _Event(type="content_block_delta", delta=_Delta() as delta):
                if update.index not in self._pieces:
                    raise errors.InvalidResponse("The stream continues a block that it did not start.", body=event.data)
                self._pieces[update.index].append(delta.text or delta.thinking or delta.partial_json)
            case _Event(type="message_delta", delta=_Delta() as delta) if self._reply is not None:
                self._reply.stop_reason = delta.stop_reason or self._reply.stop_reason
                self._reply.stop_sequence = delta.stop_sequence or self._reply.stop_sequence
                self._reply.stop_details = delta.stop_details or self._reply.stop_details
                self._add_usage(update.usage)

    def _add_usage(self, raw: msgspec.Raw) -> None:
        """Replace the counts with newer ones, which are totals."""
        used = reply_builder.decode_optional(raw, _decode_object)
        self._usage |= {name: value for name, value in (used or {}).items() if value is not None}

    def finish(self) -> bytes:
        """Return the chat completion, equal to `decode` of the unstreamed message."""
        if self._error is not None:
            raise self._error
        if self._reply is None or self._reply.stop_reason is None:
            raise errors.IncompleteResponse("The stream ended before the message had a stop_reason.")
        arguments = []
        for index, block in sorted(self._blocks.items()):
            text = "".join(self._pieces[index])
            match block.type:
                case "text":
                    block.text = (block.text or "") + text
                case "thinking":
                    block.thinking = (block.thinking or "") + text
                case "tool_use":
                    arguments.append(reply_builder.compact_json(text.encode() or bytes(block.input)))
        self._reply.content = [block for _, block in sorted(self._blocks.items())]
        return _as_chat(self._reply, arguments, self._usage or None)

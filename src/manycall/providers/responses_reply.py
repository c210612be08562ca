"""Translate replies of OpenAI's Responses API, streamed or not, into chat completions."""

from typing import Any

import msgspec

from manycall import errors
from manycall.providers import reply_builder
from manycall.providers.malformed_body import malformed_reason
from manycall.providers.reply_builder import Count
from manycall.providers.stream_events import SseEvent

INCOMPLETE_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}
ERROR_STATUSES = {
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "vector_store_timeout": 504,
    **dict.fromkeys(
        "data_residency_mismatch invalid_image invalid_image_format invalid_base64_image invalid_image_url "
        "image_too_large image_too_small image_parse_error invalid_image_mode image_file_too_large "
        "unsupported_image_media_type empty_image_file failed_to_download_image image_file_not_found "
        "unsupported_parameter unsupported_value invalid_request_error context_length_exceeded".split(),
        400,
    ),
}
"""Code of a failed response -> the status with which the chat API reports the error. Others: 500."""
FILTER_CODES = {
    "invalid_prompt",
    "bio_policy",
    "cyber_policy",
    "content_policy_violation",
    "image_content_policy_violation",
    "misalignment_policy_violation",
}
"""Codes of a failed response that mean a content filter."""
_ITEM_TYPES = ("message", "reasoning", "function_call")


class _Text(msgspec.Struct):
    type: str
    text: str | None = ""
    refusal: str | None = ""
    logprobs: list[dict[str, Any]] | None = None


class _Item(msgspec.Struct):
    type: str
    content: list[_Text] | None = None
    summary: list[_Text] | None = None
    phase: str | None = None
    call_id: str | None = ""
    name: str | None = ""
    arguments: str | None = ""

    def texts(self, kind: str) -> list[_Text]:
        return [each for each in self.content or () if each.type == kind]


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Reply(msgspec.Struct):
    output: list[dict[str, Any]]
    id: str | None = None
    model: str | None = None
    created_at: Count = None
    status: str | None = "completed"
    error: dict[str, Any] | None = None
    incomplete_details: _Reason | None = None
    service_tier: str | None = None
    usage: msgspec.Raw = msgspec.Raw()


class _CachedTokens(msgspec.Struct):
    cached_tokens: Count = None
    cache_write_tokens: Count = None


class _ReasoningTokens(msgspec.Struct):
    reasoning_tokens: Count = None


class _Usage(msgspec.Struct):
    input_tokens: Count = None
    output_tokens: Count = None
    input_tokens_details: _CachedTokens | None = None
    output_tokens_details: _ReasoningTokens | None = None


_decode_reply = msgspec.json.Decoder(_Reply)
_decode_usage = msgspec.json.Decoder(_Usage | None)


def decode(body: bytes) -> bytes:
    """Return the chat completion that is equivalent to a reply of the Responses API.

    Raises:
        HttpStatusError: the response failed, which the API reports with status 200.
        InvalidResponse: the body is not a response, or the response is not finished.
    """
    return _as_chat(reply_builder.parse_reply(body, _decode_reply, ERROR_STATUSES), body)


def _as_chat(reply: _Reply, body: bytes) -> bytes:
    finish, native = _finish(reply, body)
    items = _items(reply, body)
    messages = [item for item in items if item.type == "message"]
    answers = [item for item in messages if item.phase != "commentary"]
    texts = [text for item in answers for text in item.texts("output_text")]
    logprobs = [each for text in texts for each in text.logprobs or ()]
    refusal = "".join(each.refusal or "" for item in answers for each in item.texts("refusal"))
    if not refusal and reply.error is not None:
        refusal = str(reply.error.get("message") or "")
    choice = reply_builder.choice(
        finish,
        native,
        text="".join(text.text or "" for text in texts),
        reasoning="\n\n".join(each for item in items if item.type == "reasoning" for each in _thought(item)),
        refusal=refusal,
        tool_calls=[
            reply_builder.tool_call(item.call_id or "", item.name or "", item.arguments or "{}")
            for item in items
            if item.type == "function_call"
        ],
        logprobs={"content": logprobs, "refusal": None} if logprobs else None,
    )
    commentary = "\n\n".join(
        text.text or "" for item in messages if item.phase == "commentary" for text in item.texts("output_text")
    )
    if commentary:
        choice["message"]["commentary"] = commentary
    return reply_builder.completion(
        reply.id,
        reply.model,
        [choice],
        _usage(reply.usage),
        created=int(reply.created_at or 0),
        service_tier=reply.service_tier,
    )


def _items(reply: _Reply, body: bytes) -> list[_Item]:
    """Return the items that the chat API can express. Others, such as those of hosted tools, have other fields."""
    try:
        return [msgspec.convert(each, _Item) for each in reply.output if each.get("type") in _ITEM_TYPES]
    except msgspec.ValidationError as error:
        raise errors.InvalidResponse(malformed_reason(body, error), body=body) from None


def _thought(item: _Item) -> list[str]:
    """Return the thinking text of a reasoning item: the text itself if the server sends it, else its summary."""
    return [each.text for each in item.content or item.summary or () if each.text]


def _finish(reply: _Reply, body: bytes) -> tuple[str, str]:
    """Return the finish reason in the spellings of the chat API and of the Responses API."""
    match reply.status:
        case "completed" | None:
            return "stop", "completed"
        case "incomplete":
            native = (reply.incomplete_details and reply.incomplete_details.reason) or "incomplete"
            return INCOMPLETE_REASONS.get(native, native), native
        case "failed":
            error = reply.error or {}
            code = str(error.get("code"))
            if code in FILTER_CODES:
                return "content_filter", code
            raise reply_builder.status_error(error, ERROR_STATUSES)
    raise errors.InvalidResponse(
        f"The response has no answer: its status is {reply.status!r}. Do not set 'background'.", body=body
    )


def _usage(raw: msgspec.Raw) -> dict[str, Any] | None:
    counts = reply_builder.decode_optional(raw, _decode_usage)
    if counts is None:
        return None
    cached, details = counts.input_tokens_details, counts.output_tokens_details
    return reply_builder.chat_usage(
        reply_builder.total(counts.input_tokens),
        reply_builder.total(counts.output_tokens),
        cached=reply_builder.total(cached.cached_tokens if cached else 0),
        cache_write=reply_builder.total(cached.cache_write_tokens if cached else 0),
        reasoning=reply_builder.total(details.reasoning_tokens if details else 0),
    )


class _Event(reply_builder.StreamUpdate):
    response: msgspec.Raw = msgspec.Raw()


_decode_event = msgspec.json.Decoder(_Event)
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")
_PARSED_EVENTS = {"", "message", "error", *_LAST_EVENTS}


class ResponsesFold:
    """Keeps the last event of a streamed response, which contains the whole response. Other events are not parsed."""

    def __init__(self) -> None:
        self._response: bytes | None = None
        self._error: errors.CallError | None = None

    def push(self, event: SseEvent) -> None:
        """Add the next event."""
        if event.event not in _PARSED_EVENTS:
            return
        if event.data == b"[DONE]" or self._error is not None or self._response is not None:
            return
        try:
            self._add(event)
        except errors.CallError as error:
            self._error = error

    def _add(self, event: SseEvent) -> None:
        update = reply_builder.parse_event(event, _decode_event, ERROR_STATUSES)
        if update.type in _LAST_EVENTS:
            self._response = bytes(update.response)

    def finish(self) -> bytes:
        """Return the chat completion, equal to `decode` of the unstreamed response."""
        if self._error is not None:
            raise self._error
        if self._response is None:
            raise errors.IncompleteResponse("The stream ended before the response was complete.")
        return decode(self._response)

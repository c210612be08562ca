"""Build the chat completion that is equivalent to a native reply, and parse native replies and errors."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from manycall import errors
from manycall.providers.error_body import MAX_ERROR_CHARACTERS, one_line
from manycall.providers.lone_surrogates import without_lone_surrogates
from manycall.providers.malformed_body import malformed_reason
from manycall.providers.openai import MAX_VALUES
from manycall.providers.stream_events import SseEvent
from manycall.records import DECODE_ERRORS
from manycall.render import as_text

T = TypeVar("T")
Count = int | float | None


def tool_call(call_id: str, name: str, arguments: str, **extra: Any) -> dict[str, Any]:
    """Return a tool call of a chat message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **extra}


def choice(
    finish: str | None,
    native: str | None,
    *,
    text: str,
    reasoning: str = "",
    refusal: str = "",
    tool_calls: Sequence[dict[str, Any]] = (),
    index: int = 0,
    **extra: Any,
) -> dict[str, Any]:
    """Return one choice of a chat completion.

    Args:
        finish: the finish reason in the chat API's spelling. "stop" becomes "tool_calls" if there are tool calls.
        native: the finish reason in the provider's spelling.
        extra: further fields of the choice. Fields that are None are omitted.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if tool_calls or refusal else "")}
    optional = {"reasoning_content": reasoning, "refusal": refusal, "tool_calls": list(tool_calls)}
    message |= {name: value for name, value in optional.items() if value}
    if tool_calls and finish == "stop":
        finish = "tool_calls"
    kept = {name: value for name, value in extra.items() if value is not None}
    return {"index": index, "message": message, "finish_reason": finish, "native_finish_reason": native} | kept


def chat_usage(
    prompt: int, completion: int, *, cached: int = 0, cache_write: int = 0, reasoning: int = 0, **extra: Any
) -> dict[str, Any]:
    """Return the token counts in the chat API's spelling. `prompt` includes cached tokens, `completion` reasoning."""
    counts: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    if cache_write:
        counts["prompt_tokens_details"]["cache_write_tokens"] = cache_write
    return counts | {name: value for name, value in extra.items() if value is not None}


def total(*counts: Count) -> int:
    """Return the sum of token counts. Counts that are missing or negative are zero."""
    return sum(int(max(count or 0, 0)) for count in counts)


def completion(
    reply_id: str | None,
    model: str | None,
    choices: Sequence[dict[str, Any]],
    counts: dict[str, Any] | None,
    *,
    created: int = 0,
    service_tier: str | None = None,
) -> bytes:
    """Return the bytes of a chat completion. `created` is 0 if the provider does not send a time."""
    body: dict[str, Any] = {
        "id": reply_id or "",
        "object": "chat.completion",
        "created": created,
        "model": model or "",
        "choices": list(choices),
    }
    optional = {"usage": counts, "service_tier": service_tier}
    return msgspec.json.encode(body | {name: value for name, value in optional.items() if value is not None})


def compact_json(raw: bytes) -> str:
    """Return JSON as text in one spelling, so that streamed and unstreamed tool arguments are equal.

    Arguments that are not valid JSON, because the answer was truncated, are returned as they are.
    """
    try:
        return msgspec.json.encode(msgspec.json.decode(raw)).decode()
    except DECODE_ERRORS:
        return raw.decode("utf-8", "replace")


def parse_reply(body: bytes, decoder: msgspec.json.Decoder[T], statuses: Mapping[str, int]) -> T:
    """Return a native reply with status 200, or a chunk of it.

    Args:
        statuses: error type -> the HTTP status with which the provider documents it.

    Raises:
        HttpStatusError: the body is an error.
        InvalidResponse: the body is not a reply of this API.
    """
    if len(body) > MAX_VALUES and body.count(b",") > MAX_VALUES:
        raise errors.InvalidResponse(f"The response contains more than {MAX_VALUES:,} values.", body=body)
    try:
        try:
            reply = decoder.decode(body)
        except DECODE_ERRORS:
            reply = decoder.decode(without_lone_surrogates(body))
    except DECODE_ERRORS as error:
        if (reported := reported_error(body, statuses)) is not None:
            raise reported from None
        raise errors.InvalidResponse(malformed_reason(body, error), body=body) from None
    return reply


class StreamUpdate(msgspec.Struct):
    """The fields that the events of every stream may have."""

    type: str = ""
    error: msgspec.Raw = msgspec.Raw()


U = TypeVar("U", bound=StreamUpdate)


def parse_event(event: SseEvent, decoder: msgspec.json.Decoder[U], statuses: Mapping[str, int]) -> U:
    """Return the data of an event. Gateways send errors without the event name "error".

    Raises:
        HttpStatusError: the event is an error.
        InvalidResponse: the event is malformed.
    """
    update = parse_reply(event.data, decoder, statuses)
    is_error = "error" in (event.event, update.type)
    if (is_error or update.error) and (error := reported_error(event.data, statuses)) is not None:
        raise error
    if is_error:
        raise errors.InvalidResponse("The stream contains an error without details.", body=event.data)
    return update


def decode_optional(raw: msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Return a part of a reply; None if it is missing or malformed. Malformed token counts must not lose an answer."""
    try:
        return decoder.decode(raw)
    except DECODE_ERRORS:
        return None


def reported_error(body: bytes, statuses: Mapping[str, int]) -> errors.HttpStatusError | None:
    """Return the error in a body or event with status 200, as if the server had sent it with its own status.

    The formats are {"error": {…}}, a list with one such object (Gemini), and a flat object with type "error"
    (Responses). The exception's body is always {"error": {…}}.
    """
    try:
        value: Any = msgspec.json.decode(body[:MAX_ERROR_CHARACTERS])
    except DECODE_ERRORS:
        return None
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    inner = value.get("error") or (value if value.get("type") == "error" else None)
    return None if not inner else status_error(inner if isinstance(inner, dict) else {"message": inner}, statuses)


def status_error(error: dict[str, Any], statuses: Mapping[str, int]) -> errors.HttpStatusError:
    """Return the exception for an error object. A `code` from 100 to 599 is its HTTP status."""
    code, status = error.get("code"), None
    if isinstance(code, int) and 100 <= code <= 599:
        code, status = None, code
    name = next((each for each in (code, error.get("status"), error.get("type")) if each), "")
    name = str(name).lower()[:100]
    return errors.HttpStatusError(
        f"The response has status 200 but contains an error: {one_line(as_text(error.get('message') or error))}",
        status=status or statuses.get(name, 500),
        code=name,
        body=msgspec.json.encode({"error": error}),
    )

"""Translate replies of Gemini's generateContent API, streamed or not, into chat completions."""

from typing import Any, TypeVar

import msgspec

from manycall import errors
from manycall.providers import reply_builder
from manycall.providers.reply_builder import Count
from manycall.providers.stream_events import SseEvent

T = TypeVar("T")

FINISH_REASONS = {
    "STOP": "stop",
    **dict.fromkeys(["MAX_TOKENS", "CONTINUATION"], "length"),
    **dict.fromkeys("SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT SPII OTHER".split(), "content_filter"),
    **dict.fromkeys("MODEL_ARMOR IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT IMAGE_RECITATION".split(), "content_filter"),
    **dict.fromkeys("MALFORMED_FUNCTION_CALL MALFORMED_RESPONSE UNEXPECTED_TOOL_CALL".split(), "error"),
    **dict.fromkeys("TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE IMAGE_OTHER NO_IMAGE".split(), "error"),
}
"""The finish reason "error" means that the answer is broken. Unknown reasons are returned in lower case."""
SERVICE_TIERS = {"ON_DEMAND": "default", "ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}
ERROR_STATUSES = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "resource_exhausted": 429,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
}


class _FunctionCall(msgspec.Struct):
    name: str | None = ""
    id: str | None = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = False
    function_call: _FunctionCall | None = None
    thought_signature: str | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Token(msgspec.Struct, rename="camel"):
    token: str | None = ""
    log_probability: float | None = None


class _TopTokens(msgspec.Struct):
    candidates: list[_Token] | None = None


class _Logprobs(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Token] | None = None
    top_candidates: list[_TopTokens] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    index: int | None = 0
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    logprobs_result: _Logprobs | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Reply(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    response_id: str | None = None
    model_version: str | None = None
    usage_metadata: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: Count = None
    cached_content_token_count: Count = None
    candidates_token_count: Count = None
    thoughts_token_count: Count = None
    tool_use_prompt_token_count: Count = None
    traffic_type: str | None = None


_decode_reply = msgspec.json.Decoder(_Reply)
_decode_usage = msgspec.json.Decoder(_Usage | None)


def decode(body: bytes) -> bytes:
    """Return the chat completion that is equivalent to a reply of the Gemini API.

    A blocked prompt becomes a choice without a text and with the finish reason "content_filter".

    Raises:
        InvalidResponse: the body is not a reply.
        HttpStatusError: the body is an error.
    """
    return _as_chat(_parse(body))


def _parse(body: bytes) -> _Reply:
    reply = reply_builder.parse_reply(body, _decode_reply, ERROR_STATUSES)
    if reply.error and (error := reply_builder.reported_error(body, ERROR_STATUSES)) is not None:
        raise error
    return reply


def _as_chat(reply: _Reply) -> bytes:
    candidates = sorted(reply.candidates or (), key=lambda candidate: candidate.index or 0)
    choices = [_choice(candidate) for candidate in candidates]
    feedback = reply.prompt_feedback
    if not choices and feedback is not None and feedback.block_reason:
        refusal = feedback.block_reason_message or f"The prompt was blocked: {feedback.block_reason}."
        choices = [reply_builder.choice("content_filter", feedback.block_reason, text="", refusal=refusal)]
    counts = reply_builder.decode_optional(reply.usage_metadata, _decode_usage)
    return reply_builder.completion(
        reply.response_id,
        reply.model_version,
        choices,
        _usage(counts),
        service_tier=SERVICE_TIERS.get((counts and counts.traffic_type) or ""),
    )


def _choice(candidate: _Candidate) -> dict[str, Any]:
    parts = (candidate.content and candidate.content.parts) or []
    native = candidate.finish_reason
    finish = FINISH_REASONS.get(native, native.lower()) if native else None
    index = candidate.index or 0
    return reply_builder.choice(
        finish,
        native,
        text="".join(part.text or "" for part in parts if not part.thought),
        reasoning="".join(part.text or "" for part in parts if part.thought),
        refusal=(candidate.finish_message or "") if finish == "content_filter" else "",
        tool_calls=_tool_calls(index, parts),
        index=index,
        logprobs=_logprobs(candidate.logprobs_result),
    )


def _tool_calls(index: int, parts: list[_Part]) -> list[dict[str, Any]]:
    """Return the tool calls. Calls without an id are numbered, because chat requests refer to calls by id."""
    calls = [(part.function_call, part.thought_signature) for part in parts if part.function_call is not None]
    return [
        reply_builder.tool_call(
            call.id or f"call_{index}_{number}",
            call.name or "",
            reply_builder.compact_json(bytes(call.args)),
            **({"extra_content": {"google": {"thought_signature": signature}}} if signature else {}),
        )
        for number, (call, signature) in enumerate(calls)
    ]


def _logprobs(result: _Logprobs | None) -> dict[str, Any] | None:
    """Return the log probabilities in the chat API's spelling."""
    if result is None or not result.chosen_candidates:
        return None
    chosen, tops = result.chosen_candidates, result.top_candidates or []
    tops = tops + [_TopTokens()] * (len(chosen) - len(tops))
    content = [
        _token(token) | {"top_logprobs": [_token(each) for each in top.candidates or ()]}
        for token, top in zip(chosen, tops, strict=False)
    ]
    return {"content": content, "refusal": None}


def _token(token: _Token) -> dict[str, Any]:
    text = token.token or ""
    return {"token": text, "logprob": token.log_probability, "bytes": list(text.encode("utf-8", "replace"))}


def _usage(counts: _Usage | None) -> dict[str, Any] | None:
    """Return the token counts. `promptTokenCount` includes cached tokens; thinking tokens are separate."""
    if counts is None:
        return None
    return reply_builder.chat_usage(
        reply_builder.total(counts.prompt_token_count, counts.tool_use_prompt_token_count),
        reply_builder.total(counts.candidates_token_count, counts.thoughts_token_count),
        cached=reply_builder.total(counts.cached_content_token_count),
        reasoning=reply_builder.total(counts.thoughts_token_count),
    )


class GeminiFold:
    """Assembles the chunks of a streamed reply. Each is a reply with the next parts of some candidates.

    The stream has no last event: an answer is complete when every candidate has a finish reason.
    """

    def __init__(self) -> None:
        self._reply = _Reply()
        self._candidates: dict[int, _Candidate] = {}
        self._error: errors.CallError | None = None

    def push(self, event: SseEvent) -> None:
        """Add the next event."""
        if self._error is not None or event.data == b"[DONE]":
            return
        try:
            self._add(_parse(event.data))
        except errors.CallError as error:
            self._error = error

    def _add(self, chunk: _Reply) -> None:
        reply = self._reply
        reply.response_id = reply.response_id or chunk.response_id
        reply.model_version = reply.model_version or chunk.model_version
        reply.prompt_feedback = reply.prompt_feedback or chunk.prompt_feedback
        if bytes(chunk.usage_metadata) not in (b"", b"null"):  # the last one has the totals
            reply.usage_metadata = chunk.usage_metadata
        for update in chunk.candidates or ():
            index = update.index or 0
            _extend(self._candidates.setdefault(index, _Candidate(index, _Content([]))), update)

    def finish(self) -> bytes:
        """Return the chat completion, equal to `decode` of the unstreamed reply."""
        if self._error is not None:
            raise self._error
        candidates = list(self._candidates.values())
        feedback = self._reply.prompt_feedback
        is_blocked = not candidates and feedback is not None and feedback.block_reason
        if not is_blocked and not (candidates and all(candidate.finish_reason for candidate in candidates)):
            raise errors.IncompleteResponse("The stream ended before every candidate had a finishReason.")
        self._reply.candidates = candidates
        return _as_chat(self._reply)


def _extend(candidate: _Candidate, update: _Candidate) -> None:
    """Add the parts of a chunk to the candidate."""
    assert candidate.content is not None
    assert candidate.content.parts is not None
    candidate.content.parts += (update.content and update.content.parts) or []
    candidate.finish_reason = update.finish_reason or candidate.finish_reason
    candidate.finish_message = update.finish_message or candidate.finish_message
    if (new := update.logprobs_result) is not None:
        old = candidate.logprobs_result = candidate.logprobs_result or _Logprobs([], [])
        old.chosen_candidates = _joined(old.chosen_candidates, new.chosen_candidates)
        old.top_candidates = _joined(old.top_candidates, new.top_candidates)


def _joined(old: list[T] | None, new: list[T] | None) -> list[T]:
    """Extend the old list in place, so that a long stream takes linear time."""
    joined = [] if old is None else old
    joined += new or []
    return joined

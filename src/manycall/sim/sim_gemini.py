"""Google's Gemini API of the simulated providers: generateContent and streamGenerateContent."""

import re
from typing import Any

from manycall.sim.sim_dialects import SimDialect
from manycall.sim.sim_request import Body, SimAnswer, SimCall, prompt_of, stop_list
from manycall.sim.sim_stream import StreamPlan, sse
from manycall.sim.thinking_text import cut_text

_FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "error": "MALFORMED_RESPONSE"}


def read_gemini(body: Body, model: str) -> SimCall:
    """Return the call of a request. The URL contains the model and whether to stream.

    Raises:
        LookupError, TypeError, AttributeError: the request is not valid.
    """
    body = _camel_case(body)
    config = _camel_case(body.get("generationConfig") or {})
    config["thinkingConfig"] = _camel_case(config.get("thinkingConfig") or {})
    body["generationConfig"] = config
    system = (body.get("systemInstruction") or {}).get("parts")
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    params = {
        "stop": stop_list(config.get("stopSequences")),
        "temperature": config.get("temperature"),
        "response_format": {"json_schema": {"schema": schema}} if schema else None,
    }
    return SimCall(
        model, prompt_of(system, *(content["parts"] for content in body["contents"])), body, params,
        config.get("maxOutputTokens"), False, bool(config["thinkingConfig"].get("includeThoughts")),
    )  # fmt: skip


def _camel_case(fields: Body) -> Body:
    """Return fields under their names in camel case. The API accepts both; Google's SDK sends a mixture."""
    return {re.sub("_([a-z])", lambda match: match[1].upper(), name): value for name, value in fields.items()}


def gemini_reply(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> Body:
    """Return the body of a reply."""
    parts = [{"text": answer.thinking, "thought": True}] if _shown(call, answer) else []
    parts += [{"text": answer.text}] if answer.text else []
    candidate: Body = {"content": {"role": "model", **({"parts": parts} if parts else {})}, "index": 0}
    return {"candidates": [{**candidate, "finishReason": _finish(answer)}], **_common(answer)}


def gemini_stream(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> StreamPlan:
    """Return the chunks of a streamed reply."""
    parts: list[Body] = []
    if _shown(call, answer):
        parts = [{"text": piece, "thought": True} for piece in cut_text(answer.thinking)]
    parts += [{"text": piece} for piece in cut_text(answer.text)]
    chunks = [
        {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}], **_common(answer)}
        for part in parts
    ]
    end = {"candidates": [{"content": {"role": "model"}, "finishReason": _finish(answer), "index": 0}]}
    return StreamPlan(b"", [sse(chunk) for chunk in chunks], sse({**end, **_common(answer)}))


def gemini_error_event(body: Any) -> bytes:
    """Return the chunk with which a stream ends after an error."""
    return sse(body)


def _shown(call: SimCall, answer: SimAnswer) -> bool:
    return bool(call.shows_thinking and answer.thinking)


def _finish(answer: SimAnswer) -> str:
    return "SAFETY" if answer.refusal else _FINISHES[answer.finish_reason]


def _common(answer: SimAnswer) -> Body:
    usage = {
        "promptTokenCount": answer.prompt_tokens,
        "candidatesTokenCount": answer.text_tokens,
        "totalTokenCount": answer.prompt_tokens + answer.completion_tokens,
    }
    usage |= {"thoughtsTokenCount": answer.thinking_tokens} if answer.thinking_tokens else {}
    usage |= {"cachedContentTokenCount": answer.cached_tokens} if answer.cached_tokens else {}
    return {"usageMetadata": usage, "modelVersion": answer.model, "responseId": answer.id}

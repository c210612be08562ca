"""Anthropic's Messages API of the simulated providers."""

from typing import Any

from manycall.sim.sim_dialects import SimDialect
from manycall.sim.sim_request import Body, SimAnswer, SimCall, prompt_of, stop_list
from manycall.sim.sim_stream import StreamPlan, sse
from manycall.sim.thinking_text import cut_text

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "error": "pause_turn"}
SIGNATURE = "c2ltdWxhdGVk"


def read_messages(body: Body, model: str) -> SimCall:
    """Return the call of a request.

    Raises:
        LookupError, TypeError, AttributeError: the request is not valid.
    """
    prompt = prompt_of(body.get("system"), *(message["content"] for message in body["messages"]))
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    params = {
        "stop": stop_list(body.get("stop_sequences")),
        "temperature": body.get("temperature"),
        "response_format": {"json_schema": {"schema": schema}} if schema else None,
    }
    shown = (body.get("thinking") or {}).get("display") != "omitted"
    return SimCall(body["model"], prompt, body, params, body.get("max_tokens"), bool(body.get("stream")), shown)


def messages_reply(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> Body:
    """Return the body of a message."""
    return {
        **_head(answer),
        "content": _blocks(call, answer),
        **_ending(answer),
        "usage": {**_prompt_usage(answer), **_answer_usage(answer)},
    }


def messages_stream(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> StreamPlan:
    """Return the events of a streamed message."""
    start = {**_head(answer), "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**_prompt_usage(answer), "output_tokens": 1}
    pieces = [event for index, block in enumerate(_blocks(call, answer)) for event in _block_events(index, block)]
    end = _event("message_delta", delta=_ending(answer), usage=_answer_usage(answer)) + _event("message_stop")
    return StreamPlan(_event("message_start", message=start) + _event("ping"), pieces, end, opens_at_once=True)


def messages_error_event(body: Any) -> bytes:
    """Return the event with which a stream ends after an error."""
    return sse(body, "error")


def _head(answer: SimAnswer) -> Body:
    return {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "model": answer.model}


def _ending(answer: SimAnswer) -> Body:
    reason = "refusal" if answer.refusal else STOP_REASONS[answer.finish_reason]
    return {"stop_reason": reason, "stop_sequence": None}


def _prompt_usage(answer: SimAnswer) -> Body:
    """Return the counts of the prompt, which do not overlap."""
    return {
        "input_tokens": answer.prompt_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
    }


def _answer_usage(answer: SimAnswer) -> Body:
    usage: Body = {"output_tokens": answer.completion_tokens}
    if answer.thinking_tokens:
        usage["output_tokens_details"] = {"thinking_tokens": answer.thinking_tokens}
    return usage


def _blocks(call: SimCall, answer: SimAnswer) -> list[Body]:
    thinking = answer.thinking if call.shows_thinking else ""
    thoughts = [{"type": "thinking", "thinking": thinking, "signature": SIGNATURE}] if answer.thinking_tokens else []
    text = answer.refusal or answer.text
    return [*thoughts, *([{"type": "text", "text": text}] if text else [])]


def _block_events(index: int, block: Body) -> list[bytes]:
    """Return the events of a block, so that each piece of text is one item."""
    kind = block["type"]
    empty = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
    deltas = [
        _event("content_block_delta", index=index, delta={"type": f"{kind}_delta", kind: piece})
        for piece in cut_text(block[kind])
    ]
    if kind == "thinking":
        delta = {"type": "signature_delta", "signature": block["signature"]}
        deltas.append(_event("content_block_delta", index=index, delta=delta))
    deltas[0] = _event("content_block_start", index=index, content_block=empty) + deltas[0]
    deltas[-1] += _event("content_block_stop", index=index)
    return deltas


def _event(name: str, **fields: Any) -> bytes:
    return sse({"type": name, **fields}, name)

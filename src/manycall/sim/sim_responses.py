"""OpenAI's Responses API of the simulated providers."""

from itertools import count
from typing import Any

from manycall.sim.sim_dialects import SimDialect
from manycall.sim.sim_request import Body, SimAnswer, SimCall, prompt_of
from manycall.sim.sim_stream import StreamPlan, sse
from manycall.sim.thinking_text import cut_text

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def read_responses(body: Body, model: str) -> SimCall:
    """Return the call of a request.

    Raises:
        LookupError, TypeError, AttributeError: the request is not valid.
    """
    given = body["input"]
    contents = [given] if isinstance(given, str) else [item.get("content") for item in given]
    text_format = (body.get("text") or {}).get("format") or {}
    schema = text_format.get("schema")
    params = {
        "temperature": body.get("temperature"),
        "response_format": {"json_schema": {"schema": schema}} if schema else None,
    }
    return SimCall(
        body["model"], prompt_of(body.get("instructions"), *contents), body, params, body.get("max_output_tokens"),
        bool(body.get("stream")), bool((body.get("reasoning") or {}).get("summary")),
    )  # fmt: skip


def responses_reply(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> Body:
    """Return the body of a response."""
    status = "completed"
    if answer.finish_reason != "stop":
        status = "incomplete" if answer.finish_reason in _INCOMPLETE else "failed"
    fault = {"code": "server_error", "message": "The model failed to generate a response."}
    return {
        **_head(call, answer),
        "status": status,
        "error": fault if status == "failed" else None,
        "incomplete_details": {"reason": _INCOMPLETE[answer.finish_reason]} if status == "incomplete" else None,
        "output": _items(call, answer, "completed" if status == "completed" else "incomplete"),
        "usage": {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": answer.thinking_tokens},
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        },
    }


def responses_stream(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> StreamPlan:
    """Return the events of a streamed response."""
    numbers = count()
    reply = responses_reply(call, answer, dialect, form)
    begun = {
        **reply, "status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None,
    }  # fmt: skip
    opening = b"".join(_event(numbers, f"response.{name}", response=begun) for name in ("created", "in_progress"))
    pieces = [event for index, item in enumerate(reply["output"]) for event in _item_events(numbers, index, item)]
    return StreamPlan(opening, pieces, _event(numbers, f"response.{reply['status']}", response=reply), True)


def responses_error_event(body: Any) -> bytes:
    """Return the event with which a stream ends after an error."""
    error = body.get("error", body)
    event = {"type": "error", "code": "server_error", "param": None, "sequence_number": 99}
    return sse({**event, "message": str(error.get("message", error))}, "error")


def _head(call: SimCall, answer: SimAnswer) -> Body:
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": answer.created,
        "model": answer.model,
        "instructions": call.body.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "service_tier": "default",
    }


def _items(call: SimCall, answer: SimAnswer, status: str) -> list[Body]:
    items: list[Body] = []
    if answer.thinking_tokens:
        summary = [{"type": "summary_text", "text": answer.thinking}] if call.shows_thinking else []
        items.append({"id": f"rs_{answer.id}", "type": "reasoning", "summary": summary})
    if answer.text or answer.refusal or not items:
        part: Body = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        if answer.refusal:
            part = {"type": "refusal", "refusal": answer.refusal}
        message = {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "status": status}
        items.append({**message, "content": [part]})
    return items


def _item_events(numbers: Any, index: int, item: Body) -> list[bytes]:
    """Return the events of an output item, so that each piece of text is one item."""
    at: Body = {"output_index": index}
    empty = {**item, "content": [], "status": "in_progress"} if item["type"] == "message" else {**item, "summary": []}
    start = _event(numbers, "response.output_item.added", **at, item=empty)
    pieces: list[bytes] = []
    if item["type"] == "message":
        pieces = _message_events(numbers, {**at, "item_id": item["id"], "content_index": 0}, item["content"][0])
    elif item["summary"]:
        pieces = _summary_events(numbers, {**at, "item_id": item["id"], "summary_index": 0}, item["summary"][0])
    end = _event(numbers, "response.output_item.done", **at, item=item)
    return [start, *pieces, end]


def _message_events(numbers: Any, at: Body, part: Body) -> list[bytes]:
    name = part["type"]
    key = name.removeprefix("output_")
    logprobs: Body = {"logprobs": []} if key == "text" else {}
    events = [_event(numbers, "response.content_part.added", **at, part={**part, key: ""})]
    for piece in cut_text(part[key]):
        events.append(_event(numbers, f"response.{name}.delta", **at, delta=piece, **logprobs))
    events.append(_event(numbers, f"response.{name}.done", **at, **{key: part[key]}, **logprobs))
    return [*events, _event(numbers, "response.content_part.done", **at, part=part)]


def _summary_events(numbers: Any, at: Body, part: Body) -> list[bytes]:
    events = [_event(numbers, "response.reasoning_summary_part.added", **at, part={**part, "text": ""})]
    for piece in cut_text(part["text"]):
        events.append(_event(numbers, "response.reasoning_summary_text.delta", **at, delta=piece))
    events.append(_event(numbers, "response.reasoning_summary_text.done", **at, text=part["text"]))
    return [*events, _event(numbers, "response.reasoning_summary_part.done", **at, part=part)]


def _event(numbers: Any, name: str, **fields: Any) -> bytes:
    return sse({"type": name, "sequence_number": next(numbers), **fields}, name)

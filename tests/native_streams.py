"""Streams of the native APIs: an unstreamed reply as the events in which the provider would stream it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from manycall.providers.stream_events import SseEvent

Reply = dict[str, Any]
Cut = Callable[[str], list[str]]
"""Returns a text in pieces, which joined are the text."""


def one_piece(text: str) -> list[str]:
    return [text]


def every_character(text: str) -> list[str]:
    return list(text)


def _event(data: Any, name: str = "") -> SseEvent:
    return SseEvent(name, json.dumps(data, ensure_ascii=False).encode())


def anthropic_stream(reply: Reply, cut: Cut) -> Iterator[SseEvent]:
    """Yield message_start, the events of each block, pings and message_delta, as the Messages API does."""
    for data in _anthropic_events(reply, cut):
        yield _event(data, data["type"])


def _anthropic_events(reply: Reply, cut: Cut) -> Iterator[Reply]:
    if "content" not in reply:  # an error
        yield reply
        return
    start = reply | {"content": [], "stop_reason": None, "stop_sequence": None}
    start.pop("stop_details", None)
    yield {"type": "message_start", "message": start | {"usage": reply["usage"] | {"output_tokens": 1}}}
    yield {"type": "ping"}
    for index, block in enumerate(reply["content"]):
        empty, deltas = _block_deltas(block, cut)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {name: reply.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": reply["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}


def _block_deltas(block: Reply, cut: Cut) -> tuple[Reply, list[Reply]]:
    match block["type"]:
        case "text":
            return block | {"text": ""}, [{"type": "text_delta", "text": piece} for piece in cut(block["text"])]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"])]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use":
            text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
            return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in cut(text)]
    return block, []


def responses_stream(reply: Reply, cut: Cut) -> Iterator[SseEvent]:
    """Yield response.created, text deltas, and the last event with the whole response."""
    if "status" not in reply:
        yield _event(reply["error"] | {"type": "error", "sequence_number": 0}, "error")
        return
    start = reply | {"status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    yield _event({"type": "response.created", "sequence_number": 0, "response": start}, "response.created")
    for text in [part["text"] for item in reply["output"] for part in item.get("content") or () if "text" in part]:
        for piece in cut(text):
            delta = {"type": "response.output_text.delta", "sequence_number": 1, "delta": piece}
            yield _event(delta, "response.output_text.delta")
    if reply["status"] in ("completed", "incomplete", "failed"):
        name = f"response.{reply['status']}"
        yield _event({"type": name, "sequence_number": 2, "response": reply}, name)


def gemini_stream(reply: Any, cut: Cut) -> Iterator[SseEvent]:
    """Yield a chunk for each piece of each part. The last chunk of a candidate has its finish reason."""
    common = {name: reply[name] for name in ("usageMetadata", "modelVersion", "responseId") if name in reply}
    if isinstance(reply, list) or "error" in reply or not reply.get("candidates"):
        yield _event(reply)
        return
    for candidate in reply["candidates"]:
        for part in (candidate.get("content") or {}).get("parts") or ():
            for piece in cut(part["text"]) if "text" in part else [None]:
                content = {"role": "model", "parts": [part if piece is None else part | {"text": piece}]}
                yield _event(common | {"candidates": [{"content": content, "index": candidate["index"]}]})
        end = {name: value for name, value in candidate.items() if name != "content"}
        yield _event(common | {"candidates": [end]})

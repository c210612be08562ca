"""One choice of a streamed reply: the pieces of its chunks, and the choice that they form."""

from itertools import groupby
from typing import Any

import msgspec

Object = dict[str, Any]


class _FunctionPiece(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCallPiece(msgspec.Struct):
    """A piece of a tool call. `extra_content` contains Gemini's thought signature."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _FunctionPiece | None = None
    extra_content: Any = None


class Delta(msgspec.Struct):
    """The piece of a message in one chunk."""

    role: str | None = None
    content: str | list[Object] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Object] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallPiece] | None = None
    function_call: _FunctionPiece | None = None
    annotations: list[Any] | None = None


class ChoiceChunk(msgspec.Struct):
    """The piece of a choice in one chunk. Completions have a `text` in place of a delta."""

    index: int = 0
    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Object | None = None
    usage: Any = None
    stop_reason: Any = None
    matched_stop: Any = None
    native_finish_reason: Any = None
    content_filter_results: Any = None
    error: Any = None


_LAST = ("stop_reason", "matched_stop", "native_finish_reason", "content_filter_results", "error")
"""Fields of a choice of which the last value counts."""
_JOINED = ("reasoning_content", "reasoning", "refusal")
"""Fields of a message whose pieces are joined."""


class StreamedChoice:
    """Collects the pieces of one choice. Texts are joined once, at the end."""

    def __init__(self) -> None:
        self._role = "assistant"
        self._content: list[str | Object] = []
        self._texts: dict[str, list[str]] = {}
        self._details: list[Object] = []
        self._annotations: list[Any] = []
        self._tool_calls: list[StreamedToolCall] = []
        self._function: list[ToolCallPiece] = []
        self._logprobs: Object | None = None
        self._finish_reason: str | None = None
        self._last: Object = {}
        self._is_completion = False

    def push(self, chunk: ChoiceChunk) -> None:
        """Add the piece of one chunk."""
        if chunk.delta is not None:
            self._push_delta(chunk.delta)
        elif chunk.text is not None:
            self._is_completion = True
            self._content.append(chunk.text)
        if chunk.logprobs is not None:
            self._push_logprobs(chunk.logprobs)
        if chunk.finish_reason is not None:
            self._finish_reason = chunk.finish_reason or self._finish_reason or ""
        for name in _LAST:
            if (value := getattr(chunk, name)) is not None:
                self._last[name] = value

    def is_finished(self, done: bool) -> bool:
        """Return whether the choice is complete.

        Args:
            done: the stream has ended with [DONE]. This matters only for xAI, which ends tool calls with the reason "".
        """
        return bool(self._finish_reason) or (self._finish_reason == "" and done and bool(self._tool_calls))

    def assemble(self, index: int) -> Object:
        """Return the choice as an unstreamed reply contains it."""
        answer: Object = {"text": self._joined_content()} if self._is_completion else {"message": self._message()}
        end = {"logprobs": self._logprobs, "finish_reason": self._finish_reason}
        return {"index": index, **answer, **end, **self._last}

    def _push_delta(self, delta: Delta) -> None:
        if isinstance(delta.content, str):
            self._content.append(delta.content)
        elif delta.content:
            self._content.extend(delta.content)
        for name in _JOINED:
            if piece := getattr(delta, name):
                self._texts.setdefault(name, []).append(piece)
        self._role = delta.role or self._role
        self._details.extend(delta.reasoning_details or ())
        self._annotations.extend(delta.annotations or ())
        for call in delta.tool_calls or ():
            self._push_tool_call(call)
        if delta.function_call is not None:
            self._function.append(ToolCallPiece(function=delta.function_call))

    def _push_tool_call(self, piece: ToolCallPiece) -> None:
        """Add the piece to its tool call. Without an index, an id begins another tool call."""
        calls = self._tool_calls
        if piece.index is not None:
            call = next((call for call in reversed(calls) if call.index == piece.index), None)
        else:
            call = calls[-1] if calls and piece.id in (None, calls[-1].id) else None
        if call is None:
            call = StreamedToolCall(piece.index, piece.id)
            calls.append(call)
        call.pieces.append(piece)

    def _push_logprobs(self, logprobs: Object) -> None:
        """Extend the lists of log probabilities: `content` and `refusal` of chat, `tokens` etc. of completions."""
        known = self._logprobs = self._logprobs or {}
        for name, value in logprobs.items():
            if isinstance(value, list) and isinstance(known.get(name), list):
                known[name].extend(value)
            elif value is not None or name not in known:
                known[name] = value

    def _joined_content(self) -> str | list[Object]:
        """Return the text or, if a chunk contained a list of parts, all parts."""
        texts = [piece for piece in self._content if isinstance(piece, str)]
        if len(texts) == len(self._content):
            return "".join(texts)
        return merge_parts([{"type": "text", "text": p} if isinstance(p, str) else p for p in self._content if p])

    def _message(self) -> Object:
        content: str | list[Object] | None = self._joined_content()
        if not content and (self._tool_calls or self._function or "refusal" in self._texts):
            content = None
        message: Object = {"role": self._role, "content": content}
        message |= {name: "".join(pieces) for name, pieces in self._texts.items()}
        if self._details:
            message["reasoning_details"] = merge_details(self._details)
        if self._annotations:
            message["annotations"] = self._annotations
        if self._tool_calls:
            message["tool_calls"] = [call.assemble() for call in self._tool_calls]
        if self._function:
            message["function_call"] = _joined_function(self._function)
        return message


class StreamedToolCall:
    """The pieces of one tool call."""

    def __init__(self, index: int | None, id: str | None) -> None:
        self.index, self.id = index, id
        self.pieces: list[ToolCallPiece] = []

    def assemble(self) -> Object:
        """Return the tool call. Its id and its type are those of the first piece that has them."""
        call = {
            "id": next((piece.id for piece in self.pieces if piece.id), ""),
            "type": next((piece.type for piece in self.pieces if piece.type), "function"),
            "function": _joined_function(self.pieces),
        }
        extra = [piece.extra_content for piece in self.pieces if piece.extra_content is not None]
        return call | ({"extra_content": extra[-1]} if extra else {})


def _joined_function(pieces: list[ToolCallPiece]) -> Object:
    functions = [piece.function for piece in pieces if piece.function is not None]
    name = next((function.name for function in functions if function.name), "")
    return {"name": name, "arguments": "".join(function.arguments or "" for function in functions)}


def merge_parts(parts: list[Object]) -> list[Object]:
    """Return the parts of a content list, with neighbouring texts and neighbouring thinking texts merged."""
    merged: list[Object] = []
    for kind, group in groupby(parts, lambda part: part.get("type")):
        pieces = list(group)
        if kind == "thinking":
            merged.append(_merge_thinking(pieces))
        else:
            merged.extend([_merge(pieces)] if kind == "text" else pieces)
    return merged


def merge_details(details: list[Object]) -> list[Object]:
    """Return OpenRouter's `reasoning_details`, with pieces of equal index and type merged."""
    groups: dict[str, list[Object]] = {}
    for detail in details:
        groups.setdefault(f"{detail.get('index')} {detail.get('type')}", []).append(detail)
    return [_merge(group) for group in groups.values()]


def _merge(pieces: list[Object]) -> Object:
    """Merge objects: their texts are joined; of all other fields, the last value counts."""
    merged: Object = {}
    for piece in pieces:
        merged |= {name: value for name, value in piece.items() if value is not None or name not in merged}
    for name in ("text", "summary", "data"):
        if name in merged:
            merged[name] = _join_field(pieces, name)
    return merged


def _merge_thinking(pieces: list[Object]) -> Object:
    """Merge Mistral's thinking parts, each of which contains a list of texts."""
    lists = [thinking for piece in pieces if isinstance(thinking := piece.get("thinking"), list)]
    texts = [part for parts in lists for part in parts if isinstance(part, dict)]
    thinking = [{"type": "text", "text": _join_field(texts, "text")}] if lists else _join_field(pieces, "thinking")
    return _merge(pieces) | {"thinking": thinking}


def _join_field(pieces: list[Object], name: str) -> str:
    return "".join(text for piece in pieces if isinstance(text := piece.get(name), str))

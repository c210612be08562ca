"""Assemble the chunks of a streamed chat or completions reply into the body of the unstreamed reply.

The journal holds one format, so a streamed answer is stored as the server would have sent it without streaming. A reply
is complete when every choice has a finish reason. `[DONE]` proves nothing, because some servers send it after an
error, and a complete reply without it is valid.
"""

from typing import Any

import msgspec

from manycall import errors
from manycall.providers.error_body import parse_error_body
from manycall.providers.lone_surrogates import without_lone_surrogates
from manycall.providers.stream_choice import ChoiceChunk, StreamedChoice
from manycall.providers.stream_events import SseEvent
from manycall.records import DECODE_ERRORS

DONE = b"[DONE]"
_OBJECTS = {b'"chat.completion.chunk"': b'"chat.completion"'}
_FIRST = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
"""Fields of the first chunk that has them; in Azure's first chunk they are empty. Of other fields, the last counts."""
_DROPPED = ("choices", "obfuscation", "error")
_NULL = msgspec.Raw(b"null")
_EMPTY = (_NULL, msgspec.Raw(b'""'), msgspec.Raw(b"0"))


class _Chunk(msgspec.Struct):
    """The fields of a chunk that decide what to do with it."""

    choices: list[ChoiceChunk] | None = None
    object: Any = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None
    base_resp: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ChatFold:
    """Assembles the chunks of chat and completions streams, in the dialect of every provider."""

    def __init__(self) -> None:
        self._fields: dict[str, msgspec.Raw] = {}
        self._choices: dict[int, StreamedChoice] = {}
        self._done = False

    def push(self, event: SseEvent) -> None:
        """Add the next chunk.

        Raises:
            HttpStatusError: the chunk reports an error. Its status is the one in the error, or 500.
            InvalidResponse: the chunk is malformed, and the answer is not complete without it.
        """
        if event.data == DONE:
            self._done = True
            return
        try:
            try:
                chunk, fields = self._read(event)
            except DECODE_ERRORS:
                chunk, fields = self._read(event._replace(data=without_lone_surrogates(event.data)))
        except DECODE_ERRORS as error:
            if self._is_complete():  # the chunk can contain no more than token counts
                return
            raise _malformed(event.data, error) from None
        for choice in chunk.choices or ():
            self._choices.setdefault(choice.index, StreamedChoice()).push(choice)
        if fields:
            self._add_fields(fields, chunk)

    def _read(self, event: SseEvent) -> tuple[_Chunk, dict[str, msgspec.Raw]]:
        chunk = _decode_chunk(event.data)
        if event.event == "error" or chunk.object == "error" or chunk.error or chunk.x_groq or chunk.base_resp:
            _raise_reported_error(event, chunk)
        # The first and the last chunk have all fields, so the chunks between are not searched for others.
        return chunk, {} if self._fields and _is_plain(chunk) else _decode_fields(event.data)

    def finish(self) -> bytes:
        """Return the body of the unstreamed reply.

        Raises:
            IncompleteResponse: the stream ended before every choice had a finish reason.
            InvalidResponse: a part of the reply is nested too deeply.
        """
        if not self._is_complete():
            raise errors.IncompleteResponse(
                "the stream ended before the answer did" if self._choices else "the stream contained no answer"
            )
        fields: dict[str, Any] = {name: self._fields.pop(name) for name in _FIRST if name in self._fields}
        if (name := fields.get("object")) is not None:
            fields["object"] = msgspec.Raw(_OBJECTS.get(bytes(name), bytes(name)))
        choices = [choice.assemble(index) for index, choice in sorted(self._choices.items())]
        try:
            return msgspec.json.encode({**fields, "choices": choices, **self._fields})
        except RecursionError as error:
            raise _malformed(b"", error) from None

    def _is_complete(self) -> bool:
        return bool(self._choices) and all(choice.is_finished(self._done) for choice in self._choices.values())

    def _add_fields(self, values: dict[str, msgspec.Raw], chunk: _Chunk) -> None:
        fields = self._fields
        for name, value in values.items():
            known = fields.get(name)
            if known is None or (known in _EMPTY if name in _FIRST else value != _NULL):
                fields[name] = value
        for name in _DROPPED:
            fields.pop(name, None)
        usages = [choice.usage for choice in chunk.choices or ()]  # Moonshot
        usages.append(chunk.x_groq.get("usage") if isinstance(chunk.x_groq, dict) else None)
        if elsewhere := [usage for usage in usages if usage]:
            fields["usage"] = msgspec.Raw(msgspec.json.encode(elsewhere[-1]))


def _is_plain(chunk: _Chunk) -> bool:
    """Return whether the chunk contains only pieces of choices that continue."""
    if not chunk.choices or chunk.usage or chunk.x_groq:
        return False
    return all(choice.finish_reason is None and choice.usage is None for choice in chunk.choices)


def _malformed(data: bytes, error: Exception) -> errors.InvalidResponse:
    return errors.InvalidResponse(f"The stream contains a malformed chunk: {error}", body=data)


def _raise_reported_error(event: SseEvent, chunk: _Chunk) -> None:
    """Raise the error that a chunk reports, as if the server had responded with an error status."""
    groq, base = chunk.x_groq, chunk.base_resp
    if chunk.error:
        raise _status_error(chunk.error)
    if event.event == "error" or chunk.object == "error":  # SGLang and LMDeploy
        raise _status_error(msgspec.json.decode(event.data))
    if isinstance(groq, dict) and groq.get("error"):
        raise _status_error(groq["error"])
    if isinstance(base, dict) and base.get("status_code"):  # MiniMax
        raise _status_error({"code": base["status_code"], "message": base.get("status_msg")})


def _status_error(error: Any) -> errors.HttpStatusError:
    body = msgspec.json.encode({"error": error})
    code, message = parse_error_body(body)
    status = str(error.get("code")) if isinstance(error, dict) else ""
    return errors.HttpStatusError(
        f"The stream reports an error: {message}",
        status=int(status) if status in _ERROR_STATUSES else 500,
        code=code,
        body=body,
    )


_ERROR_STATUSES = frozenset(map(str, range(400, 600)))

"""Encode and decode HTTP bodies of the OpenAI-compatible chat, completions and embeddings APIs.

These functions do no I/O: they take bytes and return records. Only the fields that are used are decoded; the rest of a
response stays bytes.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec

from manycall import errors
from manycall.option_flags import option
from manycall.providers.error_codes import one_line, parse_error_body
from manycall.records import DECODE_ERRORS, Api, BodyFormat, Completion, Embeddings, Request, Usage

API_PATHS: dict[Api, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}
CONTENT_FIELD: dict[Api, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}
_RESERVED = {"model", "messages", "prompt", "input", "stream"}
_KEY_PARAMETERS = set(
    "key api_key apikey api-key x-api-key token auth_token access_token bearer authorization Authorization secret "
    "password headers extra_headers default_headers".split()
)
"""Names that other clients use for the API key. They are rejected because parameters are saved in the manifest."""


_LM_EVAL_FIELD_ORDER = ("messages", "model", "max_tokens", "temperature", "stop", "seed")


def _as_lm_eval(body: dict[str, Any]) -> bytes:
    """Encode the body byte for byte like `local-chat-completions` of lm-eval 0.4.13 with aiohttp."""
    first = {name: body[name] for name in _LM_EVAL_FIELD_ORDER if name in body}
    return json.dumps(first | body, allow_nan=False).encode()


_ENCODERS: dict[BodyFormat, Callable[[dict[str, Any]], bytes]] = {
    "compact": msgspec.json.encode,
    "lm-eval": _as_lm_eval,
}


def encode(request: Request) -> bytes:
    """Return the body of a request. Equal requests have equal bytes, so the bytes also identify the request.

    Raises:
        UsageError: a parameter is one that manycall sets itself, is an API key, or cannot be represented in JSON.
    """
    if clash := _RESERVED & request.params.keys():
        raise errors.UsageError(f"{min(clash)!r} is not a parameter that you can set. manycall sets it itself.")
    if key := _KEY_PARAMETERS & request.params.keys():
        raise errors.UsageError(
            f"{min(key)!r} is not a parameter of a call. Set the API key in OPENAI_API_KEY or endpoints.toml."
        )
    body: dict[str, Any] = {"model": request.model, CONTENT_FIELD[request.api]: request.content}
    for name in sorted(request.params):
        body[name] = value = request.params[name]
        if isinstance(value, float) and not math.isfinite(value):  # the encoder would write null
            raise errors.UsageError(f"The parameter {name!r} is {value}, which JSON cannot represent.")
    try:
        return _ENCODERS[request.spelling](body)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.UsageError(f"The request cannot be encoded as JSON: {error}") from None


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()
    refusal: msgspec.Raw = msgspec.Raw()


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: float | None = None
    completion_tokens: float | None = None


class _UsageOnly(msgspec.Struct):
    usage: _Usage | None = None


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _ReplyWithoutUsage(msgspec.Struct):
    choices: list[_Choice] | None = None
    data: list[_Vector] | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Reply(_ReplyWithoutUsage):
    usage: _Usage | None = None


_NO_USAGE = _Usage()
EMPTY_JSON_VALUES = (b"", b"null", b'""', b"{}", b"[]", b"false")
_decode_reply = msgspec.json.Decoder(_Reply).decode
_decode_usage_only = msgspec.json.Decoder(_UsageOnly).decode
_decode_without_usage = msgspec.json.Decoder(_ReplyWithoutUsage).decode
_decode_string = msgspec.json.Decoder(str).decode
_PRELUDE = re.compile(rb"(?:\xef\xbb\xbf|\s|:[^\n]*\n)*+")
"""Text that some servers send before the JSON: a byte order mark, blank lines and comments (": keep-alive")."""
MAX_VALUES = 1_000_000
"""Most JSON values in one response. Each takes about 60 bytes in Python, but perhaps only two in the response."""


def usage(body: bytes) -> Usage:
    """Return the tokens that a response reports, with or without an answer; zero if it reports none."""
    reported = _NO_USAGE
    with suppress(*DECODE_ERRORS):
        reported = _decode_usage_only(_without_prelude(body)).usage or reported
    return Usage(_count(reported.prompt_tokens), _count(reported.completion_tokens))


def total_usage(bodies: Iterable[bytes]) -> tuple[int, Usage]:
    """Return the number of responses and their total tokens."""
    responses = prompt = completion = 0
    for body in bodies:
        used = usage(body)
        responses, prompt, completion = responses + 1, prompt + used.prompt_tokens, completion + used.completion_tokens
    return responses, Usage(prompt, completion)


def decode(api: Api, body: bytes, replayed: bool = False) -> Completion | Embeddings:
    """Return the answer in a response with status 200.

    Raises:
        InvalidResponse: the body is not JSON, contains an error, or has no choice.
        EmptyCompletion: the choice has no text, or an embedding has no numbers.
        MaxTokensReached: the choice has no text because max_tokens was reached.
        ContentFiltered: a content filter blocked the answer or a part of it.
        Declined: the model refused to answer.
    """
    try:
        reply: _ReplyWithoutUsage = _decode_reply(body) if len(body) <= 2 * MAX_VALUES else _decode_large(body)
    except DECODE_ERRORS as error:
        reply, body = _decode_repaired(body, error)
    if bytes(reply.error) not in EMPTY_JSON_VALUES:
        raise errors.InvalidResponse(
            f"The response has status 200 but contains an error: {parse_error_body(body)[1]}", body=body
        )
    reported = (reply.usage if isinstance(reply, _Reply) else None) or _NO_USAGE
    used = Usage(_count(reported.prompt_tokens), _count(reported.completion_tokens))
    if api == "embeddings":
        if not reply.data:
            raise errors.InvalidResponse("The response contains no embedding.", body=body)
        vectors = [v.embedding for v in sorted(reply.data, key=lambda v: v.index)]
        if not all(vectors):
            raise errors.EmptyCompletion("An embedding in the response is empty.", body=body)
        return Embeddings(vectors, used, body, replayed)
    if not reply.choices:
        raise errors.InvalidResponse("The response contains no choice.", body=body)
    choice = reply.choices[0]
    finish = choice.finish_reason or ""
    return Completion(_text(choice, finish, body), finish, used, body, replayed)


def _decode_large(body: bytes) -> _Reply:
    if body.count(b",") > MAX_VALUES:
        raise errors.InvalidResponse(f"The response contains more than {MAX_VALUES:,} values.", body=body)
    return _decode_reply(body)


def _without_prelude(body: bytes) -> bytes:
    prelude = _PRELUDE.match(body)
    return body[prelude.end() :] if prelude is not None else body


def _decode_repaired(body: bytes, error: Exception) -> tuple[_ReplyWithoutUsage, bytes]:
    """Decode a body again without the parts that made decoding fail, because its answer was paid for.

    Returns:
        The response, and its bytes without the prelude.
    """
    repaired = _without_prelude(body)
    for decode_body in (_decode_reply, _decode_without_usage):  # malformed usage must not lose the answer
        with suppress(*DECODE_ERRORS):
            return decode_body(repaired), repaired
    why = f"The response does not have the expected format: {error}"
    if repaired.startswith((b"data:", b"event:")):
        why = f"The response is an event stream, although no streaming was requested: {parse_error_body(repaired)[1]}"
    raise errors.InvalidResponse(why, body=body) from None


MAX_TOKENS_PER_CALL = 10_000_000
"""Largest token count accepted for one call. Larger counts are wrong and would distort the estimates made from them."""


def _count(tokens: float | None) -> int:
    return int(min(max(tokens or 0, 0), MAX_TOKENS_PER_CALL))


def _text(choice: _Choice, finish: str, body: bytes) -> str:
    """Return the text of the choice, or raise the reason why there is none."""
    if finish == "content_filter":  # a text that is present is incomplete
        raise errors.ContentFiltered("A content filter blocked the answer.", body=body)
    message = choice.message
    content = choice.text if message is None else message.content
    text = "".join(part.text for part in content) if isinstance(content, list) else content
    if text:
        return text
    if message is not None and bytes(message.tool_calls) not in EMPTY_JSON_VALUES:
        return ""
    if message is not None and bytes(message.refusal) not in EMPTY_JSON_VALUES:
        raise errors.Declined(f"The model refused to answer: {_explanation(message.refusal)}", body=body)
    if finish == "length":
        raise errors.MaxTokensReached(
            f"The model reached max_tokens before writing an answer. Raise {option('max_tokens')}.", body=body
        )
    raise errors.EmptyCompletion("The answer is empty.", body=body)


def _explanation(refusal: msgspec.Raw) -> str:
    """Return the text of `message.refusal`. OpenAI defines it as a string; any other value is returned as sent."""
    try:
        return one_line(_decode_string(refusal))
    except DECODE_ERRORS:
        return one_line(bytes(refusal).decode("utf-8", "replace"))

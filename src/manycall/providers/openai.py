"""Encode and decode HTTP bodies of the OpenAI-compatible chat, completions and embeddings APIs.

These functions do no I/O: they take bytes and return records. Only the fields that are used are decoded; the rest of a
response stays bytes.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from manycall import errors
from manycall.providers.chat_reply import (
    ABSENT,
    EMPTY_JSON_VALUES,
    Reply,
    ReplyWithoutUsage,
    read_choice,
    read_choices,
    without_choice,
)
from manycall.providers.embeddings_reply import read_vectors
from manycall.providers.error_body import parse_error_body
from manycall.providers.lone_surrogates import without_lone_surrogates
from manycall.providers.malformed_body import malformed_reason
from manycall.providers.token_usage import (
    BasicUsageOnly,
    BilledReply,
    ReportedUsage,
    UsageOnly,
    read_cost,
    read_usage,
)
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
_NO_EXTRA_BODY = (
    "'extra_body' is an argument of the OpenAI SDK, not a parameter. Pass its fields directly: "
    "--param chat_template_kwargs='{\"enable_thinking\": false}', "
    'or params={"chat_template_kwargs": {"enable_thinking": False}} in Python. In llm.chat() it is an argument: '
    'chat_template_kwargs={"enable_thinking": False}.'
)


_LM_EVAL_FIELD_ORDER = ("messages", "model", "max_tokens", "temperature", "stop", "seed")


def _as_lm_eval(body: dict[str, Any]) -> bytes:
    """Encode the body byte for byte like `local-chat-completions` of lm-eval 0.4.13 with aiohttp."""
    first = {name: body[name] for name in _LM_EVAL_FIELD_ORDER if name in body}
    return json.dumps(first | body, allow_nan=False).encode()


_ENCODERS: dict[BodyFormat, Callable[[dict[str, Any]], bytes]] = {
    "compact": msgspec.json.Encoder().encode,
    "lm-eval": _as_lm_eval,
}


def encode(request: Request) -> bytes:
    """Return the body of a request. Equal requests have equal bytes, so the bytes also identify the request.

    Raises:
        UsageError: a parameter is one that manycall sets itself, is an API key, or cannot be represented in JSON.
    """
    body: dict[str, Any] = {"model": request.model, CONTENT_FIELD[request.api]: request.content}
    if request.params:
        _check_names(request.params)
        for name in sorted(request.params):
            body[name] = value = request.params[name]
            if isinstance(value, float) and not math.isfinite(value):  # the encoder would write null
                raise errors.UsageError(f"The parameter {name!r} is {value}, which JSON cannot represent.")
    try:
        return _ENCODERS[request.spelling](body)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.UsageError(f"The request cannot be encoded as JSON: {error}") from None


def _check_names(params: dict[str, Any]) -> None:
    """Refuse the parameters that a call cannot have.

    Raises:
        UsageError: a parameter is one that manycall sets itself, is an API key, or belongs to the OpenAI SDK.
    """
    if clash := _RESERVED & params.keys():
        complete = " Omit it: a reply is returned when it is complete." * ("stream" in clash)
        raise errors.UsageError(
            f"{min(clash)!r} is not a parameter that you can set. manycall sets it itself.{complete}"
        )
    if key := _KEY_PARAMETERS & params.keys():
        raise errors.UsageError(
            f"{min(key)!r} is not a parameter of a call. Set the API key in OPENAI_API_KEY or endpoints.toml."
        )
    if not _is_google_field(params.get("extra_body")):
        raise errors.UsageError(_NO_EXTRA_BODY)


def _is_google_field(extra_body: Any) -> bool:
    """Return whether `extra_body` is absent, or the field of that name in Google's chat API."""
    return extra_body is None or (isinstance(extra_body, dict) and extra_body.keys() == {"google"})


_NO_USAGE = ReportedUsage()
_decode_reply = msgspec.json.Decoder(Reply).decode
_decode_billed = msgspec.json.Decoder(BilledReply).decode
_decode_usage_only = msgspec.json.Decoder(UsageOnly).decode
_decode_basic_usage = msgspec.json.Decoder(BasicUsageOnly).decode
_decode_without_usage = msgspec.json.Decoder(ReplyWithoutUsage).decode
_PRELUDE = re.compile(rb"(?:\xef\xbb\xbf|\s|:[^\n]*\n)*+")
"""Text that some servers send before the JSON: a byte order mark, blank lines and comments (": keep-alive")."""
MAX_VALUES = 1_000_000
"""Most JSON values in one response. Each takes about 60 bytes in Python, but perhaps only two in the response."""


def usage(body: bytes) -> Usage:
    """Return the tokens that a response reports, with or without an answer; zero if it reports none."""
    for readable in _readings(body):
        with suppress(*DECODE_ERRORS):
            return read_usage(_decode_usage_only(readable).usage or _NO_USAGE)
        with suppress(*DECODE_ERRORS):  # malformed details must not lose the totals
            totals = _decode_basic_usage(readable).usage
            return read_usage(ReportedUsage(totals.prompt_tokens, totals.completion_tokens))
    return Usage()


def billed_usage(body: bytes) -> tuple[Usage, str, float | None]:
    """Return the tokens that a response reports, its service tier, and its cost in dollars if it reports that."""
    for readable in _readings(body):
        with suppress(*DECODE_ERRORS):
            reply = _decode_billed(readable)
            if (reported := reply.usage) is not None:
                return read_usage(reported), reply.service_tier or "", read_cost(reported)
            break
    return usage(body), "", None


def total_usage(bodies: Iterable[bytes]) -> tuple[int, Usage]:
    """Return the number of responses and their total tokens."""
    responses = prompt = completion = reasoning = cached = 0
    for body in bodies:
        used = usage(body)
        responses += 1
        prompt += used.prompt_tokens
        completion += used.completion_tokens
        reasoning += used.reasoning_tokens
        cached += used.cached_tokens
    return responses, Usage(prompt, completion, reasoning, cached)


def decode(api: Api, body: bytes, replayed: bool = False, is_thinker: bool = False) -> Completion | Embeddings:
    """Return the answer in a response with status 200.

    Args:
        is_thinker: the model is known to begin every answer with thinking text (see `reasoning.split`).

    Raises:
        InvalidResponse: the body is not JSON, contains an error, has no choice, or says that the answer broke off.
        EmptyCompletion: the choice has no text, or no embedding has numbers.
        ReasoningOnly: the choice has thinking text but no answer.
        MaxTokensReached: the choice has no answer because max_tokens was reached.
        ContentFiltered: a content filter blocked the answer or a part of it.
        Declined: the model refused to answer.
    """
    reply: ReplyWithoutUsage
    try:
        whole = _decode_reply(body) if len(body) <= 2 * MAX_VALUES else _decode_large(body)
        reply, used = whole, read_usage(whole.usage or _NO_USAGE)
    except DECODE_ERRORS as error:
        reply, body = _decode_repaired(body, error)
        used = usage(body)
    if reply.error is not ABSENT and bytes(reply.error) not in EMPTY_JSON_VALUES:
        raise errors.InvalidResponse(
            f"The response has status 200 but contains an error: {parse_error_body(body)[1]}", body=body
        )
    if api == "embeddings":
        return Embeddings(read_vectors(reply.data, body), used, body, replayed)
    if not reply.choices:
        raise without_choice(reply, body)
    if len(reply.choices) > 1:
        choices = read_choices(reply.choices, body, is_thinker)
        first = choices[0]
        return Completion(first.text, first.finish_reason, used, body, replayed, first.reasoning, choices)
    text, finish, thought = read_choice(reply.choices[0], body, is_thinker)
    return Completion(text, finish, used, body, replayed, thought)


def _decode_large(body: bytes) -> Reply:
    if body.count(b",") > MAX_VALUES:
        raise errors.InvalidResponse(f"The response contains more than {MAX_VALUES:,} values.", body=body)
    return _decode_reply(body)


def _readings(body: bytes) -> Iterator[bytes]:
    """Yield the body without its prelude; if that cannot be decoded, also without lone surrogates."""
    yield (readable := _without_prelude(body))
    yield without_lone_surrogates(readable)


def _without_prelude(body: bytes) -> bytes:
    prelude = _PRELUDE.match(body)
    return body[prelude.end() :] if prelude is not None else body


def _decode_repaired(body: bytes, error: Exception) -> tuple[ReplyWithoutUsage, bytes]:
    """Decode a body again without its prelude, lone surrogates and its usage, because its answer was paid for.

    Returns:
        The response, and its bytes without the prelude.
    """
    repaired = without_lone_surrogates(_without_prelude(body))
    with suppress(*DECODE_ERRORS):
        return _decode_without_usage(repaired), repaired
    why = malformed_reason(repaired, error)
    if repaired.startswith((b"data:", b"event:")):
        why = f"The response is an event stream, although no streaming was requested: {parse_error_body(repaired)[1]}"
    raise errors.InvalidResponse(why, body=body) from None

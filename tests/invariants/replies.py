"""Requests, replies, refusals and addresses."""
# ruff: noqa: PT017 (an error may come, and need not)

import json
import math
import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from invariants import LONGEST_SENTENCE, sentence
from manycall.errors import InvalidResponse, UsageError
from manycall.providers import openai, token_usage
from manycall.providers.error_body import parse_error_body
from manycall.providers.lone_surrogates import without_lone_surrogates
from manycall.providers.urls import normalize_base_url
from manycall.records import Api, Embeddings, Request

KEY_LIKE = re.compile(r"\bsk-[A-Za-z0-9-]{6}|\bhf_[A-Za-z0-9]{6}|Bearer [A-Za-z0-9]", re.ASCII)


def check_reply(api: Api, body: bytes) -> str:
    """A reply with status 200: an answer with a text, or BadReply; and tokens in bounds in any case."""
    used = openai.usage(body)
    assert all(type(n) is int and 0 <= n <= token_usage.MAX_TOKENS_PER_CALL for n in msgspec.structs.astuple(used))
    try:
        answer = openai.decode(api, body)
    except InvalidResponse as error:
        assert _is_rest(error.body, body)
        assert len(str(error)) < LONGEST_SENTENCE
        assert not KEY_LIKE.search(str(error))
        str(error).encode()
        return type(error).__name__
    assert _is_rest(answer.body, body)
    assert answer.usage == used
    if isinstance(answer, Embeddings):
        assert answer.vectors
        assert all(type(number) is float and math.isfinite(number) for vector in answer.vectors for number in vector)
        return f"{len(answer.vectors)} vectors"
    assert answer.text or b"tool_calls" in body
    f"{answer.text}{answer.finish_reason}".encode()
    return f"a text: {answer.finish_reason[:9]}" if answer.text else "a tool call"


def _is_rest(kept: bytes, body: bytes) -> bool:
    """Whether this is the body without a byte order mark and the like, and perhaps without lone surrogates."""
    return body.endswith(kept) or without_lone_surrogates(body).endswith(kept)


def check_refusal(body: bytes) -> str:
    """An error body: a code, and one line without a key."""
    code, message = parse_error_body(body)
    assert code == code.lower()
    assert len(message) <= 300
    assert message.isprintable()
    assert not KEY_LIKE.search(message)
    return f"{code[:12]}: {re.sub('[^a-z ]', '', message)[:12]}"


def check_url(url: str) -> str:
    """An address: a URL that means the same when it is read again, or a sentence."""
    try:
        found = normalize_base_url(url)
    except UsageError as error:
        sentence(error, "base_url")
        assert str(error).isprintable()
        return "UsageError"
    assert normalize_base_url(found) == found
    assert found.isprintable()
    assert not re.search(r"[\s?#@]|/$", found)
    parts, given = urlsplit(found), urlsplit(url)
    assert (parts.scheme, parts.hostname, parts.port) == (given.scheme, given.hostname, given.port)
    assert parts.hostname
    return f"{parts.scheme}, {parts.path[:20]}"


def check_request(content: Any, params: dict[str, Any]) -> str:
    """A request: bytes that say what it says, the same for equal ones; or a sentence."""
    api: Api = "chat" if isinstance(content, list) else "completions"
    try:
        body = openai.encode(Request(api, "m", content, params))
    except UsageError as error:
        sentence(error)
        return type(error).__name__
    assert openai.encode(Request(api, "m", content, dict(reversed(params.items())))) == body
    found = json.loads(body)
    assert found["model"] == "m"
    assert found[openai.CONTENT_FIELD[api]] == content
    assert not any(isinstance(value, float) and not math.isfinite(value) for value in params.values())
    try:
        is_plain = json.loads(json.dumps(params)) == params
    except (TypeError, ValueError, RecursionError):
        is_plain = False  # a date, a set
    assert not is_plain or {name: found[name] for name in params} == params
    return f"{api}, {len(params)}, {is_plain}"

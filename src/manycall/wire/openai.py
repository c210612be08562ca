"""Request <-> the HTTP bodies of chat, completions and embeddings, as OpenAI and all its kin speak them.

Pure: bytes in, records out. Only the fields that are used are decoded; the rest of a reply stays bytes.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec

from manycall import errors
from manycall.records import UNREADABLE, Api, Completion, Embeddings, Request, Spelling, Usage, as_text
from manycall.wire import address

PATHS: dict[Api, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
}
CONTENT: dict[Api, str] = {"chat": "messages", "completions": "prompt", "embeddings": "input"}
_RESERVED = {"model", "messages", "prompt", "input", "stream"}
_KEYS = set(
    "key api_key apikey api-key x-api-key token auth_token access_token bearer authorization Authorization secret "
    "password headers extra_headers default_headers".split()
)
"""No parameters of a call, but what other clients call the key. A parameter is on the disk, in the manifest."""


def base_url(url: str) -> str:
    """The URL to which PATHS are added: `http://host:8000`, `…/v1` and `…/v1/chat/completions` all mean the same.

    Raises:
        UsageError: not an http(s) URL, one that parsers may read differently, or one that holds a key.
    """
    if "@" in url:
        raise errors.UsageError("-u wants a URL without a user and a password; keys come from OPENAI_API_KEY")
    if re.search("[?#]", url):
        raise errors.UsageError("-u wants a bare URL, without what comes after ? or #; keys come from OPENAI_API_KEY")
    try:
        parts = address.parse(url)
    except ValueError as error:
        shown = f"{_KEY_LIKE.sub('***', url)!r:.200}"
        raise errors.UsageError(f"-u {shown} is not a URL like http://localhost:8000/v1: {error}") from None
    path = parts.path.rstrip("/")
    while tail := next((each for each in PATHS.values() if path.endswith(each)), ""):
        path = path.removesuffix(tail).rstrip("/")
    return parts.origin + (path or "/v1")


_LM_EVALS_ORDER = ("messages", "model", "max_tokens", "temperature", "stop", "seed")


def _as_lm_eval(body: dict[str, Any]) -> bytes:
    """As `local-chat-completions` of lm-eval 0.4.13 has it, and aiohttp writes it."""
    first = {name: body[name] for name in _LM_EVALS_ORDER if name in body}
    return json.dumps(first | body, allow_nan=False).encode()


_SPELLED: dict[Spelling, Callable[[dict[str, Any]], bytes]] = {"compact": msgspec.json.encode, "lm-eval": _as_lm_eval}


def encode(request: Request) -> bytes:
    """The body. Equal requests have equal bytes, so these bytes are also the request's identity.

    Raises:
        UsageError: a parameter that manycall itself sets, or one that JSON cannot hold.
    """
    if clash := _RESERVED & request.params.keys():
        raise errors.UsageError(f"{sorted(clash)[0]!r} is not a parameter to set: manycall sets it")
    if key := _KEYS & request.params.keys():
        raise errors.UsageError(f"{min(key)!r} is not a parameter: keys come from OPENAI_API_KEY or endpoints.toml")
    body: dict[str, Any] = {"model": request.model, CONTENT[request.api]: request.content}
    for name in sorted(request.params):
        body[name] = value = request.params[name]
        if isinstance(value, float) and not math.isfinite(value):  # the encoder would write null
            raise errors.UsageError(f"{name!r} is {value}, a number that JSON does not have")
    try:
        return _SPELLED[request.spelling](body)
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.UsageError(f"the request cannot be written as JSON: {error}") from None


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


class _Spent(msgspec.Struct):
    usage: _Usage | None = None


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Uncounted(msgspec.Struct):
    choices: list[_Choice] | None = None
    data: list[_Vector] | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Reply(_Uncounted):
    usage: _Usage | None = None


_UNTOLD = _Usage()
NOTHING = (b"", b"null", b'""', b"{}", b"[]", b"false")
_reply = msgspec.json.Decoder(_Reply)
_spent = msgspec.json.Decoder(_Spent)
_uncounted = msgspec.json.Decoder(_Uncounted)
_string = msgspec.json.Decoder(str)
_PRELUDE = re.compile(rb"(?:\xef\xbb\xbf|\s|:[^\n]*\n)*+")
"""What some send before the JSON: a byte order mark, blank lines and comments (": keep-alive")."""
MOST_VALUES = 1_000_000
"""In one reply. Each takes Python some 60 bytes, though it may be only two in the reply."""


def usage(body: bytes) -> Usage:
    """The tokens of a reply, whether it holds an answer or not; none, if it does not say."""
    spent = _UNTOLD
    with suppress(*UNREADABLE):
        spent = _spent.decode(_without_prelude(body)).usage or spent
    return Usage(_count(spent.prompt_tokens), _count(spent.completion_tokens))


def total_usage(bodies: Iterable[bytes]) -> tuple[int, Usage]:
    """How many replies there are, and the tokens of all."""
    replies = prompt = completion = 0
    for body in bodies:
        used = usage(body)
        replies, prompt, completion = replies + 1, prompt + used.prompt_tokens, completion + used.completion_tokens
    return replies, Usage(prompt, completion)


def decode(api: Api, body: bytes, replayed: bool = False) -> Completion | Embeddings:
    """The answer in a reply with status 200.

    Raises:
        BadReply: not JSON, an error inside, no choice; EmptyAnswer: a choice without a text, or an embedding without a
            number; OutOfTokens: because max_tokens was used up; Filtered: a content filter took it, or the rest of it;
            Declined: the model refused.
    """
    try:
        reply: _Uncounted = _reply.decode(body) if len(body) <= 2 * MOST_VALUES else _long(body)
    except UNREADABLE as error:
        reply, body = _mended(body, error)
    if bytes(reply.error) not in NOTHING:
        raise errors.BadReply(f"status 200 with an error inside: {refusal(body)[1]}", body=body)
    spent = (reply.usage if isinstance(reply, _Reply) else None) or _UNTOLD
    used = Usage(_count(spent.prompt_tokens), _count(spent.completion_tokens))
    if api == "embeddings":
        if not reply.data:
            raise errors.BadReply("the reply holds no embedding", body=body)
        vectors = [v.embedding for v in sorted(reply.data, key=lambda v: v.index)]
        if not all(vectors):
            raise errors.EmptyAnswer("an embedding is empty", body=body)
        return Embeddings(vectors, used, body, replayed)
    if not reply.choices:
        raise errors.BadReply("the reply holds no choice", body=body)
    choice = reply.choices[0]
    finish = choice.finish_reason or ""
    return Completion(_text(choice, finish, body), finish, used, body, replayed)


def _long(body: bytes) -> _Reply:
    if body.count(b",") > MOST_VALUES:
        raise errors.BadReply(f"the reply holds more than {MOST_VALUES:,} values", body=body)
    return _reply.decode(body)


def _without_prelude(body: bytes) -> bytes:
    begins = _PRELUDE.match(body)
    return body[begins.end() :] if begins is not None else body


def _mended(body: bytes, error: Exception) -> tuple[_Uncounted, bytes]:
    """The reply, and its bytes, without what makes it unreadable though the answer is there: it is paid for."""
    mended = _without_prelude(body)
    for decoder in (_reply, _uncounted):  # tokens that are counted in words are not worth the answer
        with suppress(*UNREADABLE):
            return decoder.decode(mended), mended
    why = f"the reply is not what the API promises: {error}"
    if mended.startswith((b"data:", b"event:")):
        why = f"the reply is a stream of events, which nobody asked for: {refusal(mended)[1]}"
    raise errors.BadReply(why, body=body) from None


MOST_TOKENS = 10_000_000
"""Of one call. A server that says more is mistaken, and must not upset what is reckoned from it."""


def _count(tokens: float | None) -> int:
    return int(min(max(tokens or 0, 0), MOST_TOKENS))


def _text(choice: _Choice, finish: str, body: bytes) -> str:
    """The choice's text, or the reason why there is none."""
    if finish == "content_filter":  # what there is of it breaks off somewhere
        raise errors.Filtered("a content filter took the answer", body=body)
    message = choice.message
    content = choice.text if message is None else message.content
    text = "".join(part.text for part in content) if isinstance(content, list) else content
    if text:
        return text
    if message is not None and bytes(message.tool_calls) not in NOTHING:
        return ""
    if message is not None and bytes(message.refusal) not in NOTHING:
        raise errors.Declined(f"the model refused: {_explanation(message.refusal)}", body=body)
    if finish == "length":
        raise errors.OutOfTokens("max_tokens was used up before any text: raise --max-tokens", body=body)
    raise errors.EmptyAnswer("the answer is empty", body=body)


def _explanation(refusal: msgspec.Raw) -> str:
    """The text of `message.refusal`, which is a string by OpenAI's definition; anything else as it was sent."""
    try:
        return _one_line(_string.decode(refusal))
    except UNREADABLE:
        return _one_line(bytes(refusal).decode("utf-8", "replace"))


# What a provider might echo of a key: OpenAI's 401 shows its first and last characters.
_KEY_LIKE = re.compile(r"\b(sk|pk|key|gsk|hf|xai)[-_][\w*.-]{6,}|(?i:bearer)\s+\S+")


LONGEST_ERROR = 64 << 10
"""Bytes of an error body that are looked at."""


def refusal(body: bytes) -> tuple[str, str]:
    """(code, message) of an error body, in any of the shapes seen: OpenAI's, FastAPI's, plain text, HTML.

    The message is one line, at most 300 characters, and shows no key.
    """
    found: Any
    body = body[:LONGEST_ERROR]
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE:
        found = body.decode("utf-8", "replace")
    if isinstance(found, dict):
        found = found.get("error") or found.get("detail") or found.get("message") or found
    code = ""
    if isinstance(found, dict):
        code = str(found.get("code") or found.get("type") or "").lower()[:100]
        found = found.get("message") or found
    return code, _one_line(as_text(found))


def _one_line(text: str) -> str:
    """Return at most 300 characters of it, without line breaks, control characters and keys."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return _KEY_LIKE.sub("***", line)[:300]

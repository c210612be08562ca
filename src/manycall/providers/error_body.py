"""Read the body of an error response, in the formats of all providers.

| format | used by |
|---|---|
| `{"error": {"message", "type", "param", "code"}}` | OpenAI and most others; Zhipu's code is a number of four digits |
| the same, but `code` is the HTTP status again | vLLM, llama.cpp, OpenRouter (with `metadata`) |
| `{"message", "type", "code", …}` | SGLang, LMDeploy, Mistral, DashScope's native API |
| `{"type": "error", "error": {"type", "message", "details": {"error_code"}}}` | Anthropic |
| `{"error": {"code", "status", "message", "details": […]}}`, also in a list | Gemini |
| `{"base_resp": {"status_code", "status_msg"}}`, with HTTP status 200 | MiniMax |
| `{"error": "text", "error_type" or "code"}`, `{"detail": …}` | TGI, xAI, vLLM; FastAPI |
| plain text, HTML | gateways |
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from manycall.providers.rate_limit_headers import parse_duration
from manycall.providers.web_page import page_title
from manycall.records import DECODE_ERRORS
from manycall.render import as_text

# Parts of an API key that a provider may echo: OpenAI's 401 shows the first and last characters of the key. A Chinese
# character may directly precede it.
KEY_LIKE = re.compile(r"(?a:\b(?:sk|pk|key|gsk|hf|xai)[-_][\w*.-]{6,})|(?i:bearer)\s+\S+")
MAX_ERROR_CHARACTERS = 64 << 10
"""Only this many bytes of an error body are parsed."""

PER_DAY = "quota_per_day"
"""Code that is added if Gemini's list of exceeded quotas names one per day."""
MODERATION_REASONS = "moderation_reasons"
"""Code that is added if OpenRouter gives the reasons of its moderation."""


class ErrorBody(NamedTuple):
    """What the body of an error response says.

    Attributes:
        message: one line of at most 300 characters, without API keys.
        codes: its codes, statuses and types in lower case, the most specific first. HTTP statuses are no codes.
        http_status: the HTTP status in the body; None if it contains none.
        parameter: name of the parameter that the error is about; "" if it names none.
        wait_seconds: how long the client should wait; None if the body does not say so.
    """

    message: str = ""
    codes: tuple[str, ...] = ()
    http_status: int | None = None
    parameter: str = ""
    wait_seconds: float | None = None


def read_error_body(body: bytes) -> ErrorBody:
    """Return what an error body says, in any known format. Malformed bytes give at most a message."""
    body = body[:MAX_ERROR_CHARACTERS]
    try:
        value: Any = msgspec.json.decode(body)
    except DECODE_ERRORS:
        value = body.decode("utf-8", "replace")
    error = _find_error(value)
    if not isinstance(error, dict):
        title = page_title(body)
        return ErrorBody(one_line(f'a web page, "{title}"' if title else as_text(error)))
    message = as_text(error.get("message") or error)
    names = [as_text(name) for name in _codes(error) if name]
    return ErrorBody(
        one_line(message),
        tuple(dict.fromkeys(name.lower()[:100] for name in names if not _is_http_status(name))),
        next((int(name) for name in names if _is_http_status(name)), None),
        _parameter(error)[:100],
        _wait_seconds(error, message[:2000]),
    )


def parse_error_body(body: bytes) -> tuple[str, str]:
    """Return (most specific code, message) of an error body; the code is "" if there is none."""
    read = read_error_body(body)
    return next(iter(read.codes), ""), read.message


def one_line(text: str) -> str:
    """Return the start of the text, at most 300 characters, without line breaks, control characters and API keys."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return KEY_LIKE.sub("***", line)[:300]


def _find_error(value: Any) -> Any:
    """Return the part of a decoded body that describes the error: an object with `message`, or anything else."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if not isinstance(value, dict):
        return value
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return {"code": base["status_code"], "message": base.get("status_msg")}
    inner = value.get("error") or value.get("detail")
    if isinstance(inner, str) or (isinstance(inner, list) and value.get("detail")):
        return {**value, "message": inner}
    return inner or value


def _codes(error: dict[str, Any]) -> Iterator[Any]:
    """Yield the codes of an error object, the most specific first."""
    details, metadata = error.get("details"), _dict(error.get("metadata"))
    if not isinstance(error.get("code"), dict | list):
        yield error.get("code")
    yield _dict(details).get("error_code")
    for detail in details if isinstance(details, list) else ():
        yield _dict(detail).get("reason")
        violations = _dict(detail).get("violations")
        ids = (as_text(_dict(each).get("quotaId")) for each in violations) if isinstance(violations, list) else ()
        if any("PerDay" in quota_id for quota_id in ids):
            yield PER_DAY
    yield metadata.get("limit_source")
    if metadata.get("reasons"):
        yield MODERATION_REASONS
    yield metadata.get("error_type")
    yield metadata.get("provider_code")
    yield _dict(error.get("innererror")).get("code")
    yield error.get("status")
    yield error.get("type")
    yield error.get("error_type")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_http_status(name: str) -> bool:
    return len(name) == 3 and name.isascii() and name.isdigit() and "100" <= name < "600"


def _parameter(error: dict[str, Any]) -> str:
    """Return the name of the parameter that an error is about: OpenAI's `param`, or the location of FastAPI."""
    if isinstance(param := error.get("param"), str):
        return param
    message = error.get("message")
    details = message.get("detail") if isinstance(message, dict) else message
    first = _dict(details[0]) if isinstance(details, list) and details else {}
    location = first.get("loc")
    return as_text(location[1]) if isinstance(location, list) and len(location) > 1 else ""


_RETRY_IN = re.compile(r"(?:retry|try again) in ([0-9.]+(?:ms|s|m|h)[0-9.a-z]*)", re.IGNORECASE)


def _wait_seconds(error: dict[str, Any], message: str) -> float | None:
    """Return the wait in Gemini's `retryDelay` ("33s"), or in a message such as "Please try again in 7m12.5s."."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if (delay := _dict(detail).get("retryDelay")) and (seconds := parse_duration(as_text(delay))) is not None:
            return seconds
    said = _RETRY_IN.search(message)
    return None if said is None else parse_duration(said[1].rstrip("."))

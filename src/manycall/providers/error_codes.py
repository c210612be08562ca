"""Read error bodies, and say what an error means: status and code → `FailureClass`."""

import re
from typing import Any

import msgspec

from manycall import errors
from manycall.errors import FailureClass
from manycall.records import DECODE_ERRORS
from manycall.render import as_text

CLASS_BY_STATUS: dict[int, FailureClass] = {
    301: FailureClass.BAD_SETUP,
    302: FailureClass.BAD_SETUP,
    303: FailureClass.BAD_SETUP,
    307: FailureClass.BAD_SETUP,
    308: FailureClass.BAD_SETUP,
    400: FailureClass.BAD_REQUEST,
    401: FailureClass.BAD_KEY,
    402: FailureClass.BAD_KEY,  # DeepSeek, OpenRouter: insufficient balance
    403: FailureClass.BAD_SETUP,
    404: FailureClass.BAD_SETUP,  # unknown path or unknown model
    405: FailureClass.BAD_SETUP,
    407: FailureClass.BAD_SETUP,  # proxy authentication required
    408: FailureClass.NO_ANSWER,
    409: FailureClass.OVERLOADED,
    413: FailureClass.BAD_REQUEST,
    422: FailureClass.BAD_REQUEST,
    425: FailureClass.OVERLOADED,
    429: FailureClass.RATE_LIMITED,
    503: FailureClass.OVERLOADED,
    529: FailureClass.OVERLOADED,  # Anthropic: overloaded
}
"""Other statuses: SERVER_ERROR from 500 on, else BAD_REQUEST."""

CLASS_BY_CODE: dict[str, FailureClass] = {
    "insufficient_quota": FailureClass.BAD_KEY,
    "billing_hard_limit_reached": FailureClass.BAD_KEY,
    "invalid_api_key": FailureClass.BAD_KEY,
    "model_not_found": FailureClass.BAD_SETUP,
    "context_length_exceeded": FailureClass.BAD_REQUEST,
    "content_filter": FailureClass.BAD_REQUEST,
}
"""A provider's error code is more specific than the status, so it takes precedence."""

CLASS_BY_ERROR: dict[type[errors.CallError], FailureClass] = {
    errors.CertificateError: FailureClass.UNTRUSTED_SERVER,
    errors.ConnectError: FailureClass.UNREACHABLE,
    errors.ConnectionLost: FailureClass.UNREACHABLE,
    errors.AttemptTimeout: FailureClass.NO_ANSWER,
    errors.IncompleteResponse: FailureClass.MALFORMED,
    errors.ResponseTooLarge: FailureClass.BAD_REQUEST,
    errors.EmptyCompletion: FailureClass.NO_ANSWER,
    errors.MaxTokensReached: FailureClass.BAD_REQUEST,
    errors.ContentFiltered: FailureClass.BAD_REQUEST,
    errors.Declined: FailureClass.BAD_REQUEST,
    errors.InvalidResponse: FailureClass.MALFORMED,
}


def classify(error: errors.CallError) -> FailureClass:
    """Return the class of a failure."""
    if isinstance(error, errors.HttpStatusError):
        other = FailureClass.SERVER_ERROR if error.status >= 500 else FailureClass.BAD_REQUEST
        return CLASS_BY_CODE.get(error.code) or CLASS_BY_STATUS.get(error.status) or other
    return next(
        (CLASS_BY_ERROR[kind] for kind in type(error).__mro__ if kind in CLASS_BY_ERROR), FailureClass.BAD_REQUEST
    )


def may_be_rate_limit(error: errors.HttpStatusError) -> bool:
    """Whether this refusal means a rate limit on some servers and a used-up quota on others (control/exhaustion.py)."""
    if error.status == 402:
        return error.retry_after is not None
    return error.status == 429 and error.code == "insufficient_quota"


def is_throttle(error: errors.HttpStatusError, failure_class: FailureClass) -> bool:
    """Whether the refusal is a request to send fewer calls."""
    if failure_class is FailureClass.KEY_RATE_LIMITED:
        return True
    return error.status == 429 and failure_class is not FailureClass.BAD_KEY


# Parts of an API key that a provider may echo: OpenAI's 401 shows the first and last characters of the key.
_KEY_LIKE = re.compile(r"\b(sk|pk|key|gsk|hf|xai)[-_][\w*.-]{6,}|(?i:bearer)\s+\S+")


MAX_ERROR_CHARACTERS = 64 << 10
"""Only this many bytes of an error body are parsed."""


def parse_error_body(body: bytes) -> tuple[str, str]:
    """Return (code, message) of an error body in any known format: OpenAI's, FastAPI's, plain text or HTML.

    The message is one line of at most 300 characters without API keys.
    """
    error: Any
    body = body[:MAX_ERROR_CHARACTERS]
    try:
        error = msgspec.json.decode(body)
    except DECODE_ERRORS:
        error = body.decode("utf-8", "replace")
    if isinstance(error, dict):
        error = error.get("error") or error.get("detail") or error.get("message") or error
    code = ""
    if isinstance(error, dict):
        code = str(error.get("code") or error.get("type") or "").lower()[:100]
        error = error.get("message") or error
    return code, one_line(as_text(error))


def one_line(text: str) -> str:
    """Return the start of the text, at most 300 characters, without line breaks, control characters and API keys."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return _KEY_LIKE.sub("***", line)[:300]

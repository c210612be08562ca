"""Read the code and the message of an error body."""

import re
from typing import Any

import msgspec

from manycall.records import DECODE_ERRORS
from manycall.render import as_text

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

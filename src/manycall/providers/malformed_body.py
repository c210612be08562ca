"""Why a body with status 200 cannot be read, in words that name the cause: a web page, nothing, half a response."""

import re

from manycall.providers.error_body import one_line

_TITLE = re.compile(rb"<title[^>]*>([^<]{1,300})", re.IGNORECASE)
_TITLE_BYTES = 4096
"""The title of a web page is looked for in this many bytes."""
_TRUNCATED = "Input data was truncated"
"""msgspec's text for JSON that ends too early."""


def malformed_reason(body: bytes, error: Exception) -> str:
    """Return a sentence about a body that is not a response of the API.

    Args:
        error: why it could not be decoded.
    """
    beginning = body[:_TITLE_BYTES].lstrip()
    if not body.strip():
        reason = "it is empty."
    elif beginning.startswith(b"<"):
        title = _TITLE.search(beginning)
        named = "" if title is None else f' ("{one_line(title[1].decode("utf-8", "replace"))}")'
        reason = f"it is a web page{named}. Check the address of the endpoint, and what is between it and this machine."
    elif str(error) == _TRUNCATED:
        reason = "it ends in the middle of its JSON."
    else:
        reason = f"{error}"
    return f"The response does not have the expected format: {reason}"

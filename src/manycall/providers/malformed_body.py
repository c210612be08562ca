"""Why a body with status 200 cannot be read, in words that name the cause: a web page, nothing, half a response."""

from manycall.providers.error_body import one_line
from manycall.providers.web_page import page_title

_TRUNCATED = "Input data was truncated"
"""msgspec's text for JSON that ends too early."""


def malformed_reason(body: bytes, error: Exception) -> str:
    """Return a sentence about a body that is not a response of the API.

    Args:
        error: why it could not be decoded.
    """
    if not body.strip():
        reason = "it is empty."
    elif (title := page_title(body)) is not None:
        named = f' ("{one_line(title)}")' if title else ""
        reason = f"it is a web page{named}. Check the address of the endpoint, and what is between it and this machine."
    elif str(error) == _TRUNCATED:
        reason = "it ends in the middle of its JSON."
    else:
        reason = f"{error}"
    return f"The response does not have the expected format: {reason}"

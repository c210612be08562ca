"""What servers say about their limits, in all their dialects."""

import math
from collections.abc import Callable
from email.utils import parsedate_to_datetime

Header = Callable[[str], str | None]


def retry_after(header: Header, wall: float) -> float | None:
    """How many seconds the server asks us to wait; None if it does not say, or says nonsense.

    `retry-after-ms` (milliseconds) goes before `retry-after` (seconds, or an HTTP date: RFC 9110 §10.2.3), as
    in OpenAI's own SDK. A date in the past is 0.

    Args:
        wall: seconds since 1970, to which a date is compared.
    """
    if (ms := _number(header("retry-after-ms"))) is not None:
        return ms / 1000
    text = header("retry-after")
    if text is None or (seconds := _number(text)) is not None:
        return seconds if text is not None else None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    """A number that can be waited for: finite and not negative."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None

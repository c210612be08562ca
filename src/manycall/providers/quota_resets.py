"""How long to wait after a refusal, as its headers or its body say, or until a daily quota is available again."""

import re
from datetime import UTC, datetime, timedelta, timezone

from manycall.limits import DAY_SECONDS
from manycall.providers.error_body import PER_DAY, ErrorBody
from manycall.providers.rate_limit_headers import HeaderLookup, parse_retry_after

DAILY_RESET_UTC_HOUR = {"gemini": 8, "gemini_openai": 8}
"""Hour at which a provider's daily quotas are available again, where it is not midnight UTC. Google: midnight Pacific
time, which is 7 or 8 o'clock (ai.google.dev/gemini-api/docs/rate-limits)."""

_BEIJING = timezone(timedelta(hours=8))
_DATE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d")


def requested_wait(header: HeaderLookup, read: ErrorBody, provider: str, wall: float) -> float | None:
    """Return the seconds that the server asks the client to wait; None if it does not ask.

    Args:
        header: looks up a response header.
        read: the response body.
        provider: name of the provider.
        wall: the server's time in seconds since 1970.
    """
    if (seconds := parse_retry_after(header, wall)) is not None:
        return seconds
    if PER_DAY in read.codes:  # Gemini gives the wait for the quota per minute, whichever is exceeded
        return None
    if provider == "zhipu" and (said := _DATE.search(read.message)) is not None:  # 1308, in Beijing time
        try:
            seconds = datetime.fromisoformat(said[0]).replace(tzinfo=_BEIJING).timestamp() - wall
        except ValueError:
            return None
        return seconds if seconds > 0 else None  # a time in the past is outdated, or in another time zone
    return read.wait_seconds


def seconds_until_daily_reset(provider: str, wall: float) -> float:
    """Return the seconds until the provider's daily quotas are available again: at most one day."""
    hour = DAILY_RESET_UTC_HOUR.get(provider, 0)
    return DAY_SECONDS - (wall - 3600 * hour) % DAY_SECONDS


def utc_minute(wall: float) -> str:
    """Return a time as text such as "2026-11-28 00:00 UTC"."""
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M} UTC"

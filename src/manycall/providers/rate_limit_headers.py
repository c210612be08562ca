"""Parse the rate-limit headers of all known dialects.

The headers are unreliable. Under the same name a number may be per second, per minute or per day, it may be -1 or 0,
and it may belong to one of many backends. Therefore the table of each dialect also states which limits are reliable.
Using a limit that is too low makes a run slow for no reason, whereas a limit that is ignored is learned from refusals
(control/throttle.py). Limits of uncertain meaning are therefore ignored.
"""

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from manycall.limits import DAY_SECONDS, MINUTE_SECONDS, AdvertisedLimit

HeaderLookup = Callable[[str], str | None]

MAX_PLAUSIBLE_AMOUNT = 1e12
"""Largest number of requests or tokens that is accepted. A larger number means that there is no limit."""
MAX_RESET_SECONDS = 32 * DAY_SECONDS
"""Longest reset that is accepted. A longer one is given in a wrong unit."""
MAX_HEADER_CHARACTERS = 100
"""Longest date or duration that is parsed."""

RETRY_AFTER_HEADERS = (
    ("retry-after-ms", 0.001),  # first, as in OpenAI's own SDK
    ("retry-after", 1.0),  # RFC 9110 §10.2.3
    ("llm_provider-retry-after", 1.0),  # LiteLLM: the backend's value
    ("x-ms-retry-after-ms", 0.001),  # Azure, for some services; used by azure-core's retry policy
)
"""Headers that give the time to wait, with their unit in seconds. The first valid one is used."""


def server_time(header: HeaderLookup, wall: float) -> float:
    """Return the server's time in seconds since 1970 (Date, RFC 9110 §6.6.1), because the local clock may be wrong.

    Args:
        wall: the local time, returned if the response has no valid Date header.
    """
    moment = _seconds_until(header("date") or "", 0.0)
    return wall if moment is None else moment


def parse_retry_after(header: HeaderLookup, wall: float) -> float | None:
    """Return the seconds that the server asks the client to wait; None without a valid header.

    The value is a number or an HTTP date. A date in the past counts as 0 seconds.

    Args:
        wall: the current time in seconds since 1970, for values that are dates.
    """
    for name, unit in RETRY_AFTER_HEADERS:
        text = header(name)
        if text is None:
            continue
        if (number := _number(text)) is not None:
            return number * unit
        if (seconds := _seconds_until(text, wall)) is not None:
            return seconds
    return None


def reset_seconds(advertised: Iterable[AdvertisedLimit]) -> float | None:
    """Return the longest reset of the exhausted limits, in seconds, for refusals without Retry-After."""
    return max((limit.reset for limit in advertised if limit.remaining == 0 and limit.reset is not None), default=None)


class LimitHeaders(NamedTuple):
    """The names of the headers for one limit; "" where there is no such header.

    Attributes:
        unit, seconds: `unit` and `period_seconds` of AdvertisedLimit.
        limit, remaining, reset: names of the headers.
        is_reliable: whether the limit has the meaning that its name suggests. If not, only the remaining units and the
            reset are used.
    """

    unit: str
    seconds: float
    limit: str
    remaining: str
    reset: str = ""
    is_reliable: bool = True


class HeaderDialect(msgspec.Struct, frozen=True):
    """The rate-limit headers of one provider or one convention.

    Attributes:
        name: name of the provider or the convention.
        limits: header names of each limit.
        hosts: host names that use this dialect, including their subdomains.
        marker_headers: on other hosts, any of these headers identifies the dialect.
        reserves_max_tokens: the provider charges max_tokens for a call, however short the answer is.
    """

    name: str
    limits: tuple[LimitHeaders, ...] = ()
    hosts: tuple[str, ...] = ()
    marker_headers: tuple[str, ...] = ()
    reserves_max_tokens: bool = False

    def parse(self, header: HeaderLookup, wall: float) -> list[AdvertisedLimit]:
        """Return the limits that a response advertises.

        Args:
            header: looks up a header by name.
            wall: the current time in seconds since 1970, for values that are dates.
        """
        advertised: list[AdvertisedLimit] = []
        for names in self.limits:
            limit, remaining = _amount(header(names.limit)), _amount(header(names.remaining))
            reset = _reset(header(names.reset), wall) if names.reset else None
            advertised += _plausible_limit(names.unit, names.seconds, limit, remaining, reset, names.is_reliable)
        return advertised


class IetfDialect(HeaderDialect, frozen=True):
    """Headers such as `RateLimit: "default";r=50;t=30` and `RateLimit-Policy: "default";q=100;w=60`.

    Each name, here "default", is one limit.
    """

    def parse(self, header: HeaderLookup, wall: float) -> list[AdvertisedLimit]:
        """Return the limits that a response advertises; the limit itself only if it is per minute or per day."""
        advertised: list[AdvertisedLimit] = []
        policies, states = _items(header("ratelimit-policy")), _items(header("ratelimit"))
        for name in policies | states:
            policy, state = policies.get(name, {}), states.get(name, {})
            if policy.get("qu", "requests") != "requests":
                continue
            window = _number(policy.get("w"))
            limit, remaining, reset = (
                _amount(policy.get("q")),
                _amount(state.get("r")),
                _plausible_reset(_number(state.get("t"))),
            )
            seconds = DAY_SECONDS if window == DAY_SECONDS else MINUTE_SECONDS
            is_reliable = window == seconds
            advertised += _plausible_limit("requests", seconds, limit, remaining, reset, is_reliable)
        return advertised


def _plausible_limit(
    unit: str, seconds: float, limit: float | None, remaining: float | None, reset: float | None, is_reliable: bool
) -> list[AdvertisedLimit]:
    """Return the limit without implausible values, in a list; an empty list if nothing remains."""
    limit = limit or None
    if limit is None and remaining == 0:  # 0 of 0, or 0 of an unknown limit
        remaining = None
    advertised = AdvertisedLimit(unit, seconds, limit if is_reliable else None, remaining, reset)
    return [advertised] if advertised[2:] != (None, None, None) else []


def _number(text: str | None) -> float | None:
    """Parse a finite number that is not negative."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _amount(text: str | None) -> float | None:
    """Parse a number of requests or tokens."""
    value = _number(text)
    return value if value is not None and value <= MAX_PLAUSIBLE_AMOUNT else None


_GO_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|μs|ms|s|m|h))+")
_GO_PART = re.compile(r"([0-9.]+)([a-zµμ]+)")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float | None:
    """Return the seconds in a Go duration such as "33s" or "1m2.5s"; None if the text is none."""
    if len(text) > MAX_HEADER_CHARACTERS or not _GO_DURATION.fullmatch(text):
        return None
    return sum(float(number) * _GO_UNITS[unit] for number, unit in _GO_PART.findall(text))


def _reset(text: str | None, wall: float) -> float | None:
    """Return the seconds until a reset, given as a Go duration, a date or a number whose unit depends on its size."""
    if text is None or len(text) > MAX_HEADER_CHARACTERS:
        return None
    seconds = _number(text)
    if seconds is None:
        seconds = parse_duration(text)
        seconds = _seconds_until(text, wall) if seconds is None else seconds
    elif seconds > 1e9:  # seconds since 1970; above 1e12, milliseconds
        seconds = max(0.0, (seconds / 1000 if seconds > 1e12 else seconds) - wall)
    return _plausible_reset(seconds)


def _plausible_reset(seconds: float | None) -> float | None:
    """Return the seconds, or None if they exceed MAX_RESET_SECONDS."""
    return seconds if seconds is not None and seconds <= MAX_RESET_SECONDS else None


def _seconds_until(text: str, wall: float) -> float | None:
    """Return the seconds until an RFC 3339 or HTTP date; 0 if it is in the past."""
    if len(text) > MAX_HEADER_CHARACTERS:
        return None
    from email.utils import parsedate_to_datetime  # takes 5 ms to import

    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
            return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - wall)
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _items(text: str | None) -> dict[str, dict[str, str]]:
    """Return the named items of a structured field (RFC 9651) with the parameters of each."""
    items = {}
    for item in (text or "")[: 10 * MAX_HEADER_CHARACTERS].split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        items[name.strip('"')] = {key.strip(): value.strip(' "') for key, _, value in pairs}
    return items

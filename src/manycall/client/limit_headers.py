"""Read the rate limits that an endpoint advertises in its response headers."""

import math

from manycall import clock
from manycall.limits import AdvertisedLimit
from manycall.providers import rate_limit_headers
from manycall.providers.rate_limit_dialects import find_dialect
from manycall.transport.messages import HttpResponse

CHECK_SECONDS, MAX_CHECKS = 0.25, 8
"""Seconds between two checks of the response headers for limits. After 8 checks without limits, there are none."""


class AdvertisedLimitReader:
    """The header dialect of one endpoint, found in its responses.

    Args:
        host: host name of the endpoint.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._dialect: rate_limit_headers.HeaderDialect | None = None
        self._checks_without_limits = 0
        self._advertises_limits = False  # limits that appear only in error responses may be made up
        self._next_check = -math.inf

    def __repr__(self) -> str:
        return f"<AdvertisedLimitReader of {self._host}>"

    @property
    def reserves_max_tokens(self) -> bool:
        """Whether max_tokens counts against the quota: it does at OpenAI. It is also the safe assumption by default."""
        return self._dialect is None or self._dialect.reserves_max_tokens

    @property
    def may_still_appear(self) -> bool:
        """Whether limits may be advertised although no response has advertised them yet."""
        return self._checks_without_limits < MAX_CHECKS

    def is_due(self, response: HttpResponse, now: float) -> bool:
        """Whether the headers of this response should be read."""
        return now >= self._next_check or response.status == 429

    def read(self, response: HttpResponse, now: float) -> list[AdvertisedLimit] | None:
        """Return the limits in the headers; None while no answer has advertised any."""
        self._next_check = now + CHECK_SECONDS
        if self._dialect is None:
            self._dialect = find_dialect(self._host, response.header)
            if self._dialect is None:
                self._checks_without_limits += 1
                return None
        limits = self._dialect.parse(
            response.header, rate_limit_headers.server_time(response.header, clock.wall_time())
        )
        self._advertises_limits = self._advertises_limits or (bool(limits) and response.status != 429)
        return limits if self._advertises_limits else None

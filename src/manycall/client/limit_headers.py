"""Read the rate limits that an endpoint advertises in its response headers."""

import math

from manycall import clock
from manycall.limits import AdvertisedLimit
from manycall.providers import rate_limit_headers
from manycall.providers.rate_limit_dialects import find_dialect
from manycall.transport.messages import HttpResponse

FIRST_ANSWERS, CHECK_SECONDS = 8, 0.25
"""The headers of the first 8 answers are checked for limits, and later those of one response per 0.25 seconds. If the
first 8 advertise no token limit, the tokens of a call are no longer estimated until a later one advertises one."""


class AdvertisedLimitReader:
    """The header dialect of one endpoint, found in its responses.

    Args:
        host: host name of the endpoint.

    Attributes:
        may_still_appear: whether one of the next answers may advertise limits that no earlier one has.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._dialect: rate_limit_headers.HeaderDialect | None = None
        self._answers_checked = 0
        self.may_still_appear = True
        self._advertises_limits = False  # limits that appear only in error responses may be made up
        self._next_check = -math.inf

    def __repr__(self) -> str:
        return f"<AdvertisedLimitReader of {self._host}>"

    @property
    def reserves_max_tokens(self) -> bool:
        """Whether max_tokens counts against the quota: it does at OpenAI. It is also the safe assumption by default."""
        return self._dialect is None or self._dialect.reserves_max_tokens

    def is_due(self, response: HttpResponse, now: float) -> bool:
        """Whether the headers of this response should be read."""
        return now >= self._next_check or response.status == 429

    def read(self, response: HttpResponse, now: float) -> list[AdvertisedLimit] | None:
        """Return the limits in the headers; None while no answer has advertised any."""
        self._answers_checked += response.status == 200
        self.may_still_appear = self._answers_checked < FIRST_ANSWERS
        if not self.may_still_appear:
            self._next_check = now + CHECK_SECONDS
        if self._dialect is None:
            self._dialect = find_dialect(self._host, response.header)
            if self._dialect is None:
                return None
        limits = self._dialect.parse(
            response.header, rate_limit_headers.server_time(response.header, clock.wall_time())
        )
        self._advertises_limits = self._advertises_limits or (bool(limits) and response.status != 429)
        return limits if self._advertises_limits else None

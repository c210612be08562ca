"""Rate limits and server load: value types that several packages share."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

MINUTE_SECONDS, DAY_SECONDS = 60.0, 86_400.0


class AdvertisedLimit(NamedTuple):
    """One rate limit advertised in a response. A value is None if it is missing, unreliable or implausible.

    Attributes:
        unit: what is counted: "requests", "tokens", "input_tokens" or "output_tokens".
        period_seconds: the period over which the units are counted: 60 or 86,400 seconds.
        limit: number of units per period.
        remaining: number of units left now. It is 0 only together with a plausible limit.
        reset: seconds until all units, or the next unit, become available, depending on the provider.
    """

    unit: str
    period_seconds: float
    limit: float | None
    remaining: float | None
    reset: float | None


class RateLimits(msgspec.Struct, frozen=True):
    """The limits of one endpoint, key and model. None means not known or not limited.

    Attributes:
        rpm: requests per minute.
        tpm: tokens per minute.
        rpd: requests per day.
        tpd: tokens per day.
    """

    rpm: float | None = None
    tpm: float | None = None
    rpd: float | None = None
    tpd: float | None = None

    def items(self) -> Iterable[tuple[str, float | None]]:
        """Return the name and the value of each limit."""
        return msgspec.structs.asdict(self).items()

    def __str__(self) -> str:
        known = [f"{value:g} {name}" for name, value in self.items() if value]
        return ", ".join(known) or "without limits"


class CallCost(msgspec.Struct, frozen=True):
    """The requests and tokens that one call uses of its quotas."""

    requests: float = 1.0
    tokens: float = 0.0


class ServerLoad(NamedTuple):
    """The load of a server.

    Attributes:
        running: number of calls that are being processed.
        waiting: number of calls in the server's queue.
    """

    running: float
    waiting: float

"""A call in flight, and the failed attempts of a call before its answer."""

from typing import Any

import msgspec

from manycall.client.endpoint import Endpoint
from manycall.errors import CallError, HttpStatusError, InvalidResponse


class EarlierAttempts(msgspec.Struct):
    """The failed attempts of a call.

    Attributes:
        statuses: the HTTP status of each; 0 if there was no response.
        waited: seconds between the attempts in total: backoff, and waiting for a permit.
        failed_at: when the last of them failed.
    """

    statuses: list[int] = []
    waited: float = 0.0
    failed_at: float = 0.0

    def record(self, error: CallError, now: float) -> None:
        """Record a failed attempt."""
        answered = 200 if isinstance(error, InvalidResponse) else 0
        self.statuses.append(error.status if isinstance(error, HttpStatusError) else answered)
        self.failed_at = now

    def record_sent(self, now: float) -> None:
        """Record that the call is sent again."""
        self.waited += now - self.failed_at


class CallInFlight(msgspec.Struct, frozen=True, gc=False):
    """A call that was sent.

    Attributes:
        origin: where the call comes from, as the caller of `JobClient.call` gave it.
        since: when it was sent.
    """

    origin: Any
    endpoint: Endpoint
    since: float

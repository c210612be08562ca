"""The calls in flight, and the failed attempts of a call before its answer."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

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


class CallInFlight(NamedTuple):
    """A call that was sent.

    Attributes:
        origin: where the call comes from, as the caller of `JobClient.call` gave it.
        since: when it was sent.
    """

    origin: Any
    endpoint: Endpoint
    since: float


class CallsInFlight:
    """The calls of a job that are in flight, the oldest first."""

    def __init__(self) -> None:
        self._calls: dict[int, CallInFlight] = {}
        self._last = 0

    def __repr__(self) -> str:
        return f"<CallsInFlight: {len(self._calls)}>"

    def add(self, call: CallInFlight) -> int:
        """Record a call that is sent. Return its number, for `remove`."""
        self._last += 1
        self._calls[self._last] = call
        return self._last

    def remove(self, number: int) -> None:
        """Record that a call has ended."""
        del self._calls[number]

    def oldest(self, count: int) -> Iterator[CallInFlight]:
        """Yield the calls that were sent first."""
        return islice(self._calls.values(), count)

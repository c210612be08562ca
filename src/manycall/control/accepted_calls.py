"""Count the calls that a server has accepted, to measure the rate that it permits.

An answer takes much longer than a refusal. Therefore a call counts as accepted once it is sent, and no longer counts
once it is refused.
"""

import math
from collections import deque

BIN_SECONDS = 0.02
"""Calls that are sent within this time are counted together."""
HISTORY_SECONDS = 60.0
"""Calls that were sent earlier are forgotten, because the limit may have changed since then."""


class AcceptedCalls:
    """The accepted calls of the last minute, by the time at which they were sent."""

    __slots__ = ("_bins", "_first_at", "_newest_ends")

    def __init__(self) -> None:
        self._first_at = math.inf
        self._bins: deque[list[int]] = deque()  # [number of the bin, accepted calls]
        self._newest_ends = -math.inf

    def __repr__(self) -> str:
        return f"<AcceptedCalls in {len(self._bins)} bins>"

    def record_sent(self, now: float) -> None:
        """Count a call."""
        if now < self._newest_ends:
            self._bins[-1][1] += 1
            return
        if self._first_at == math.inf:
            self._first_at = now
        bins, number = self._bins, int(now / BIN_SECONDS)
        self._newest_ends = (number + 1) * BIN_SECONDS
        bins.append([number, 1])
        while number - bins[0][0] > HISTORY_SECONDS / BIN_SECONDS:
            bins.popleft()

    @property
    def since(self) -> float:
        """The time since which calls are counted: the first call, or the last minute; inf before the first call."""
        return max(self._first_at, self._newest_ends - BIN_SECONDS - HISTORY_SECONDS)

    def record_refused(self, sent: float) -> None:
        """No longer count a call that was sent at this time."""
        number = int(sent / BIN_SECONDS)
        for each in reversed(self._bins):
            if each[0] <= number:
                each[1] -= each[0] == number
                return

    def count(self, after: float, until: float) -> int:
        """Return the number of calls sent later than the bin of `after`, up to the bin of `until`."""
        first, last = (-1 if math.isinf(after) else int(after / BIN_SECONDS)), int(until / BIN_SECONDS)
        return max(0, sum(calls for number, calls in self._bins if first < number <= last))

    def rate(self, after: float, until: float, gained: float = 0.5) -> float:
        """Return the rate of a quota that had no room for a call at both times; at most of the last HISTORY_SECONDS.

        Args:
            gained: by how much of a call the fraction that it had room for is assumed to have grown, from -1 to 1.
        """
        after = max(after, until - HISTORY_SECONDS)
        return (self.count(after, until) + gained) / max(until - after, BIN_SECONDS)

"""Is this endpoint well? One of several that fails again and again is left alone for a while, then tried with a single
call, and only if that is answered with more.

It fails fast, so it always has the fewest calls in flight; without this it would draw all the traffic to itself.
"""

from collections.abc import Callable

FAILURES = 3
"""In a row, before an endpoint is left alone. One reset connection is no illness."""
FAILING = 0.5
"""Or this share of the last calls, whatever lies between them."""
WEIGHT = 0.05
"""Of the newest call in that share."""
FIRST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds; twice as long each time that the first call after it fails too."""
OUTAGE = 3
"""Rests in a row: 7 s of them."""
PROBE_SECONDS = 30.0
"""If the call that tries it is not answered by then, another may."""


class Health:
    """What one endpoint's last calls have shown.

    Attributes:
        rests_until: no call should go there before this moment, if there is another endpoint.
    """

    def __init__(self, note: Callable[[float, str], None] = lambda now, why: None) -> None:
        self.rests_until = float("-inf")
        self._failures = 0
        self._share = 0.0
        self._rests = 0
        self._began = float("-inf")  # the last rest
        self._probe = float("-inf")  # when the call went that tries it
        self._note = note

    def __repr__(self) -> str:
        return f"<Health: {self._failures} failures in a row>"

    def rests(self, now: float) -> bool:
        """Whether it should be left alone: because it failed, or because one call is trying it already."""
        return self._rests > 0 and (now < self.rests_until or now < self._probe + PROBE_SECONDS)

    def sent(self, now: float) -> None:
        """A call goes there."""
        if self._rests and now >= self.rests_until:
            self._probe = now

    def unused(self) -> None:
        """The last call that was to go there did not."""
        self._probe = float("-inf")

    def well(self, sent: float, now: float) -> bool:
        """A call that went at `sent` was answered, or refused for its own reasons. Returns whether an outage ends."""
        self._failures = 0
        self._share -= WEIGHT * self._share
        if not self._rests or sent <= self._began:
            return False
        outage = self._rests >= OUTAGE
        self._rests, self._share, self.rests_until = 0, 0.0, float("-inf")
        self._note(now, "it answers again")
        return outage

    def failed(self, now: float) -> None:
        """A call found nobody, or a server at fault. The calls that fail while it rests already do not count."""
        if now < self.rests_until:
            return
        self._failures += 1
        self._share += WEIGHT * (1 - self._share)
        if self._failures >= FAILURES or self._share > FAILING or self._rests:
            self.rest(now, f"{self._failures} calls in a row failed" if self._failures > 1 else "calls keep failing")

    def rest(self, now: float, why: str) -> None:
        """Leave it alone for a while."""
        seconds = min(LONGEST_REST, FIRST_REST * 2.0**self._rests)
        self._rests += 1
        self._began = now
        self.rests_until, self._probe = now + seconds, float("-inf")
        self._note(now, f"to be left alone for {seconds:g} s: {why}")

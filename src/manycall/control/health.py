"""Is this endpoint well? One of several that fails again and again is left alone for a while, then tried again.

It fails fast, so it always has the fewest calls in flight; without this it would draw all the traffic to itself.
"""

FAILURES = 3
"""In a row, before an endpoint is left alone. One reset connection is no illness."""
FIRST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds; twice as long each time that the first call after it fails too."""


class Health:
    """What one endpoint's last calls have shown.

    Attributes:
        rests_until: no call should go there before this moment, if there is another endpoint.
    """

    def __init__(self) -> None:
        self.rests_until = float("-inf")
        self._failures = 0

    def __repr__(self) -> str:
        return f"<Health: {self._failures} failures in a row>"

    def well(self) -> None:
        """A call was answered, or refused for reasons of its own."""
        self._failures = 0
        self.rests_until = float("-inf")

    def failed(self, now: float) -> None:
        """A call found nobody, or a server at fault. The calls that fail while it rests already do not count."""
        if now < self.rests_until:
            return
        self._failures += 1
        if self._failures >= FAILURES:
            self.rests_until = now + min(LONGEST_REST, FIRST_REST * 2.0 ** (self._failures - FAILURES))

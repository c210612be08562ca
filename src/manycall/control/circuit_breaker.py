"""Circuit breaker: eject an endpoint that keeps failing, then probe it with a single call.

If the probe succeeds, the endpoint gets calls again. Without ejection, a failing endpoint would attract all the
traffic: it fails fast, so it always has the fewest calls in flight.
"""

from collections.abc import Callable

CONSECUTIVE_FAILURES = 3
"""Consecutive failures after which an endpoint is ejected. A single reset connection is not enough."""
FAILURE_RATE = 0.5
"""An endpoint is also ejected if the moving average of its failures exceeds this share of the calls."""
SMOOTHING = 0.05
"""Weight of the newest call in that average."""
MIN_EJECTION_SECONDS, MAX_EJECTION_SECONDS = 1.0, 30.0
"""Duration of the first ejection, and the maximum. The duration doubles each time the probe fails."""
EJECTIONS_PER_OUTAGE = 3
"""Consecutive ejections (1 + 2 + 4 = 7 s) after which the failures count as an outage."""
PROBE_SECONDS = 30.0
"""If the probe is not answered within this time, another probe may be sent."""


class CircuitBreaker:
    """The state of one endpoint, derived from its recent calls.

    Args:
        note: called with the time and a description of every change.

    Attributes:
        ejected_until: no call should be sent to the endpoint before this time if there is another endpoint.
        failure_rate: moving average of the failures; 0.0 if the endpoint has never failed.
    """

    def __init__(self, note: Callable[[float, str], None] = lambda now, why: None) -> None:
        self.ejected_until = float("-inf")
        self._failures = 0
        self.failure_rate = 0.0
        self._ejections = 0
        self._ejected_at = float("-inf")  # start of the last ejection
        self._probe_sent_at = float("-inf")
        self._note = note

    def __repr__(self) -> str:
        return f"<CircuitBreaker: {self._failures} consecutive failures>"

    def is_ejected(self, now: float) -> bool:
        """Return whether the endpoint should get no call, because it failed or because a probe is in flight."""
        return self._ejections > 0 and (now < self.ejected_until or now < self._probe_sent_at + PROBE_SECONDS)

    def record_sent(self, now: float) -> None:
        """Record that a call is sent to the endpoint."""
        if self._ejections and now >= self.ejected_until:
            self._probe_sent_at = now

    def cancel_probe(self) -> None:
        """Record that the last call was not sent after all."""
        self._probe_sent_at = float("-inf")

    def record_success(self, sent: float, now: float) -> bool:
        """Record a call, sent at `sent`, that was answered, or refused because of its content.

        Returns:
            Whether an outage has ended.
        """
        if not (self.failure_rate or self._ejections):
            return False  # it has never failed
        self._failures = 0
        self.failure_rate -= SMOOTHING * self.failure_rate
        if not self._ejections or sent <= self._ejected_at:
            return False
        outage = self._ejections >= EJECTIONS_PER_OUTAGE
        self._ejections, self.failure_rate, self.ejected_until = 0, 0.0, float("-inf")
        self._note(now, "recovered")
        return outage

    def record_failure(self, now: float) -> None:
        """Record a connection failure or a server error. Failures during an ejection do not count."""
        if now < self.ejected_until:
            return
        self._failures += 1
        self.failure_rate += SMOOTHING * (1 - self.failure_rate)
        if self._failures >= CONSECUTIVE_FAILURES or self.failure_rate > FAILURE_RATE or self._ejections:
            self.eject(now, f"{self._failures} consecutive failures" if self._failures > 1 else "high failure rate")

    def eject(self, now: float, why: str) -> None:
        """Eject the endpoint for a while."""
        seconds = min(MAX_EJECTION_SECONDS, MIN_EJECTION_SECONDS * 2.0**self._ejections)
        self._ejections += 1
        self._ejected_at = now
        self.ejected_until, self._probe_sent_at = now + seconds, float("-inf")
        self._note(now, f"ejected for {seconds:g} s: {why}")

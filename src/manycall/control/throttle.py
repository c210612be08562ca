"""Learn a rate limit from refusals (429): pause all calls to an endpoint, then pace them.

This module handles rate limits that are neither configured nor advertised in headers.

Pause: a 429 pauses all calls to the endpoint for as long as its Retry-After requests. Without Retry-After the pause
is 0.1 s, and doubles if the next refusal follows within 5 s. Calls that were in flight when the pause began are often
refused too. These refusals belong to the same wave and count once. After the first waves, and after one that followed
its predecessor within 5 s, a single probe call is sent after the pause. The others follow once enough time has passed
for the server to refuse the probe.

Pace: the learned rate starts at the rate of recently accepted calls. It grows slowly at first, and faster the longer no
call is refused, so that a raised quota is discovered. An answer takes much longer than a refusal. Therefore every
call that was sent counts as accepted from the start, and no longer counts once it is refused.

If the share of refusals is no lower at half the rate and at a quarter of it, the refusals are random
(control/random_refusals.py). The learned rate is then dropped. From then on, only refusals beyond the random share
pause the endpoint and set a rate. Any other refusal delays only its own call, for as long as the server requested.
"""

import math
from collections import deque
from collections.abc import Callable

from manycall.control.quota import GcraLimiter
from manycall.control.random_refusals import RandomRefusals

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 30.0
"""Shortest and longest pause after a 429 without Retry-After."""
SAME_EVENT_SECONDS = 5.0
"""A wave of refusals that starts within this time after the previous wave doubles the pause."""
MIN_CALLS_PER_SECOND = 0.2
"""The learned rate never falls below this."""
GROWTH_PER_SECOND = 1.35
"""The rate grows by this factor per second after the first wave of refusals and before the second (the ramp). In that
phase the measured rate of accepted calls is unreliable."""
GROWTH_AFTER_DECREASE, DECREASE_FACTOR = 0.75, 0.95
"""The rate is multiplied by the first factor at the refusal that ends the ramp, and by the second at later refusals."""
MIN_MEASURED_SECONDS = 10.0
"""The rate of accepted calls is measured over this time before now."""


class Throttle:
    """The pause and the learned rate of one endpoint, key and model.

    Args:
        note: called with the time and a description of every change.
    """

    def __init__(self, note: Callable[[float, str], None] = lambda now, why: None) -> None:
        self._note = note
        self._limiter: GcraLimiter | None = None  # None: no rate has been learned
        self._base_rate = self._growth_started_at = 0.0  # the rate after the last refusal, and when its growth began
        self._calls_since_change = 0
        self._ramping = True  # no second wave of refusals yet
        self._closed_until = self._closed_at = float("-inf")
        self._consecutive_waves = 0
        self._probe_sent_at: float | None = None
        self._needs_probe = False
        self._probe_timeout = 1.0
        self._first_call_at: float | None = None
        self._accepted: deque[list[float]] = deque()  # [second, accepted calls]
        self._random_refusals = RandomRefusals()

    def __repr__(self) -> str:
        return f"<Throttle {'no limit' if self._limiter is None else f'{self._limiter.rate:.3g}/s'}>"

    @property
    def rate(self) -> float | None:
        """The learned rate in calls per second; None while there is none."""
        return None if self._limiter is None else self._limiter.rate

    def earliest(self, now: float) -> float:
        """Return the earliest time at which a call may be sent."""
        at = self._closed_until
        if self._probe_sent_at is not None:
            at = max(at, self._probe_sent_at + self._probe_timeout)
        if self._limiter is None:
            return at
        self._limiter.set_rate(self._current_rate(now))
        return max(at, self._limiter.earliest(1.0))

    def cancel(self) -> None:
        """Record that the call of the last `record_sent` was not sent after all."""
        if self._probe_sent_at is not None:
            self._probe_sent_at, self._needs_probe = None, True

    def pause_until(self, until: float) -> None:
        """Pause all calls until the time at which the server's quota is reset."""
        self._closed_until = max(self._closed_until, until)

    def _current_rate(self, now: float) -> float:
        """Return the rate now: the rate after the last refusal, plus its growth since then.

        During the ramp the rate grows by 35 % per second, for 20 s at most. Later it is multiplied by
        1 + t / 200 s + (t / 60 s)³. The cubic term is the curve of CUBIC's window (RFC 9438). In this phase t advances
        by at most 0.1 s per call that is sent, so that a slow quota is not exceeded too often.
        """
        t = max(0.0, now - self._growth_started_at)
        if self._ramping:
            return self._base_rate * math.pow(GROWTH_PER_SECOND, min(t, 20.0))
        t = min(t, self._calls_since_change / 10)
        return self._base_rate * (1 + t / 200 + (t / 60) ** 3)

    def record_sent(self, now: float) -> None:
        """Record a call that is sent at a time permitted by `earliest`."""
        if self._first_call_at is None:
            self._first_call_at = now
        self._probe_sent_at, self._needs_probe = (now if self._needs_probe else None), False
        if self._limiter is not None:
            self._limiter.consume(1.0, now)
        self._calls_since_change += 1
        self._random_refusals.record_sent()
        self._count(now, 1)

    def record_429(self, sent: float, now: float, wait: float | None, *, has_limit: bool = False) -> bool:
        """Record that a call was refused with 429.

        Args:
            sent: time at which the call was sent.
            now: current time.
            wait: seconds that the server asks the client to wait; None if it does not say.
            has_limit: the endpoint's limit is configured or advertised, and control/quota.py keeps to it. One wave of
                refusals then sets no rate, because a call may have used more tokens than estimated. A second wave
                within SAME_EVENT_SECONDS does, because another client probably uses the same quota.

        Returns:
            Whether the refusal concerns all calls. If not, it is random, and only this call should wait.
        """
        self._count(sent, -1)
        self._random_refusals.record_429()
        if not self._random_refusals.is_informative():
            return False
        self._probe_timeout = min(2.0, max(0.05, 4 * (now - sent)))
        if wait is not None:
            self._closed_until = max(self._closed_until, now + wait)
        if sent < self._closed_at:
            if self._ramping:  # the rate was measured before these calls were known to be refused
                self._base_rate = min(self._base_rate, max(self._accepted_per_second(now), MIN_CALLS_PER_SECOND))
            return True
        self._consecutive_waves = self._consecutive_waves + 1 if now - self._closed_at < SAME_EVENT_SECONDS else 1
        if wait is None:
            self._closed_until = now + min(MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS * 2.0 ** (self._consecutive_waves - 1))
        if not has_limit or self._consecutive_waves > 1:
            self._update_rate(now)
        self._closed_at, self._probe_sent_at = now, None
        self._needs_probe = self._consecutive_waves > 1 or (self._ramping and not has_limit)
        return True

    def _update_rate(self, now: float) -> None:
        """Set the rate after a wave of refusals, and drop it if refusals turn out to be random."""
        accepted_rate = self._accepted_per_second(now)
        if self._limiter is None:
            self._base_rate = max(accepted_rate, MIN_CALLS_PER_SECOND)
            self._limiter = GcraLimiter(self._base_rate)
        elif self._calls_since_change > 1:  # if only the probe was sent, nothing new was measured
            reduced = self._current_rate(now) * (GROWTH_AFTER_DECREASE if self._ramping else DECREASE_FACTOR)
            self._base_rate = max(MIN_CALLS_PER_SECOND, min(reduced, max(accepted_rate, reduced / 2)))
            self._ramping = False
        self._growth_started_at, self._calls_since_change = max(now, self._closed_until), 0
        self._note(
            now, f"429: continue at {self._base_rate:.3g} calls/s after {max(0.0, self._closed_until - now):.2g} s"
        )
        if self._random_refusals.record_slowdown(self._base_rate, MIN_CALLS_PER_SECOND):
            self._limiter = None
            share = self._random_refusals.refusal_rate
            self._note(now, f"429: {share:.0%} of the calls are refused at any rate: rate limit dropped")

    def _count(self, sent: float, change: int) -> None:
        """Count a call that was sent at this time as accepted (change 1), or no longer as accepted (change -1)."""
        second = float(int(sent))
        if change > 0 and (not self._accepted or self._accepted[-1][0] != second):
            self._accepted.append([second, 0.0])
            while second - self._accepted[0][0] > MIN_MEASURED_SECONDS:
                self._accepted.popleft()
        for entry in reversed(self._accepted):
            if entry[0] == second:
                entry[1] += change
                break

    def _accepted_per_second(self, now: float) -> float:
        """Return the number of accepted calls per second in the last MIN_MEASURED_SECONDS."""
        span = min(MIN_MEASURED_SECONDS, now - (self._first_call_at if self._first_call_at is not None else now))
        return max(0.0, sum(count for _, count in self._accepted)) / max(span, 1.0)

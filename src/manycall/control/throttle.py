"""Learn a rate limit from refusals (429): pause all calls to an endpoint, then pace them.

This module handles rate limits that are neither configured nor advertised in headers.

Pause: a 429 pauses all calls to the endpoint for as long as its Retry-After requests. Without Retry-After the first
pause is 1 s and later ones are 0.1 s. A pause doubles if no call was accepted since the previous one. Calls that were
in flight when the pause began are often refused too. These refusals belong to the same wave and count once. While the
rate is being measured, and after a pause without accepted calls, a single probe call is sent after the pause. The
others follow once enough time has passed for the server to refuse the probe.

Pace: the calls that the server accepted before its first refusal say little about its limit, because most servers
permit a burst. But a refusal shows that the server's quota is used up, and so does the next one. Therefore the calls
accepted from one refusal to the next, divided by the time between them, are the permitted rate. To find it soon, the
pace doubles several times until the second one. Afterwards it is 5 % less than measured, and grows slowly
(control/pace_growth.py).

A server that permits a minute's calls at once also permits later what was not used during a pause or at a low pace.
Then the first measurement is not too low. It is rounded down, because one refusal more is many at a slow quota.

If the share of refusals is no lower after two reductions of the rate by a fifth, the refusals are random
(control/random_refusals.py). The learned rate is then dropped. From then on, only refusals beyond the random share
pause the endpoint and set a rate. Any other refusal delays only its own call, for as long as the server requested.
"""

import math
from collections.abc import Callable

from manycall.control.accepted_calls import BIN_SECONDS, AcceptedCalls
from manycall.control.gcra import GcraLimiter
from manycall.control.pace_growth import GrowthStage, PaceGrowth
from manycall.control.random_refusals import RandomRefusals

FIRST_PAUSE_SECONDS, MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 1.0, 0.1, 8.0
"""Pause after a 429 without Retry-After: while the rate is being measured, later, and the longest."""
REPEATED_SECONDS = 5.0
"""If an endpoint has a known limit, a wave of refusals within this time after the previous one sets a learned rate."""
MIN_CALLS_PER_SECOND = 0.2
"""The learned rate never falls below this."""
DECREASE_FACTOR = 0.95
"""The rate after a refusal, relative to the measured rate, and to the rate before at most."""
PROBE_FACTOR, MIN_PROBE_SECONDS, MAX_PROBE_SECONDS = 2.0, 0.05, 2.0
"""A probe call counts as accepted after this multiple of the time that the last refusal took, within these bounds."""
BURST_SECONDS = 1.0
"""Time before the first refusal whose accepted calls set the pace after it."""
MIN_ACCEPTED = 8
"""Accepted calls between two refusals from which the rate counts as measured."""
RECENT_SECONDS = 10.0
"""The rate is measured over this time at most. Only the first measurement takes longer, if it needs to."""


class Throttle:
    """The pause and the learned rate of one endpoint, key and model.

    Args:
        note: called with the time and a description of every change.
    """

    def __init__(self, note: Callable[[float, str], None] = lambda now, why: None) -> None:
        self._note = note
        self._accepted = AcceptedCalls()
        self._limiter: GcraLimiter | None = None  # None: no rate has been learned
        self.reset()

    def reset(self) -> None:
        """End the pause and drop the learned rate, because the refusals have another cause."""
        self._limiter = None
        self._pace = PaceGrowth(MIN_CALLS_PER_SECOND)
        self._closed_until = self._closed_at = -math.inf
        self._exhausted_at = -math.inf  # when the last call was sent that found the quota used up
        self._burst_ends_at = -math.inf  # when the first of these was sent
        self._waves_without_success = 0
        self._probe_sent_at: float | None = None
        self._needs_probe = False
        self._probe_timeout = 1.0
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
        self._limiter.set_rate(self._pace.rate(now))
        return max(at, self._limiter.earliest(1.0))

    def cancel(self) -> None:
        """Record that the call of the last `record_sent` was not sent after all."""
        if self._probe_sent_at is not None:
            self._probe_sent_at, self._needs_probe = None, True

    def pause_until(self, until: float) -> None:
        """Pause all calls until the time at which the server's quota is reset."""
        self._closed_until = max(self._closed_until, until)

    def measure_again(self, now: float) -> None:
        """Measure the rate anew, from the present one, because others no longer use a part of the quota."""
        if self._limiter is not None and not self._pace.is_measuring:
            self._pace.set_rate(self._pace.rate(now), GrowthStage.SEARCH)
            self._pace.start(now)
            self._exhausted_at = now

    def record_sent(self, now: float) -> None:
        """Record a call that is sent at a time permitted by `earliest`."""
        self._accepted.record_sent(now)
        if self._closed_at == -math.inf:  # no call was refused
            return
        self._probe_sent_at = now if self._needs_probe else None
        if self._needs_probe and self._pace.is_measuring:
            self._pace.start(now + self._probe_timeout)
        self._needs_probe = False
        if self._limiter is not None:
            self._limiter.set_rate(self._pace.rate(now))
            self._limiter.consume(self._pace.cost(now), now)
        self._pace.record_sent()
        self._random_refusals.record_sent(now)

    def sent_since(self, at: float, now: float) -> int:
        """Return the number of calls sent since a call that was sent at this time, including it, and not refused."""
        return self._accepted.count(at - BIN_SECONDS, now)

    def record_429(self, sent: float, now: float, wait: float | None, *, has_limit: bool = False) -> bool:
        """Record that a call was refused with 429.

        Args:
            sent: time at which the call was sent.
            now: current time.
            wait: seconds that the server asks the client to wait; None if it does not say.
            has_limit: the endpoint's limit is configured or advertised, and control/quota.py keeps to it. One wave of
                refusals then sets no rate, because a call may have used more tokens than estimated. A second wave
                within REPEATED_SECONDS does, because another client probably uses the same quota.

        Returns:
            Whether the refusal concerns all calls. If not, it is random, and only this call should wait.
        """
        self._accepted.record_refused(sent)
        self._random_refusals.record_429()
        if not self._random_refusals.is_informative():
            return False
        self._probe_timeout = min(MAX_PROBE_SECONDS, max(MIN_PROBE_SECONDS, PROBE_FACTOR * (now - sent)))
        if wait is not None:
            self._closed_until = max(self._closed_until, now + wait)
        if sent <= self._closed_at:
            self._exhausted_at = max(self._exhausted_at, sent)
            if self._pace.stage is GrowthStage.RAMP:
                self._begin_ramp(self._closed_at, now - sent)  # this call was counted as accepted
            return True
        learns = not has_limit or now - self._closed_at < REPEATED_SECONDS
        accepted = self._accepted.count(self._closed_at, sent)
        is_useless = self._closed_at > -math.inf and not accepted
        self._waves_without_success = self._waves_without_success + 1 if is_useless else 0
        if learns and self._limiter is None:
            self._begin_ramp(now, now - sent)
        if wait is None:
            pause = FIRST_PAUSE_SECONDS if self._pace.is_measuring else MIN_PAUSE_SECONDS
            self._closed_until = now + min(MAX_PAUSE_SECONDS, pause * 2.0**self._waves_without_success)
        if learns:
            self._update_rate(accepted, sent, now)
        self._closed_at, self._probe_sent_at = now, None
        self._needs_probe = self._pace.is_measuring or self._waves_without_success > 0
        return True

    def _update_rate(self, accepted: int, sent: float, now: float) -> None:
        """Set the rate after a wave of refusals, and drop it if refusals turn out to be random."""
        if self._limiter is None:
            self._limiter = GcraLimiter(self._pace.base_rate)
            self._exhausted_at = self._burst_ends_at = sent
        elif accepted:  # if only the probe was sent, nothing new was measured
            self._measure(sent, now)
        self._pace.start(max(now, self._closed_until))
        rate = self._pace.base_rate
        self._note(now, f"429: continue at {rate:.3g} calls/s after {max(0.0, self._closed_until - now):.2g} s")
        if self._pace.is_measuring:
            self._random_refusals.restart()
        elif self._random_refusals.record_slowdown(rate, MIN_CALLS_PER_SECOND):
            self._limiter = None
            share = self._random_refusals.refusal_rate
            self._note(now, f"429: {share:.0%} of the calls are refused at any rate: rate limit dropped")

    def _measure(self, sent: float, now: float) -> None:
        """Set the rate to that of the calls accepted since the quota was last known to be used up."""
        since, rate = self._exhausted_at, DECREASE_FACTOR * self._pace.rate(now)
        is_enough = self._accepted.count(since, sent) >= MIN_ACCEPTED
        if self._pace.is_measuring:
            is_exact = self._keeps_unused_calls(sent)
            measured = DECREASE_FACTOR * self._accepted.rate(since, sent, gained=-0.5 if is_exact else 0.5)
            stage = GrowthStage.LATER if is_exact else GrowthStage.FIRST
            self._pace.set_rate(min(rate, measured), stage if is_enough else GrowthStage.SEARCH)
        else:
            measured = DECREASE_FACTOR * self._accepted.rate(max(since, sent - RECENT_SECONDS), sent)
            self._pace.set_rate(min(rate, max(measured, rate / 2)) if is_enough else rate, GrowthStage.LATER)
        if is_enough:  # else measure on, from the same refusal
            self._exhausted_at = sent

    def _keeps_unused_calls(self, now: float) -> bool:
        """Whether the server permits all the calls that were not made since its quota was last known to be used up.

        They are at most those that were made. The server permits as many at once if it has accepted as many above its
        rate before the first refusal. Calls that were all sent at once do not show it: the refusals may be random.
        """
        since, until = self._accepted.since, self._burst_ends_at
        if until - since < BURST_SECONDS:
            return False
        count = self._accepted.count(self._exhausted_at, now)
        rate = count / max(now - self._exhausted_at, BIN_SECONDS)
        burst = self._accepted.count(-math.inf, until) - rate * (until - since)
        return burst >= max(MIN_ACCEPTED, count)

    def _begin_ramp(self, refused_at: float, refusal_seconds: float) -> None:
        """Set the rate with which the measurement begins, after a refusal at this time."""
        self._pace.begin_ramp(self._accepted.count(refused_at - BURST_SECONDS, refused_at), refusal_seconds)

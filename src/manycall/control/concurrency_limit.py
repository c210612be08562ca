"""Recognise a limit of concurrent calls from refusals (429), and find its size.

Some servers do not limit the calls per minute but the calls in flight, and refuse the next one with the same status. A
rate limit admits calls again after a pause at any number. A concurrency limit refuses the call that finds as
many others in flight as before. Therefore the number of other calls in flight is compared between waves of refusals:

* Another number, or more calls in flight for a while without a refusal: a rate limit (control/throttle.py).
* The same number again: that number becomes the limit, and the endpoint is neither paused nor paced. Until it is
  confirmed, the limit must stay close to that number, and calls within it must be accepted. If they are not, the cause
  is a rate limit after all.
* Confirmed: a number of calls within the limit were accepted in a row, and one call beyond it was refused.

A limit is then probed with one call more, with twice as many more after each success, and rarely after a refusal.
Refusals within the limit reduce it. Just after it was found they reduce it by TOLERANCE only, because calls that were
on their way then were counted too.
"""

import math
from collections.abc import Callable
from enum import Enum

TOLERANCE, MIN_TOLERANCE = 0.05, 1
"""Two waves were refused at the same number of calls if it differs by this share at most, or by MIN_TOLERANCE calls.
Calls on their way count as in flight at the client only, so the number that the client sees varies."""
MIN_ACCEPTED = 3
"""Calls that must have been accepted between two waves for two waves to suffice. Otherwise it takes MAX_WAVES: the
pause may have been too short for a slow rate limit to admit even one call."""
SMALL_LIMIT = 3
"""Below this many calls, the number must be exactly the same in all waves but the first, because many are similar."""
MAX_WAVES = 3
STANDING_SECONDS = 0.3
"""A call stands if it was not refused within this time, or four times the time that a refusal takes."""
MIN_CONFIRMING_CALLS = 20
"""Calls in a row within the limit that must be accepted to confirm it."""
MAX_UNEXPLAINED, MAX_UNEXPLAINED_SHARE = 5, 0.1
"""An unconfirmed limit fails after this many refusals within it (or a quarter of the limit, if that is less), plus
TOLERANCE of the limit, plus this share of the calls."""
GAP_SMOOTHING, GAP_SHARE = 0.3, 0.5
"""A call of a probe is sent this share of the average time between two calls after the previous call. A rate limit that
permits no burst would refuse the second of two calls in quick succession."""
STEP_SECONDS = 1.0
"""Time from one successful probe to the next."""
UNCONFIRMED_RETRY_SECONDS, MIN_RETRY_SECONDS, MAX_RETRY_SECONDS, CALLS_PER_PROBE = 2.0, 5.0, 30.0, 50
"""After a refused probe, the next one follows in 5 s, 10 s, 20 s and so on up to 30 s, but not before 50 more calls, so
that probes cause at most 2 % of refusals. Until the limit is confirmed, it follows in 2 s, 4 s, 8 s and so on."""
MAX_STEP_SHARE = 0.25
"""Largest step of a probe, as a share of the limit."""
DECREASE_FACTOR, FALLING_SHARE = 0.8, 8
"""The limit is multiplied by the factor if a call within it is refused again before an eighth as many were accepted."""
MAX_DECREASES, MAX_SURPLUS_DECREASES = 6, 5
"""After this many such reductions, and this many more than increases, the cause is a rate limit after all."""


class Cause(Enum):
    """The cause of the refusals of an endpoint."""

    UNKNOWN = "unknown"
    CONCURRENCY = "concurrency"
    RATE = "rate"


class ConcurrencyLimit:
    """The limit of concurrent calls of one endpoint, key and model.

    Args:
        note: called with the time and a description of every change.

    Attributes:
        cause: what the refusals depend on. RATE is final.
        size: number of calls that may be in flight, including those of a probe; None without a limit.
        is_confirmed: whether a probe was refused although calls within the limit are accepted.
    """

    def __init__(self, note: Callable[[float, str], None] = lambda now, why: None) -> None:
        self._note = note
        self.cause = Cause.UNKNOWN
        self.size: int | None = None
        self.is_confirmed = False
        self._found = self._remaining = 0  # calls in flight at which calls are refused: two estimates (`_lowest`)
        self._waves = self._last_others = 0
        self._changed_at = -math.inf  # start of the wave, or last change of the limit: calls sent before it are ignored
        self._sent = self._peak = 0  # calls since then, and the most of them in flight
        self._above_since: float | None = None  # since when more calls are in flight than the limit, without a refusal
        self._standing_seconds = STANDING_SECONDS
        self._last_sent_at = 0.0
        self._gap = 0.0  # moving average of the time between two calls
        self._limit = 0  # without the calls of a probe
        self._is_upper_bound = False  # no call was accepted yet since a refusal has set it
        self._step, self._misses, self._probe_at = 1, 0, math.inf
        self._calls_since_probe = self._calls_in_row = 0
        self._concluded_at, self._concluded = math.inf, 0  # when the limit was recognised, and its size then
        self._within, self._unexplained = 0, 0  # calls and refusals within an unconfirmed limit
        self._decreases = self._increases = 0

    def __repr__(self) -> str:
        return f"<ConcurrencyLimit {self.cause.value}, {self.size}>"

    @property
    def is_active(self) -> bool:
        """Whether calls must be recorded: refusals were seen, and a rate limit is not known to be their cause."""
        return self._waves > 0 and self.cause is not Cause.RATE

    def _lowest(self) -> float:
        """Return the smallest number of calls in flight that may be the one at which the first wave was refused.

        The first call of the wave found that many others in flight, except those on their way, and unless calls were
        sent at the same moment and arrived in another order. When the last call of the wave returns, that many remain
        in flight, unless some were answered meanwhile.
        """
        return min(self._found, self._remaining) - max(MIN_TOLERANCE, TOLERANCE * self._found)

    def _highest(self) -> float:
        """Return the largest number of calls in flight that may be the one at which the first wave was refused."""
        return max(self._found, self._remaining) + max(MIN_TOLERANCE, TOLERANCE * self._found)

    def _is_same(self, others: int) -> bool:
        """Whether a later wave was refused at the same number of calls in flight."""
        is_exact = self._waves > 1 and min(others, self._last_others) < SMALL_LIMIT
        return others == self._last_others if is_exact else self._lowest() <= others <= self._highest()

    def record_sent(self, in_flight: int, now: float) -> None:
        """Record a call that is sent; `in_flight` includes it. Needed only while `is_active`."""
        self._gap += GAP_SMOOTHING * (now - self._last_sent_at - self._gap)
        self._last_sent_at = now
        self._sent += 1
        self._peak = max(self._peak, in_flight)
        self._within += 1
        self._calls_since_probe += 1
        self._calls_in_row += 1
        most = self._limit if self.size is not None else self._highest()
        if in_flight <= most:
            if self.size is None:
                self._above_since = None
        elif self._above_since is None:
            self._above_since = now

    def earliest(self, in_flight: int) -> float:
        """Return the earliest time at which a call may be sent. Only the calls of a probe have to wait."""
        if self.size is None or in_flight < self._limit:
            return -math.inf
        return self._last_sent_at + GAP_SHARE * self._gap

    def update(self, in_flight: int, now: float) -> bool:
        """Draw conclusions from calls that were not refused. Return whether `size` or `cause` has changed.

        Args:
            in_flight: number of calls in flight, including the one that has just been answered.
            now: current time.
        """
        stands = self._above_since is not None and now - self._above_since >= self._standing_seconds
        if self.size is None:
            return stands and in_flight > self._highest() and self._conclude_rate(now, self._accepted_more())
        if self.size > self._limit:
            return stands and self._grow(now)
        return self._is_probe_due(in_flight, now) and self._begin_probe()

    def _is_probe_due(self, in_flight: int, now: float) -> bool:
        """Whether to try more calls. If the limit is not in use, more calls would not exceed it."""
        is_rare = self.is_confirmed and self._misses > 0
        is_spaced = not is_rare or self._calls_since_probe >= CALLS_PER_PROBE
        return now >= self._probe_at and is_spaced and in_flight >= self._limit - 1

    def _begin_probe(self) -> bool:
        self.size = self._limit + self._step
        self._peak, self._above_since = 0, None
        return True

    def record_429(
        self, others: int, remaining: int, sent: float, now: float, *, names_concurrency: bool = False
    ) -> None:
        """Record that a call was refused with 429.

        Args:
            others: number of other calls in flight when it was sent.
            remaining: number of other calls in flight now.
            sent: time at which it was sent.
            now: current time.
            names_concurrency: the server says that its cause is a concurrency limit. It may be wrong.
        """
        if self.cause is Cause.RATE:
            return
        self._standing_seconds = min(2.0, max(STANDING_SECONDS, 4 * (now - sent)))
        if sent <= self._changed_at:  # of the same wave
            if self._waves == 1:
                self._found, self._remaining = min(self._found, others), min(self._remaining, remaining)
            self._unexplained += sent > self._concluded_at and others < self._concluded
            return
        if self.size is not None:
            self._record_excess(others, now)
        elif self._waves and not self._is_same(others):
            self._conclude_rate(now, f"refused at {others} calls in flight, before at {self._found}")
        else:
            if not self._waves:
                self._found, self._remaining = others, remaining
            self._last_others = others
            accepted = self._sent - 1
            self._begin(now)
            self._waves += 1
            needed = MAX_WAVES - (accepted >= MIN_ACCEPTED <= others) - names_concurrency
            if self._waves >= max(2, needed):
                self._conclude_concurrency(others, now)

    def _begin(self, now: float) -> None:
        self._changed_at, self._sent, self._peak, self._above_since = now, 0, 0, None

    def _accepted_more(self) -> str:
        return f"more than {self._found} calls in flight are accepted"

    def _conclude_rate(self, now: float, why: str) -> bool:
        self.cause, self.size = Cause.RATE, None
        self._note(now, f"429: not a concurrency limit: {why}")
        return True

    def _conclude_concurrency(self, others: int, now: float) -> None:
        self.cause, self._concluded_at, self._concluded = Cause.CONCURRENCY, now, others
        self._within = self._unexplained = self._calls_in_row = 0
        self._set_limit(others, now, "refused again with as many calls in flight")
        self._is_upper_bound = True
        self._probe_at = now + UNCONFIRMED_RETRY_SECONDS

    def _set_limit(self, limit: int, now: float, why: str) -> None:
        self._limit = self.size = max(1, limit)
        self._is_upper_bound = False
        self._begin(now)
        self._note(now, f"429: concurrency limit {self._limit}: {why}")

    def _grow(self, now: float) -> bool:
        """Raise the limit to that of a successful probe."""
        limit = min(self._limit + self._step, self._peak)
        if not self.is_confirmed and limit > self._highest():
            return self._conclude_rate(now, self._accepted_more())
        self._increases += 1
        self._step = max(1, min(2 * self._step, int(MAX_STEP_SHARE * limit)))
        self._misses, self._probe_at = 0, now + STEP_SECONDS
        self._set_limit(limit, now, "more calls are accepted")
        return True

    def _record_excess(self, others: int, now: float) -> None:
        """Record a refusal while there is a limit: of a probe, or of a call within the limit."""
        assert self.size is not None
        if self.size > self._limit <= others:
            self.is_confirmed = self.is_confirmed or self._calls_in_row > MIN_CONFIRMING_CALLS
            self._probe_refused(others, now)
            return
        accepted, self._calls_in_row = self._sent - 1, 0
        self._unexplained += others < self._concluded
        if not self.is_confirmed:
            most = min(MAX_UNEXPLAINED, self._limit / 4) + TOLERANCE * self._limit
            if self._unexplained > most + MAX_UNEXPLAINED_SHARE * self._within or others < self._lowest():
                self._conclude_rate(now, f"refused at {others} calls in flight, before at {self._found}")
                return
        is_small = accepted > (self._limit // FALLING_SHARE if self.is_confirmed else 0)
        if is_small:
            limit = others
        elif self._is_upper_bound:
            limit, is_small = int((1 - TOLERANCE) * others), True
        else:
            limit = int(DECREASE_FACTOR * others)
        self._reduce(limit, is_small, now)

    def _probe_refused(self, others: int, now: float) -> None:
        self._step = 1
        first = MIN_RETRY_SECONDS if self.is_confirmed else UNCONFIRMED_RETRY_SECONDS
        self._probe_at = now + min(MAX_RETRY_SECONDS, first * 2.0 ** min(self._misses, 10))
        self._misses += 1
        self._calls_since_probe = 0
        self._limit = self.size = others  # all calls of the probe before the refused one were accepted
        self._is_upper_bound = True
        self._begin(now)

    def _reduce(self, limit: int, is_small: bool, now: float) -> None:
        """Reduce the limit, because a call within it was refused."""
        self._step, self._misses, self._probe_at = 1, 0, now + (MIN_RETRY_SECONDS if is_small else STEP_SECONDS)
        if not is_small:
            self._decreases += 1
            if self._decreases >= MAX_DECREASES and self._decreases >= self._increases + MAX_SURPLUS_DECREASES:
                self._conclude_rate(now, "calls are refused at any number in flight")
                return
        self._set_limit(limit, now, "fewer calls are accepted")

"""Pace calls so that they stay within request and token limits per minute and per day.

Hosted endpoints limit the rate, so the rate is paced and the number of calls in flight follows from it. Each limit is
a virtual schedule (control/gcra.py). Pacing is smooth, with almost no burst, because servers count in windows of one
second, ten seconds or a minute, and smooth pacing satisfies all of them.

Bursts are permitted at a server that advertises a token bucket: a limit per minute, the units that remain, and the time
until all are available again. The units that remain then and those that are refilled until then are the capacity of the
bucket, which is at most one minute's limit; a server that counts in windows of a minute exceeds that. The schedule
follows the bucket: it permits what remains at once, except for a reserve, and afterwards the rate. If the server
refuses a call although much remains, it also limits shorter periods, and the schedule is smooth from then on.

A call reserves its estimated cost before it is sent. When the response reports the actual cost, the difference is
settled. Calls must be admitted in order (client/permits.py), so that no call overtakes another and a large call never
starves.
"""

import math
from collections.abc import Sequence

import msgspec

from manycall.control.gcra import GcraLimiter
from manycall.limits import DAY_SECONDS, MINUTE_SECONDS, AdvertisedLimit, CallCost, RateLimits

UTILIZATION = 0.98
"""Share of a configured or advertised limit that is used. Clocks differ, and other clients may use the same quota."""
BURST_SECONDS = 0.02
"""Size of the burst that a limit allows, in seconds of its rate. A timer that fires this late loses no throughput.
UTILIZATION · (1 s + BURST_SECONDS) <= 1 s, so that no one-second window exceeds one second's share of the limit."""
ASSUMED_TOKENS_PER_CALL = 300.0
"""Rough cost of one call, used to convert a token limit into a number of calls."""
CERTAIN_SHARE = 0.5
"""Share of the remaining tokens that may be used before the next response shows how many remain. The tokens of a call
are estimated, and too low at first, because short answers arrive first."""
TOKEN_RESERVE_SECONDS, MAX_TOKEN_RESERVE = 1.0, 0.9
"""Tokens of a bucket that are not used at once, in seconds of the limit and as a share of the bucket at most. The
estimates of the calls in flight may all be too low, and a small bucket would be overdrawn again and again."""
ENOUGH_SHARE = 0.1
"""If at least this share of each limit remains and a call is refused, the server also limits shorter periods."""
RESET_ERROR_SECONDS = 2.0
"""Largest error of an advertised reset. Some are rounded up to whole seconds, or follow from two dates."""
MIN_PLAUSIBLE_LIMIT = {"requests": 1.0, "tokens": 1000.0}
"""Smaller advertised limits are ignored. A server that reports them has just started, or reports wrong values, and a
client that obeys them sends too few calls to read a corrected value."""
_NAMES = {
    ("requests", MINUTE_SECONDS): "rpm",
    ("tokens", MINUTE_SECONDS): "tpm",
    ("requests", DAY_SECONDS): "rpd",
    ("tokens", DAY_SECONDS): "tpd",
}
NO_COST = CallCost(0.0, 0.0)


class Quota:
    """All rate limits of one endpoint, key and model.

    Attributes:
        limits: the whole limits, also if this process may only use a share of them.
        has_limits: whether there are any. Without, a call needs neither `earliest` nor `reserve`.
        counts_tokens: whether there is a token limit, so that the tokens of a call must be estimated.
    """

    def __init__(self, limits: RateLimits) -> None:
        self._configured = limits
        self._share = 1.0
        self._buckets: set[str] = set()  # the limits whose limiter follows a token bucket
        self._windows: set[str] = set()  # the limits that are known to have no token bucket
        self._limiters: dict[str, GcraLimiter] = {}
        self._set_limits(limits, 0.0)

    def __repr__(self) -> str:
        return f"<Quota {self.limits}>"

    def _set_limits(self, limits: RateLimits, now: float) -> None:
        """Use these limits from now on. A limiter is charged with the units that the one before still owes."""
        self.limits, old = limits, self._limiters
        self._limiters = {name: _limiter(name, each * self._share) for name, each in limits.items() if each}
        for name in self._limiters.keys() & old.keys():
            self._limiters[name].carry_over(old[name], now)
        self._buckets.clear()
        self._requests = [each for name, each in self._limiters.items() if name.startswith("r")]
        self._tokens = [each for name, each in self._limiters.items() if name.startswith("t")]
        self.has_limits, self.counts_tokens = bool(self._limiters), bool(self._tokens)

    @property
    def calls_per_second(self) -> float | None:
        """Roughly how many calls per second the limits per minute permit, to all processes; None if there are none."""
        rpm, tpm = self.limits.rpm or math.inf, (self.limits.tpm or math.inf) / ASSUMED_TOKENS_PER_CALL
        return None if min(rpm, tpm) == math.inf else min(rpm, tpm) / MINUTE_SECONDS

    @property
    def permits_bursts(self) -> bool:
        """Whether the server advertises a token bucket, so that the calls need not be spread evenly."""
        return bool(self._buckets)

    def set_share(self, share: float, now: float) -> None:
        """Use only this share of each limit from now on, more than 0; other processes use the rest."""
        if share != self._share:
            self._share = share
            self._set_limits(self.limits, now)

    def calls_within(self, seconds: float) -> float:
        """Return roughly how many calls the limits admit within `seconds`; inf if no limit is known."""
        calls = [limiter.burst + limiter.rate * seconds for limiter in self._requests]
        calls += [(limiter.burst + limiter.rate * seconds) / ASSUMED_TOKENS_PER_CALL for limiter in self._tokens]
        return min(calls, default=float("inf"))

    def apply_advertised(
        self, advertised: Sequence[AdvertisedLimit], now: float, sent: float = -math.inf, later: CallCost = NO_COST
    ) -> str | None:
        """Apply the limits that the server advertises in a response. Configured limits take precedence.

        Args:
            sent: time at which the call of this response was sent.
            later: cost of the calls that were sent after it, which the server may not have counted.

        Returns:
            A description of the change, or None if nothing changed.
        """
        change = self._update_limits(advertised, now)
        for entry in advertised:
            name = _NAMES.get((entry.unit, entry.period_seconds), "")
            limiter = self._limiters.get(name)
            if limiter is None or entry.remaining is None:
                continue
            if entry.period_seconds == DAY_SECONDS:
                limiter.set_remaining(entry.remaining, now)
            elif getattr(self._configured, name) is None:
                self._follow(name, limiter, entry, now, sent, later.requests if name == "rpm" else later.tokens)
        return f"{change} (token bucket)" if change is not None and self._buckets else change

    def _update_limits(self, advertised: Sequence[AdvertisedLimit], now: float) -> str | None:
        new_limits: dict[str, float] = {}
        for entry in advertised:
            name = _NAMES.get((entry.unit, entry.period_seconds))
            if name is None or entry.limit is None or entry.limit < MIN_PLAUSIBLE_LIMIT[entry.unit]:
                continue
            if getattr(self._configured, name) is None:
                new_limits[name] = min(entry.limit, new_limits.get(name, entry.limit))
        limits = msgspec.structs.replace(self.limits, **new_limits)
        if limits == self.limits:
            return None
        self._set_limits(limits, now)
        return f"the server advertises {', '.join(f'{value:g} {name}' for name, value in new_limits.items())}"

    def _follow(
        self, name: str, limiter: GcraLimiter, entry: AdvertisedLimit, now: float, sent: float, later: float
    ) -> None:
        """Let a limiter follow the token bucket that the server advertises, if it keeps one.

        The level lies between what remains without the calls sent later, which may not have been counted, and what
        remains with all that was refilled since this call was sent.
        """
        if name in self._windows or entry.limit is None or entry.remaining is None or entry.reset is None:
            return
        rate = entry.limit / entry.period_seconds
        capacity = entry.remaining + entry.reset * rate
        if capacity > entry.limit + RESET_ERROR_SECONDS * rate + 1:
            self._spread(name, now)
            return
        self._buckets.add(name)
        capacity = min(capacity, entry.limit)
        reserve = (1 - UTILIZATION) * capacity
        if name == "tpm":
            reserve = max(reserve, min(TOKEN_RESERVE_SECONDS * rate, MAX_TOKEN_RESERVE * capacity))
        limiter.set_burst((capacity - reserve) * self._share, now)
        level = entry.remaining - reserve
        least = level if name == "rpm" else CERTAIN_SHARE * level
        limiter.limit_level(self._share * least - later, self._share * (level + rate * (now - sent)), now)

    def _spread(self, name: str, now: float) -> None:
        """Spread the calls of a limit per minute evenly from now on, even if a burst seems to be permitted."""
        self._windows.add(name)
        if name in self._buckets:
            self._buckets.remove(name)
            self._limiters[name].set_burst(BURST_SECONDS * self._limiters[name].rate, now)

    def record_refusal(self, advertised: Sequence[AdvertisedLimit], now: float) -> str | None:
        """Record that a call was refused with 429, and what that response advertises.

        Returns:
            A description of the change, or None if nothing changed.
        """
        shares = [each.remaining / each.limit for each in advertised if each.limit and each.remaining is not None]
        if not self._buckets or min(shares, default=0.0) < ENOUGH_SHARE:
            return None
        for name in [*self._buckets]:
            self._spread(name, now)
        return "429 although much of the quota remains: calls are spread evenly"

    def earliest(self, cost: CallCost) -> float:
        """Return the earliest time at which a call of this cost may start; -inf if at any time."""
        at = -math.inf
        for limiter in self._requests:
            at = max(at, limiter.earliest(cost.requests))
        for limiter in self._tokens:
            at = max(at, limiter.earliest(cost.tokens))
        return at

    def reserve(self, cost: CallCost, now: float) -> None:
        """Charge the estimated cost of a call that starts now."""
        for limiter in self._requests:
            limiter.consume(cost.requests, now)
        for limiter in self._tokens:
            limiter.consume(cost.tokens, now)

    def settle(self, reserved: CallCost, cost: CallCost) -> None:
        """Replace the reserved cost of a call by its actual cost."""
        for limiter in self._requests:
            limiter.refund(reserved.requests - cost.requests)
        for limiter in self._tokens:
            limiter.refund(reserved.tokens - cost.tokens)


def _limiter(name: str, units: float) -> GcraLimiter:
    """Return a limiter that spreads a limit per minute evenly, or permits a limit per day to be used at once."""
    used = UTILIZATION * units
    if name in ("rpm", "tpm"):
        return GcraLimiter(used / MINUTE_SECONDS, BURST_SECONDS * used / MINUTE_SECONDS)
    return GcraLimiter(used / DAY_SECONDS, used)

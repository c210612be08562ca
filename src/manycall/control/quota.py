"""Pace calls so that they stay within request and token limits per minute and per day.

Hosted endpoints limit the rate, so the rate is paced and the number of calls in flight follows from it. Each limit is
a virtual schedule (GCRA, the generic cell rate algorithm: ITU-T I.371, appendix A). It is equivalent to a token bucket,
but its state is one number, and it gives the exact time at which the next call may start. Pacing is smooth, with almost
no burst, because servers count in windows of one second, ten seconds or a minute, and smooth pacing satisfies all of
them.

A call reserves its estimated cost before it is sent. When the response reports the actual cost, the difference is
settled. Calls must be admitted in order (client/permits.py), so that no call overtakes another and a large call never
starves.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

from manycall.limits import DAY_SECONDS, MINUTE_SECONDS, AdvertisedLimit, CallCost, RateLimits

UTILIZATION = 0.98
"""Share of a configured or advertised limit that is used. Clocks differ, and other clients may use the same quota."""
BURST_SECONDS = 0.02
"""Size of the burst that a limit allows, in seconds of its rate. A timer that fires this late loses no throughput.
UTILIZATION · (1 s + BURST_SECONDS) <= 1 s, so that no one-second window exceeds one second's share of the limit."""
ASSUMED_TOKENS_PER_CALL = 300.0
"""Rough cost of one call, used to convert a token limit into a number of calls."""
MAX_DEBT_SECONDS = 60.0
"""Longest delay that one call's wrong cost estimate can impose on all other calls."""
MAX_CREDIT_SECONDS = 0.5
"""Largest amount of refunded capacity, in seconds of the rate, that later calls may use as a burst."""


class GcraLimiter:
    """One limit as a virtual schedule (GCRA).

    In any window of W seconds it admits at most rate · W + burst units, plus at most one call that is larger than
    the burst.

    Args:
        rate: units per second.
        burst: units that may be used at once; at least one.
    """

    __slots__ = ("_credit", "_due", "burst", "rate")

    def __init__(self, rate: float, burst: float = 1.0) -> None:
        self.rate = rate
        self.burst = max(burst, 1.0)
        self._due = float("-inf")
        self._credit = 0.0

    def __repr__(self) -> str:
        return f"<GcraLimiter {self.rate:.4g}/s>"

    def set_rate(self, rate: float) -> None:
        """Change the number of units per second."""
        self.rate = rate

    def earliest(self, cost: float) -> float:
        """Return the earliest time at which `cost` units may be used; -inf if at any time."""
        return self._due - (self.burst - min(cost, self.burst)) / self.rate

    def consume(self, cost: float, now: float) -> None:
        """Use `cost` units now. Unused time is lost, except for refunded units."""
        start = max(self._due, now - self._credit)
        self._due = start + cost / self.rate
        self._credit -= max(0.0, min(self._credit, min(now, self._due) - start))

    def carry_over(self, others: Iterable["GcraLimiter"], now: float) -> None:
        """Charge the units that other limiters still owe to this one; at another rate they take another time."""
        owed = max((max(0.0, other._due - now) * other.rate for other in others), default=0.0)
        if owed:
            self._due = now + owed / self.rate

    def set_remaining(self, units: float, now: float) -> None:
        """Reduce the burst that is available now to `units`. A larger value changes nothing."""
        self._due = max(self._due, now + max(0.0, self.burst - units) / self.rate)

    def refund(self, cost: float) -> None:
        """Return `cost` units that were consumed but not needed. A negative value charges additional units."""
        seconds = max(cost / self.rate, -MAX_DEBT_SECONDS)
        self._due -= seconds
        self._credit = min(MAX_CREDIT_SECONDS, self._credit + max(0.0, seconds))


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
        self._set_limiters(limits, _make_limiters(limits.rpm, limits.rpd), _make_limiters(limits.tpm, limits.tpd))

    def _set_limiters(self, limits: RateLimits, requests: list[GcraLimiter], tokens: list[GcraLimiter]) -> None:
        self.limits, self._requests, self._tokens = limits, requests, tokens
        self.has_limits, self.counts_tokens = bool(requests or tokens), bool(tokens)

    def __repr__(self) -> str:
        return f"<Quota {self.limits}>"

    @property
    def calls_per_second(self) -> float | None:
        """Roughly how many calls per second the limits per minute permit, to all processes; None if there are none."""
        rpm, tpm = self.limits.rpm or math.inf, (self.limits.tpm or math.inf) / ASSUMED_TOKENS_PER_CALL
        return None if min(rpm, tpm) == math.inf else min(rpm, tpm) / MINUTE_SECONDS

    def set_share(self, share: float, now: float) -> None:
        """Use only this share of each limit from now on, more than 0; other processes use the rest."""
        if share != self._share:
            self._share = share
            self._change_limiters(self.limits, now)

    def calls_within(self, seconds: float) -> float:
        """Return roughly how many calls the limits admit within `seconds`; inf if no limit is known."""
        calls = [limiter.burst + limiter.rate * seconds for limiter in self._requests]
        calls += [(limiter.burst + limiter.rate * seconds) / ASSUMED_TOKENS_PER_CALL for limiter in self._tokens]
        return min(calls, default=float("inf"))

    def apply_advertised(self, advertised: Sequence[AdvertisedLimit], now: float) -> str | None:
        """Apply the limits that the server advertises. Configured limits take precedence.

        Returns:
            A description of the change, or None if nothing changed.
        """
        change = self._update_limits(advertised, now)
        for entry in advertised:
            if (
                entry.period_seconds == DAY_SECONDS
                and entry.remaining is not None
                and entry.unit in ("requests", "tokens")
            ):
                for limiter in self._requests if entry.unit == "requests" else self._tokens:
                    if _is_daily(limiter):
                        limiter.set_remaining(entry.remaining, now)
        return change

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
        self._change_limiters(limits, now)
        return f"the server advertises {', '.join(f'{value:g} {name}' for name, value in new_limits.items())}"

    def _change_limiters(self, limits: RateLimits, now: float) -> None:
        self._set_limiters(
            limits,
            _replace_limiters(self._requests, limits.rpm, limits.rpd, self._share, now),
            _replace_limiters(self._tokens, limits.tpm, limits.tpd, self._share, now),
        )

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


MIN_PLAUSIBLE_LIMIT = {"requests": 1.0, "tokens": 1000.0}
"""Smaller advertised limits are ignored. A server that reports them has just started, or reports wrong values, and a
client that obeys them sends too few calls to read a corrected value."""
_NAMES = {
    ("requests", MINUTE_SECONDS): "rpm",
    ("tokens", MINUTE_SECONDS): "tpm",
    ("requests", DAY_SECONDS): "rpd",
    ("tokens", DAY_SECONDS): "tpd",
}


def _replace_limiters(
    old: list[GcraLimiter], per_minute: float | None, per_day: float | None, share: float, now: float
) -> list[GcraLimiter]:
    """Return limiters at a share of the new rates, charged with the units that the old ones still owe."""
    limiters = _make_limiters((per_minute or 0.0) * share, (per_day or 0.0) * share)
    for limiter in limiters:
        limiter.carry_over((other for other in old if _is_daily(other) == _is_daily(limiter)), now)
    return limiters


def _is_daily(limiter: GcraLimiter) -> bool:
    return limiter.burst > limiter.rate * MINUTE_SECONDS


def _make_limiters(per_minute: float | None, per_day: float | None) -> list[GcraLimiter]:
    """Return the limiters for one unit: spread a limit per minute evenly, allow a limit per day to be used at once."""
    limiters = []
    if per_minute:
        limiters.append(
            GcraLimiter(
                per_minute / MINUTE_SECONDS * UTILIZATION, per_minute / MINUTE_SECONDS * UTILIZATION * BURST_SECONDS
            )
        )
    if per_day:
        limiters.append(GcraLimiter(per_day / DAY_SECONDS * UTILIZATION, per_day * UTILIZATION))
    return limiters

"""How many requests and tokens a minute: when may this call go?

Hosted endpoints limit the rate, so the rate is paced; the number in flight follows from it. Each limit is a
virtual schedule (GCRA: ITU-T I.371, appendix A; the same thing as a token bucket, kept as one number, and it
tells the exact moment at which the next call may go). Pacing is smooth, with hardly a burst, because servers
count in windows of one second, ten seconds or a minute, and smooth satisfies all of them.

A call reserves what it may cost before it goes; once the answer says what it did cost, the difference is
settled. Calls must ask in turn (engine/permits.py): then nobody overtakes, and a large call never starves.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

from manycall.control.hints import DAY, MINUTE, Told

SHARE = 0.98
"""Of a limit that was told, this much is used: clocks differ, and what others use is not ours to see."""
BURST_SECONDS = 0.02
"""What a limit allows at once: a timer that is late by so much costs nothing. SHARE · (1 s + BURST) <= 1 s, so that
no second, however it is cut, sees more than a second's worth."""
TOKENS_PER_CALL = 300.0
"""Where only the number of calls matters, roughly."""
MOST_DEBT = 60.0
"""Seconds for which one call's mistaken guess can hold up all others."""
MOST_CREDIT = 0.5
"""Seconds' worth of what calls did not use of what they had reserved, that may go at once later."""


class Limits(msgspec.Struct, frozen=True):
    """What an endpoint allows one key for one model. None: not known, or no limit."""

    rpm: float | None = None
    tpm: float | None = None
    rpd: float | None = None
    tpd: float | None = None

    def __str__(self) -> str:
        known = [f"{value:g} {name}" for name, value in msgspec.structs.asdict(self).items() if value]
        return ", ".join(known) or "without limits"


class Cost(msgspec.Struct, frozen=True):
    """What a call takes from its quotas."""

    requests: float = 1.0
    tokens: float = 0.0


class Pace:
    """One limit: so many units a second, as a virtual schedule.

    In any window of W seconds it lets at most rate · W + burst units through, and besides at most one call that
    is larger than the burst.

    Args:
        rate: units a second.
        burst: units that may go at once; at least one.
    """

    __slots__ = ("_credit", "_due", "burst", "rate")

    def __init__(self, rate: float, burst: float = 1.0) -> None:
        self.rate = rate
        self.burst = max(burst, 1.0)
        self._due = float("-inf")
        self._credit = 0.0

    def __repr__(self) -> str:
        return f"<Pace {self.rate:.4g}/s>"

    def when(self, cost: float) -> float:
        """The earliest moment at which this much may go; -inf if at any time."""
        return self._due - (self.burst - min(cost, self.burst)) / self.rate

    def take(self, cost: float, now: float) -> None:
        """Let it go, now. Time in which nothing went is lost, but for what was given back."""
        start = max(self._due, now - self._credit)
        self._due = start + cost / self.rate
        self._credit -= max(0.0, min(self._credit, min(now, self._due) - start))

    def after(self, others: Iterable["Pace"], now: float) -> None:
        """What went by those went by this: as many units, which may be another time."""
        owed = max((max(0.0, other._due - now) * other.rate for other in others), default=0.0)
        if owed:
            self._due = now + owed / self.rate

    def left(self, units: float, now: float) -> None:
        """So many may go at once, and no more."""
        self._due = max(self._due, now + max(0.0, self.burst - units) / self.rate)

    def give_back(self, cost: float) -> None:
        """It cost so much less than was taken (or more, if negative)."""
        seconds = max(cost / self.rate, -MOST_DEBT)
        self._due -= seconds
        self._credit = min(MOST_CREDIT, self._credit + max(0.0, seconds))


class Quota:
    """All the limits of one endpoint, key and model."""

    def __init__(self, limits: Limits) -> None:
        self.limits = self._given = limits
        self._requests = _paces(limits.rpm, limits.rpd)
        self._tokens = _paces(limits.tpm, limits.tpd)

    def __repr__(self) -> str:
        return f"<Quota {self.limits}>"

    def at_once(self, seconds: float) -> float:
        """About how many calls are let in within so many seconds; inf if nothing is known."""
        calls = [pace.burst + pace.rate * seconds for pace in self._requests]
        calls += [(pace.burst + pace.rate * seconds) / TOKENS_PER_CALL for pace in self._tokens]
        return min(calls, default=float("inf"))

    @property
    def counts_tokens(self) -> bool:
        """Whether what a call costs in tokens matters."""
        return bool(self._tokens)

    def hear(self, told: Sequence[Told], now: float) -> str | None:
        """The server has said what its limits are: they hold where nobody has told others. Returns what changed."""
        change = self._hear_limits(told, now)
        for one in told:
            if one.seconds == DAY and one.remaining is not None and one.unit in ("requests", "tokens"):
                for pace in self._requests if one.unit == "requests" else self._tokens:
                    if _of_a_day(pace):
                        pace.left(one.remaining, now)
        return change

    def _hear_limits(self, told: Sequence[Told], now: float) -> str | None:
        heard: dict[str, float] = {}
        for one in told:
            name = _NAMES.get((one.unit, one.seconds))
            if name is None or one.limit is None or one.limit < LEAST_BELIEVED[one.unit]:
                continue
            if getattr(self._given, name) is None:
                heard[name] = min(one.limit, heard.get(name, one.limit))
        limits = msgspec.structs.replace(self.limits, **heard)
        if limits == self.limits:
            return None
        self.limits = limits
        self._requests = _renewed(self._requests, limits.rpm, limits.rpd, now)
        self._tokens = _renewed(self._tokens, limits.tpm, limits.tpd, now)
        return f"the server says {', '.join(f'{value:g} {name}' for name, value in heard.items())}"

    def when(self, cost: Cost) -> float:
        """The earliest moment at which a call may go; -inf if at any time."""
        at = -math.inf
        for pace in self._requests:
            at = max(at, pace.when(cost.requests))
        for pace in self._tokens:
            at = max(at, pace.when(cost.tokens))
        return at

    def reserve(self, cost: Cost, now: float) -> None:
        """Let a call go, now."""
        for pace in self._requests:
            pace.take(cost.requests, now)
        for pace in self._tokens:
            pace.take(cost.tokens, now)

    def settle(self, reserved: Cost, cost: Cost) -> None:
        """What was reserved turned out to cost this."""
        for pace in self._requests:
            pace.give_back(reserved.requests - cost.requests)
        for pace in self._tokens:
            pace.give_back(reserved.tokens - cost.tokens)


LEAST_BELIEVED = {"requests": 1.0, "tokens": 1000.0}
"""A server that tells of less has just been set up, or lies; and whoever keeps to it never hears better."""
_NAMES = {("requests", MINUTE): "rpm", ("tokens", MINUTE): "tpm", ("requests", DAY): "rpd", ("tokens", DAY): "tpd"}


def _renewed(old: list[Pace], per_minute: float | None, per_day: float | None, now: float) -> list[Pace]:
    """Paces at new rates; what went by the old ones still counts."""
    paces = _paces(per_minute, per_day)
    for pace in paces:
        pace.after((other for other in old if _of_a_day(other) == _of_a_day(pace)), now)
    return paces


def _of_a_day(pace: Pace) -> bool:
    return pace.burst > pace.rate * MINUTE


def _paces(per_minute: float | None, per_day: float | None) -> list[Pace]:
    """A minute's limit goes evenly; a day's may go at once, for it is there to be used when one needs it."""
    paces = []
    if per_minute:
        paces.append(Pace(per_minute / MINUTE * SHARE, per_minute / MINUTE * SHARE * BURST_SECONDS))
    if per_day:
        paces.append(Pace(per_day / DAY * SHARE, per_day * SHARE))
    return paces

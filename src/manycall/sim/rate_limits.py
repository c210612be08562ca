"""Token buckets of the simulated server, and the headers in which providers announce them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime


class TokenBucket:
    """A token bucket with a rate per minute. Its capacity is `burst` seconds at that rate, but at least 1."""

    def __init__(self, per_minute: float, burst: float = 1.0) -> None:
        self.per_minute = per_minute
        self.burst = burst
        self._level: float | None = None
        self._at = 0.0

    @property
    def _rate(self) -> float:
        return self.per_minute / 60

    @property
    def _capacity(self) -> float:
        return max(1.0, self._rate * self.burst)

    def take(self, cost: float, now: float) -> float:
        """Take `cost` if the level suffices and return 0; else return the seconds until it might."""
        level = self._fill(now)
        need = min(cost, self._capacity)  # a call larger than the bucket is accepted when the bucket is full
        if level >= need - 1e-9:
            self._level = level - cost
            return 0.0
        return (need - level) / self._rate

    def _fill(self, now: float) -> float:
        level = self._capacity if self._level is None else self._level + (now - self._at) * self._rate
        self._level, self._at = min(self._capacity, level), now
        return self._level

    def left(self, now: float) -> int:
        """Return the current level, rounded down."""
        return max(0, int(self._fill(now)))

    def full_in(self, now: float) -> float:
        """Return the seconds until the bucket is full."""
        return (self._capacity - self._fill(now)) / self._rate


Headers = list[tuple[bytes, bytes]]


def go_duration(seconds: float, wall: float) -> str:
    """Format a duration as Go does: 1m2.5s."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m{rest:.3g}s" if minutes else f"{rest * 1000:.0f}ms" if rest < 1 else f"{rest:.3g}s"


def timestamp(seconds: float, wall: float) -> str:
    """Format the time in `seconds` from now as RFC 3339."""
    return datetime.fromtimestamp(wall + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def delta(seconds: float, wall: float) -> str:
    """Format a duration in whole seconds, rounded up."""
    return f"{int(seconds) + 1}"


# name → (header of the limit, of the remaining quota, of the reset; {} is the unit; format of the reset)
SIM_HEADERS: dict[str, tuple[str, str, str, Callable[[float, float], str]] | None] = {
    "none": None,
    "openai": ("x-ratelimit-limit-{}", "x-ratelimit-remaining-{}", "x-ratelimit-reset-{}", go_duration),
    "anthropic": (
        "anthropic-ratelimit-{}-limit",
        "anthropic-ratelimit-{}-remaining",
        "anthropic-ratelimit-{}-reset",
        timestamp,
    ),
    "litellm": ("x-ratelimit-api_key-limit-{}", "x-ratelimit-api_key-remaining-{}", "x-ratelimit-reset-{}", delta),
}


def headers(dialect: str, quotas: Mapping[str, TokenBucket], now: float, wall: float) -> Headers:
    """Return the headers of a response for these quotas ("requests", "tokens")."""
    names = SIM_HEADERS.get(dialect)
    if names is None:
        return []
    limit, remaining, reset, format_reset = names
    lines: Headers = []
    for unit, bucket in quotas.items():
        lines.append((limit.format(unit).encode(), str(int(bucket.per_minute)).encode()))
        lines.append((remaining.format(unit).encode(), str(bucket.left(now)).encode()))
        lines.append((reset.format(unit).encode(), format_reset(bucket.full_in(now), wall).encode()))
    return lines

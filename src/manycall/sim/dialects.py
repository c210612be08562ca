"""How servers word their quotas in the headers of a reply: one line of the table for each."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from manycall.sim.model import Bucket

Headers = list[tuple[bytes, bytes]]


def go_duration(seconds: float, wall: float) -> str:
    """1m2.5s, as Go writes it."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m{rest:.3g}s" if minutes else f"{rest * 1000:.0f}ms" if rest < 1 else f"{rest:.3g}s"


def timestamp(seconds: float, wall: float) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(wall + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def delta(seconds: float, wall: float) -> str:
    """Whole seconds."""
    return f"{int(seconds) + 1}"


# name -> (header of limit, of remaining, of reset, with the unit in place of {}, how the reset is written)
DIALECTS: dict[str, tuple[str, str, str, Callable[[float, float], str]] | None] = {
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


def headers(dialect: str, quotas: Mapping[str, Bucket], now: float, wall: float) -> Headers:
    """What a reply says of these quotas ("requests", "tokens")."""
    names = DIALECTS.get(dialect)
    if names is None:
        return []
    limit, remaining, reset, written = names
    said: Headers = []
    for unit, bucket in quotas.items():
        said.append((limit.format(unit).encode(), str(int(bucket.per_minute)).encode()))
        said.append((remaining.format(unit).encode(), str(bucket.left(now)).encode()))
        said.append((reset.format(unit).encode(), written(bucket.full_in(now), wall).encode()))
    return said

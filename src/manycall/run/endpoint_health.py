"""Lines of the timeline about the endpoints: every ten seconds, and when an endpoint's state changes."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from manycall.client.endpoint import Endpoint

HEALTH_SECONDS = 10.0


class _Written(NamedTuple):
    """The last line about an endpoint: when it was written, the answers up to then, and the state in it."""

    at: float
    answers: int
    state: tuple[str, bool]


class EndpointHealth:
    """The health of some endpoints."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._written: dict[Endpoint, _Written] = {}

    def __repr__(self) -> str:
        return f"<EndpointHealth of {len(self._endpoints)} endpoints>"

    def lines(self, now: float) -> Iterator[dict[str, Any]]:
        """Yield the lines that are due, without their time."""
        for endpoint in self._endpoints:
            state = (endpoint.limiting_factor(now), endpoint.is_ejected(now))
            last = self._written.get(endpoint, _Written(now, endpoint.answers, ("", False)))
            if endpoint not in self._written or now - last.at >= HEALTH_SECONDS or state != last.state:
                self._written[endpoint] = _Written(now, endpoint.answers, state)
                yield _line(endpoint, state, last, now)


def _line(endpoint: Endpoint, state: tuple[str, bool], last: _Written, now: float) -> dict[str, Any]:
    seconds = now - last.at
    has_share = endpoint.disabled_reason is not None or not endpoint.is_closed  # always, if this is the only process
    return {
        "health": True, "endpoint": endpoint.url, "in_flight": endpoint.in_flight,
        "window": None if endpoint.window is None else endpoint.window.size,
        "calls_per_s": round((endpoint.answers - last.answers) / seconds, 2) if seconds > 0 else 0.0,
        "errors": endpoint.errors, "ejected_for": round(max(0.0, endpoint.health.ejected_until - now), 1),
        "is_ejected": state[1], "queue": endpoint.queue, "limited_by": endpoint.disabled_reason or state[0],
        **({} if has_share else {"has_share": False}),
    }  # fmt: skip

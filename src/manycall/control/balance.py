"""Which endpoint, and when."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from manycall.control.health import Health
from manycall.control.quota import Cost


class Loaded(Protocol):
    """Something that has calls in flight, and knows when it may have another."""

    in_flight: int
    health: Health

    def when(self, cost: Cost, now: float) -> float: ...


E = TypeVar("E", bound=Loaded)


def pick(endpoints: Sequence[E], cost: Cost, now: float, turn: int) -> tuple[E, float]:
    """The endpoint for the next call, and the moment from which it may go there.

    Of those that could take it now, the one with the fewest calls in flight; of equals, each gets its turn. If
    none can, the one that can first. One that rests is asked only if all do: the last one left is never given up.
    """
    count = len(endpoints)
    if count == 1:
        return endpoints[0], endpoints[0].when(cost, now)
    best, best_rank, best_at = endpoints[0], (True, float("inf"), float("inf")), float("inf")
    for k in range(count):
        endpoint = endpoints[(turn + k) % count]
        at = endpoint.when(cost, now)
        rank = (endpoint.health.rests_until > now, max(at, now), endpoint.in_flight)
        if rank < best_rank:
            best, best_rank, best_at = endpoint, rank, at
    return best, best_at

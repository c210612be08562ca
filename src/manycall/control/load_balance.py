"""Choose the endpoint for the next call."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from manycall.limits import CallCost


class Candidate(Protocol):
    """An endpoint that can be chosen.

    Attributes:
        load: calls in flight divided by the concurrency window; below 1 there is room for another call.
        is_ejected: whether calls should go to another endpoint.
        earliest: the earliest time at which a call of this cost may be sent.
    """

    @property
    def load(self) -> float: ...
    def is_ejected(self, now: float) -> bool: ...
    def earliest(self, cost: CallCost, now: float) -> float: ...


E = TypeVar("E", bound=Candidate)


def choose_endpoint(endpoints: Sequence[E], cost: CallCost, now: float, turn: int) -> tuple[E, float]:
    """Return the endpoint for the next call, and the earliest time to send it (inf: when another call is done).

    Among the endpoints that can take the call now, choose the one with the lowest load, and take turns among equals. If
    none can take it now, choose the one that can take it first. An ejected endpoint is chosen only if all are ejected,
    so that there is always an endpoint to use.

    Args:
        endpoints: the candidates.
        cost: cost of the call.
        now: current time.
        turn: counter for taking turns.
    """
    count = len(endpoints)
    if count == 1:
        return endpoints[0], endpoints[0].earliest(cost, now)
    best, best_rank, best_at = endpoints[0], (True, float("inf"), float("inf")), float("inf")
    for k in range(count):
        endpoint = endpoints[(turn + k) % count]
        at = endpoint.earliest(cost, now)
        rank = (endpoint.is_ejected(now), max(at, now), endpoint.load)
        if rank < best_rank:
            best, best_rank, best_at = endpoint, rank, at
    return best, best_at

"""Which endpoint, and when."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from manycall.control.quota import Cost


class Loaded(Protocol):
    """Something that has calls in flight, and knows when it may have another.

    Attributes:
        load: calls in flight, for each that it can take; below 1 it can take another.
    """

    @property
    def load(self) -> float: ...
    def rests(self, now: float) -> bool: ...
    def when(self, cost: Cost, now: float) -> float: ...


E = TypeVar("E", bound=Loaded)


def pick(endpoints: Sequence[E], cost: Cost, now: float, turn: int) -> tuple[E, float]:
    """The endpoint for the next call, and the moment from which it may go there (inf: when another call is done).

    Of those that could take it now, the one with the least load; of equals, each gets its turn. If none can, the
    one that can first. One that rests is asked only if all do: the last one left is never given up.
    """
    count = len(endpoints)
    if count == 1:
        return endpoints[0], endpoints[0].when(cost, now)
    best, best_rank, best_at = endpoints[0], (True, float("inf"), float("inf")), float("inf")
    for k in range(count):
        endpoint = endpoints[(turn + k) % count]
        at = endpoint.when(cost, now)
        rank = (endpoint.rests(now), max(at, now), endpoint.load)
        if rank < best_rank:
            best, best_rank, best_at = endpoint, rank, at
    return best, best_at

"""Which endpoint gets the next call, and which waiting call an endpoint gets.

`EndpointSelector` balances the load and serves the oldest call. `AffinitySelector` also prefers a server that has
cached the prefix of the prompt, for several self-hosted servers. In it, a server with room may serve one of the next
few calls first; the number of such overtakes is limited.
"""

import heapq
from collections.abc import Sequence

from manycall.client.endpoint import Endpoint
from manycall.client.waiter import Waiter
from manycall.control import load_balance
from manycall.control.prefix_affinity import CHUNK_BYTES, PrefixAffinity, prefix_hashes
from manycall.limits import CallCost

AFFINITY_LOOKAHEAD = 32
"""Number of waiting calls from which a server may choose the one with the longest cached prefix."""
MAX_OVERTAKES = 128
"""Number of calls that may overtake an older one for that reason."""
MAX_LOAD_RATIO = 1.25
"""A server is preferred for its cached prefix only up to this multiple of the mean load."""


class EndpointSelector:
    """Balances the load; the oldest call goes first."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._endpoints)} endpoints>"

    def prompt_hashes(self, body: bytes) -> Sequence[int]:
        """Return what `prefer` and `record` need to know of a request; empty if nothing."""
        return ()

    def find(self, cost: CallCost, now: float, turn: int, calls_left: float) -> tuple[Endpoint, float]:
        """Return the endpoint for the next call, and the earliest time to send it (inf: when another call is done).

        Args:
            calls_left: number of calls that have not been sent yet; inf if it is unknown.
        """
        return load_balance.choose_endpoint(self._endpoints, cost, now, turn, calls_left)

    def prefer(self, endpoint: Endpoint, prompt: Sequence[int], cost: CallCost, now: float) -> Endpoint:
        """Return the best endpoint for a request with hashes, given the one that `find` returned."""
        return endpoint

    def choose_waiter(self, endpoint: Endpoint, waiting: Sequence[Waiter]) -> Waiter:
        """Return the waiting call that the endpoint gets; `waiting` is a heap."""
        return waiting[0]

    def record(self, endpoint: Endpoint, prompt: Sequence[int]) -> None:
        """Record that a request with hashes is sent to the endpoint."""

    @property
    def max_waiting(self) -> int:
        """Number of waiting calls below which a new row should start; 0: only if its call would not wait."""
        return 0


class AffinitySelector(EndpointSelector):
    """Prefers a server that has cached the prefix of the prompt.

    Args:
        affinity: which endpoint has received which prefixes.
    """

    def __init__(self, endpoints: Sequence[Endpoint], affinity: PrefixAffinity) -> None:
        super().__init__(endpoints)
        self._affinity = affinity

    def prompt_hashes(self, body: bytes) -> Sequence[int]:
        """Return the hashes of the request's prefixes; empty for a short request."""
        return prefix_hashes(body) if len(body) > 2 * CHUNK_BYTES else ()

    def prefer(self, endpoint: Endpoint, prompt: Sequence[int], cost: CallCost, now: float) -> Endpoint:
        """Return the endpoint with room that has cached the longest prefix, or this one if the others are too busy."""
        max_load = MAX_LOAD_RATIO * sum(each.load for each in self._endpoints) / len(self._endpoints)
        best, best_chunks = endpoint, self._affinity.cached_chunks(prompt, self._endpoints.index(endpoint))
        for number, other in enumerate(self._endpoints):
            if other.load <= max_load and not other.is_ejected(now) and other.earliest(cost, now) <= now:
                chunks = self._affinity.cached_chunks(prompt, number)
                if chunks > best_chunks:
                    best, best_chunks = other, chunks
        return best

    def choose_waiter(self, endpoint: Endpoint, waiting: Sequence[Waiter]) -> Waiter:
        """Return the oldest call, or the one of the next with the longest prefix in the endpoint's cache."""
        first = waiting[0]
        if not self._affinity.has_prefixes or first.overtaken >= MAX_OVERTAKES:
            return first
        number, count = self._endpoints.index(endpoint), len(self._endpoints)
        candidates = heapq.nsmallest(AFFINITY_LOOKAHEAD, (each for each in waiting if not each.turn.done()))
        best = max(candidates, key=lambda each: self._affinity.advantage(each.prompt, number, count))
        if best is not first:
            first.record_overtaken()
        return best

    def record(self, endpoint: Endpoint, prompt: Sequence[int]) -> None:
        """Record that the endpoint now caches the prefixes."""
        self._affinity.record(prompt, self._endpoints.index(endpoint))

    @property
    def max_waiting(self) -> int:
        """Number of waiting calls below which a new row should start: they are the choice of the next server."""
        return AFFINITY_LOOKAHEAD if self._affinity.has_prefixes else 0

"""A call that waits for a permit."""

import asyncio
from collections.abc import Sequence

from manycall.client.endpoint import Endpoint
from manycall.limits import CallCost


class Waiter:
    """A call that waits for a permit.

    Attributes:
        priority: position of the call; the smallest goes first.
        ticket: order of arrival, for calls of the same priority.
        cost: what the call takes from its quotas.
        prompt: hashes of the request's prefixes; empty if they do not matter.
        turn: resolves to the endpoint.
        owner: the job that the call belongs to.
        overtaken: number of later calls that were served first.
        is_served: the call was served out of turn and is still in the heap.
    """

    __slots__ = ("cost", "is_served", "overtaken", "owner", "priority", "prompt", "ticket", "turn")

    def __init__(
        self,
        priority: int,
        ticket: int,
        cost: CallCost,
        prompt: Sequence[int],
        turn: "asyncio.Future[Endpoint]",
        owner: object = None,
    ) -> None:
        self.priority, self.ticket, self.cost, self.prompt, self.turn = priority, ticket, cost, prompt, turn
        self.owner = owner
        self.overtaken = 0
        self.is_served = False

    def __lt__(self, other: "Waiter") -> bool:
        return (self.priority, self.ticket) < (other.priority, other.ticket)

    def record_overtaken(self) -> None:
        """Record that a later call is served first."""
        self.overtaken += 1

    def serve_out_of_turn(self, endpoint: Endpoint) -> None:
        """Give the call its permit although it stays in the heap."""
        self.is_served = True
        self.turn.set_result(endpoint)

    def refuse(self, why: Exception) -> None:
        """Raise `why` in the call, unless it has its permit already."""
        if not self.turn.done():
            self.turn.set_exception(why)

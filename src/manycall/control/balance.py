"""Which endpoint."""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Loaded(Protocol):
    """Something that knows how many calls it has in flight."""

    @property
    def in_flight(self) -> int: ...


E = TypeVar("E", bound=Loaded)


def least_loaded(endpoints: Sequence[E], turn: int) -> E:
    """The endpoint with the fewest calls in flight; of equals, each gets its turn."""
    count = len(endpoints)
    return min((endpoints[(turn + k) % count] for k in range(count)), key=lambda e: e.in_flight)

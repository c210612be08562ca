"""Which worker processes hold a share of which endpoints.

An endpoint whose limit one process can use has one holder, so that what it learns from refusals stays right. Each of
several holders has a burst of one call at least. Therefore a known limit of R calls per second has at most
HOLDERS_PER_RATE · R holders: the bursts then stay within the 2 % of it that is left unused (control/quota.py).

A row may call several pools of endpoints. Therefore a worker that gets rows holds a share in each of them, and keeps
one until its rows have ended.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

HOLDERS_PER_RATE = 0.02
"""Holders per call per second that a known limit permits."""
GROWTH_SECONDS = 10.0
"""After a refusal, another holder is added in such steps, as long as the present ones are limited by their own CPU."""


class EndpointDemand(NamedTuple):
    """What is known about an endpoint.

    Attributes:
        max_holders: number of workers that may hold a share (`HolderLimit`).
        is_usable: whether it answers: it is neither disabled nor ejected.
    """

    max_holders: int
    is_usable: bool = True


class HolderLimit:
    """How many workers may hold a share of one endpoint. All may, until a limit is known or a call is refused."""

    def __init__(self) -> None:
        self._after_refusal: int | None = None
        self._changed_at = 0.0

    def __repr__(self) -> str:
        return f"<HolderLimit {self._after_refusal}>"

    def update(self, now: float, workers: int, *, rate: float | None, was_refused: bool, is_client_bound: bool) -> int:
        """Return the number of holders from now on.

        Args:
            workers: number of workers.
            rate: calls per second that the configured and advertised limits permit; None if there are none.
            was_refused: whether the server has refused calls since the last update (429).
            is_client_bound: whether all holders are limited by their own CPU.
        """
        if rate is not None:
            return min(workers, max(1, int(HOLDERS_PER_RATE * rate)))
        if was_refused:
            self._after_refusal, self._changed_at = 1, now
        elif self._after_refusal is not None and is_client_bound and now - self._changed_at >= GROWTH_SECONDS:
            self._after_refusal, self._changed_at = self._after_refusal + 1, now
        return workers if self._after_refusal is None else min(workers, self._after_refusal)


def active_workers(pools: Sequence[Mapping[str, EndpointDemand]], workers: Sequence[int]) -> Sequence[int]:
    """Return the workers that get rows: as many as can hold a share in each pool, the first ones."""
    capacities = [sum(each.max_holders for each in _usable(pool).values()) for pool in pools]
    return workers[: max(1, min(capacities, default=len(workers)))]


def assign_holders(
    pools: Sequence[Mapping[str, EndpointDemand]], workers: Sequence[int], begun: Collection[int] = ()
) -> dict[str, tuple[int, ...]]:
    """Return the workers that hold a share of each endpoint.

    If a pool has at least as many endpoints as there are active workers, each endpoint has one holder, also one that
    does not answer: its holder finds out when it answers again.

    Args:
        pools: for each pool, its endpoints by name. Names are unique across pools.
        workers: the workers, in a stable order: one that replaces another takes its place, so that the others keep
            their endpoints.
        begun: workers with rows that have begun and not ended. They hold a share in each pool until these have ended,
            because the rows may need more calls, even if the endpoint then has more holders than it should.
    """
    active = active_workers(pools, workers)
    finishing = [worker for worker in workers if worker in begun and worker not in active]
    holders: dict[str, tuple[int, ...]] = {}
    for pool in pools:
        holders |= _assign_pool(pool, active, finishing)
    return holders


def _usable(pool: Mapping[str, EndpointDemand]) -> dict[str, EndpointDemand]:
    """Return the endpoints that answer; all of them if none does."""
    return {name: each for name, each in pool.items() if each.is_usable} or dict(pool)


def _assign_pool(
    pool: Mapping[str, EndpointDemand], active: Sequence[int], finishing: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """Return the holders of the endpoints of one pool: one for each, then one endpoint for each worker without."""
    usable = _usable(pool)
    holders = {name: [active[number % len(active)]] if active else [] for number, name in enumerate(pool)}

    def held(worker: int) -> int:
        return sum(worker in holders[name] for name in usable)

    def fewest(names: Collection[str]) -> list[int]:
        return holders[min(names, key=lambda name: len(holders[name]))]

    for worker in active:
        if not held(worker):
            free = [name for name in usable if len(holders[name]) < usable[name].max_holders]
            if free:
                fewest(free).append(worker)
            else:  # then another worker holds several
                places = [(name, place) for name in usable for place in range(len(holders[name]))]
                name, place = max(places, key=lambda at: held(holders[at[0]][at[1]]))
                holders[name][place] = worker
    for worker in finishing:
        fewest(usable).append(worker)
    return {name: tuple(found) for name, found in holders.items()}

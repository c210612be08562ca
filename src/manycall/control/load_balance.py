"""Choose the endpoint for the next call."""

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from manycall.limits import CallCost

MIN_ANSWERS, MAX_ANSWERS = 8, 400
"""Answers needed to know the mean duration of a call, and the number above which old answers count half."""


class MeanDuration:
    """Mean duration of the calls at an endpoint, by Little's law: mean number in flight, divided by answers per second.

    Unlike the mean over the answers, it includes the calls in flight. At a slow endpoint the first answers are the
    short ones, so that it would look fast.
    """

    __slots__ = ("_answers", "_at", "_call_seconds", "_in_flight")

    def __init__(self) -> None:
        self._answers = self._in_flight = 0
        self._call_seconds = self._at = 0.0

    def __repr__(self) -> str:
        return f"<MeanDuration of {self._answers} answers>"

    def record_in_flight(self, in_flight: int, now: float) -> None:
        """Record that the number of calls in flight has changed."""
        self._call_seconds += self._in_flight * (now - self._at)
        self._in_flight, self._at = in_flight, now

    def record_answer(self) -> None:
        """Record an answer."""
        self._answers += 1
        if self._answers > MAX_ANSWERS:
            self._answers //= 2
            self._call_seconds /= 2

    def seconds(self, now: float) -> float | None:
        """Return the mean duration of a call in seconds; None if there are too few answers."""
        if self._answers < MIN_ANSWERS:
            return None
        return (self._call_seconds + self._in_flight * (now - self._at)) / self._answers


class Candidate(Protocol):
    """An endpoint that can be chosen.

    Attributes:
        in_flight: number of calls in flight.
        load: calls in flight divided by the concurrency window; below 1 there is room for another call.
        is_ejected: whether calls should go to another endpoint.
        earliest: the earliest time at which a call of this cost may be sent.
        mean_seconds: mean duration of a call; None if it is unknown.
    """

    @property
    def in_flight(self) -> int: ...
    @property
    def load(self) -> float: ...
    def is_ejected(self, now: float) -> bool: ...
    def earliest(self, cost: CallCost, now: float) -> float: ...
    def mean_seconds(self, now: float) -> float | None: ...


E = TypeVar("E", bound=Candidate)


def choose_endpoint(
    endpoints: Sequence[E], cost: CallCost, now: float, turn: int, calls_left: float = math.inf
) -> tuple[E, float]:
    """Return the endpoint for the next call, and the earliest time to send it (inf: when another call is done).

    Among the endpoints that can take the call now, choose the one with the lowest load, and take turns among equals. If
    none can take it now, choose the one that can take it first. An ejected endpoint is chosen only if all are ejected,
    so that there is always an endpoint to use. Near the end of a run, a slow endpoint is not used if the faster ones
    will probably finish all calls sooner than it would finish this one.

    Args:
        endpoints: the candidates.
        cost: cost of the call.
        now: current time.
        turn: counter for taking turns.
        calls_left: number of calls that have not been sent yet; inf if it is unknown.
    """
    count = len(endpoints)
    best, best_rank, best_at = endpoints[0], (True, math.inf, math.inf), math.inf
    for k in range(count):
        endpoint = endpoints[(turn + k) % count]
        at = endpoint.earliest(cost, now)
        if at <= now and calls_left < math.inf and is_too_slow(endpoint, endpoints, now, calls_left):
            at = math.inf
        rank = (endpoint.is_ejected(now), max(at, now), endpoint.load)
        if rank < best_rank:
            best, best_rank, best_at = endpoint, rank, at
    return best, best_at


def is_too_slow(endpoint: E, endpoints: Sequence[E], now: float, calls_left: float) -> bool:
    """Whether the faster endpoints will probably finish all calls sooner than this one would finish its next call.

    Endpoints without a call in flight count for nothing, so that a call never waits if no other call will end.
    """
    seconds = endpoint.mean_seconds(now)
    if seconds is None:
        return False
    calls, calls_per_second = calls_left, 0.0
    for other in endpoints:
        if not other.is_ejected(now):
            others_seconds = other.mean_seconds(now)
            if others_seconds is not None and 0 < others_seconds < seconds:
                calls += other.in_flight
                calls_per_second += other.in_flight / others_seconds
    return calls < seconds * calls_per_second

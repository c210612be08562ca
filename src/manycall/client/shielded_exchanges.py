"""Exchanges that continue when the row that waits for them is cancelled, because they are billed in any case."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from manycall.client.attempt import Answered
from manycall.client.call_counters import CallCounters
from manycall.client.call_history import CallInFlight
from manycall.client.endpoint import Endpoint
from manycall.client.permit_group import PermitGroup
from manycall.client.permits import Permits
from manycall.client.requests import ModelReply
from manycall.control.retry import FailedAttempt
from manycall.providers import openai

Outcome = Answered | ModelReply | FailedAttempt
"""What an exchange brings: a response that is still to be read, an answer, or a failure."""


class ShieldedExchanges:
    """The exchanges of one job, each in a separate task.

    Args:
        permits: get the permit of an exchange back when it has ended.
        counters: count the tokens of responses that no row waits for.
        in_flight: the calls in flight by number. An exchange is removed when it has ended.
    """

    def __init__(self, permits: PermitGroup, counters: CallCounters, in_flight: dict[int, CallInFlight]) -> None:
        self._permits, self._counters, self._calls = permits, counters, in_flight
        self._in_flight: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<ShieldedExchanges: {len(self._in_flight)} in flight>"

    async def run(
        self, exchange: Coroutine[Any, Any, Outcome], number: int, shared: Permits, endpoint: Endpoint
    ) -> Outcome:
        """Wait for an exchange, which continues if the caller is cancelled.

        Args:
            number: its number among the calls in flight.
            shared: the permits of the pool, one of which it has.
        """
        task = asyncio.create_task(exchange)
        self._in_flight.add(task)
        task.add_done_callback(partial(self._on_done, number, shared, endpoint))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._count_unread)
            raise

    def cancel(self) -> None:
        """Cancel the exchanges in flight. Answers that have arrived are kept."""
        for task in self._in_flight:
            task.cancel()

    def _on_done(self, number: int, shared: Permits, endpoint: Endpoint, task: "asyncio.Task[Any]") -> None:
        """Release the permit in any case, even if the task was cancelled before it started."""
        self._in_flight.discard(task)
        del self._calls[number]
        self._permits.release(shared, endpoint)
        if not task.cancelled():
            task.exception()  # mark it as retrieved, because the row may no longer wait for it

    def _count_unread(self, task: "asyncio.Task[Outcome]") -> None:
        """Count the tokens of a response that was stored, but not read, because its row no longer waits for it."""
        if not task.cancelled() and task.exception() is None:
            response = task.result()
            if isinstance(response, Answered):
                self._counters.record_spent(openai.usage(response.body))

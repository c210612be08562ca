"""Exchanges that continue when the row that waits for them is cancelled, because they are billed in any case."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from manycall.client.attempt import Answered
from manycall.client.call_counters import CallCounters
from manycall.client.call_in_flight import CallInFlight
from manycall.client.requests import ModelReply
from manycall.control.retry import FailedAttempt
from manycall.providers import openai

Outcome = Answered | ModelReply | FailedAttempt
"""What an exchange brings: a response that is still to be read, an answer, or a failure."""


class ShieldedExchanges:
    """The exchanges of one job, each in a separate task.

    Args:
        counters: count the tokens of responses that no row waits for.
        end: releases the permit of a call, unless its exchange has done that.
    """

    def __init__(self, counters: CallCounters, end: Callable[[CallInFlight], None]) -> None:
        self._counters, self._end = counters, end
        self._tasks: set[asyncio.Task[Outcome]] = set()

    def __repr__(self) -> str:
        return f"<ShieldedExchanges: {len(self._tasks)} in flight>"

    async def run(self, exchange: Coroutine[Any, Any, Outcome], flight: CallInFlight) -> Outcome:
        """Wait for an exchange, which continues if the caller is cancelled."""
        task = asyncio.create_task(exchange)
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_done, flight))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._count_unread)
            raise

    def cancel(self) -> None:
        """Cancel the exchanges in flight. Answers that have arrived are kept."""
        for task in self._tasks:
            task.cancel()

    def _on_done(self, flight: CallInFlight, task: "asyncio.Task[Outcome]") -> None:
        self._tasks.discard(task)
        self._end(flight)  # a task that was cancelled before it started has not done it
        if not task.cancelled():
            task.exception()  # mark it as retrieved, because the row may no longer wait for it

    def _count_unread(self, task: "asyncio.Task[Outcome]") -> None:
        """Count the tokens of a response that was stored, but not read, because its row no longer waits for it."""
        if not task.cancelled() and task.exception() is None:
            response = task.result()
            if isinstance(response, Answered):
                self._counters.record_spent(openai.usage(response.body))

"""The calls of one job on a client that several jobs share."""

from collections.abc import Callable
from typing import Any

from manycall.client.call_client import CallClient, OnResponse
from manycall.client.call_counters import CallCounters
from manycall.client.permit_group import PermitGroup
from manycall.client.requests import LLM, ModelReply
from manycall.records import Request


class JobClient(CallClient):
    """A client with separate counters, budget and stop. Endpoints, limits and permits belong to the shared client.

    Args:
        shared: the client, which is open.
        params: sent with every text call of the job.
        wants_rows: whether the job may start another row; False while its results are not read fast enough.
    """

    def __init__(
        self, shared: CallClient, params: dict[str, Any], wants_rows: Callable[[], bool] = lambda: True
    ) -> None:
        LLM.__init__(self, shared.model, params)
        self.counters = CallCounters(had_success=shared.counters.any_success)
        self.finish_cancelled_calls = False
        self.pool = shared.pool
        self.permits = self._group = PermitGroup(shared.pool.permits, wants_rows)
        self._shared = shared
        self._is_open = True  # as the shared client is
        self._estimate, self._transport = shared._estimate, shared._transport
        self._timeout, self._rng = shared._timeout, shared._rng
        self._in_flight = set()
        self._age, self._first_age = 0, shared._age

    async def call(self, request: Request, body: bytes, priority: int, on_response: OnResponse | None) -> ModelReply:
        """Send a request, with retries. Rows of jobs that started earlier go first."""
        shared = self._shared
        priority += self._first_age
        shared._age = max(shared._age, priority)
        shared.counters.attempts += 1
        reply = await super().call(request, body, priority, on_response)
        shared.counters.calls += 1
        return reply

    def leave(self) -> None:
        """Detach from the shared client, after the job has ended."""
        self._group.leave()

"""Stand-ins at the one seam: transports that answer from a function; and the calls of a run without a job."""

from collections.abc import Callable
from functools import cached_property

from manycall.client.attempt import Answered, AttemptSender
from manycall.client.call_client import CallClient
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import EncodedCall, encode_call
from manycall.client.endpoint import Endpoint
from manycall.client.job_client import JobClient
from manycall.client.permit_group import PermitGroup
from manycall.client.permits import Permits
from manycall.client.requests import LLM, ModelReply
from manycall.client.shared_budget import SharedBudget
from manycall.control.budget import Budget, Charge
from manycall.control.retry import FailedAttempt
from manycall.errors import ManycallError
from manycall.providers import openai
from manycall.records import Request
from manycall.run.row_client import JournalLog
from manycall.store.run_folder import RunFolder
from manycall.transport.memory import Handler, MemoryTransport, chat_response, error_response, last_message
from manycall.transport.messages import no_header

FakeTransport = MemoryTransport
answer = chat_response
refusal = error_response
asked = last_message


class SoloClient(CallClient, LLM):
    """A client that makes single calls. The public `Client` has another class for them."""

    _calls: JobClient | None = None

    @cached_property
    def counters(self) -> CallCounters:
        """The counters of the calls."""
        return CallCounters()

    def stop(self, why: ManycallError) -> None:
        """Make no new calls."""
        self.calls.stop(why)

    @property
    def stopped(self) -> ManycallError | None:
        """Why no further calls are made; None while they are permitted."""
        return self.permits.closed if self._calls is None else self._calls.stopped

    @property
    def calls(self) -> JobClient:
        """The job of the calls."""
        if self._calls is None:
            self._calls = JobClient(self.pool, self.model, self.params, counters=self.counters, named=self.named_pools)
        return self._calls

    async def send(self, request: Request) -> ModelReply:
        """Send a request."""
        return await self.calls.send(request)


def charging(budget: Budget) -> Callable[[EncodedCall, Answered], None]:
    """Return what charges the tokens of each response to a budget."""

    def charge(call: EncodedCall, response: Answered) -> None:
        used = openai.usage(response.body)
        tokens = used.prompt_tokens + used.completion_tokens
        budget.spend(Charge(tokens, 0.0) if tokens else None)

    return charge


def calls_of(
    client: SoloClient,
    run: RunFolder,
    *,
    budget: Budget | None = None,
    charge: Callable[[EncodedCall, Answered], None] | None = None,
    finish_cancelled_calls: bool = False,
) -> JobClient:
    """Return the journaled calls of a run on an open client. They count in the counters of the client.

    Args:
        charge: default: the tokens are charged to the budget.
    """
    if budget is not None and charge is None:
        charge = charging(budget)
    return JobClient(
        client.pool,
        client.model,
        client.params,
        counters=client.counters,
        budget=None if budget is None else SharedBudget(budget),
        charge=charge,
        log=JournalLog(run.journal, client.model),
        finish_cancelled_calls=finish_cancelled_calls,
    )


class Owner:
    """A job with one call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.permits, self.counters = PermitGroup(Permits(1, [endpoint])), CallCounters()


async def attempt(endpoint: Endpoint, transport: MemoryTransport) -> Answered | FailedAttempt:
    """Make one attempt at the endpoint, without a permit."""
    call = encode_call(Request("chat", "m", [{"content": "hi"}], {}))
    return await AttemptSender(transport, 9.0, lambda: None).send(endpoint, call, Owner(endpoint))


__all__ = [
    "FakeTransport",
    "Handler",
    "SoloClient",
    "answer",
    "asked",
    "attempt",
    "calls_of",
    "charging",
    "no_header",
    "refusal",
]

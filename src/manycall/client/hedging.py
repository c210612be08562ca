"""Hedging: send a second copy of a stalled call to another endpoint, because its server hangs or is far slower.

Calls are hedged only at the end of a run, when other endpoints are idle; only where a second answer is free (no key) or
permitted (`hedge = true` in endpoints.toml); and at most one call in fifty ("The Tail at Scale", J. Dean and L. A.
Barroso, CACM 2013). A long answer alone is no reason to hedge, because the copy would take as long. The threshold is
therefore the 99th percentile of the duration at the endpoint that would get the copy.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

from manycall import clock
from manycall.client.attempt import Answered, AttemptSender, CallOwner
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_limits import SendTime
from manycall.client.permits import Permits
from manycall.client.refusal import assess_failure
from manycall.control.retry import FailedAttempt
from manycall.errors import InvalidResponse
from manycall.providers import openai

MAX_HEDGED_SHARE = 0.02
"""Maximum share of hedged calls, in addition to MIN_HEDGES calls that are always allowed."""
MIN_HEDGES = 2
STALL_FACTOR = 2.0
"""A call has stalled after this multiple of the other endpoint's 99th percentile."""


class Original:
    """A call in flight that may get a copy.

    Attributes:
        since: when the call was sent.
        has_copy: a copy was sent to another endpoint.
        copy_answer: the copy's answer, if it arrived first.
    """

    __slots__ = ("_cancelling", "_copy", "_failed", "_task", "call", "copy_answer", "endpoint", "owner", "since")

    def __init__(self, endpoint: Endpoint, call: EncodedCall, owner: CallOwner) -> None:
        task = asyncio.current_task()
        assert task is not None, "calls are made by tasks"
        self.endpoint, self.call, self.owner = endpoint, call, owner
        self.since = clock.now()
        self._task, self._cancelling = task, task.cancelling()
        self._copy: asyncio.Task[None] | None = None
        self._failed = False
        self.copy_answer: Answered | None = None

    @property
    def has_copy(self) -> bool:
        """Whether a copy was sent to another endpoint."""
        return self._copy is not None

    def add_copy(self, copy: "asyncio.Task[None]") -> None:
        """Record the task that sends the copy."""
        self._copy = copy

    def take_copy_answer(self, answer: Answered) -> None:
        """Use the answer of the copy, and cancel the original if it is still in flight."""
        self.copy_answer = answer
        if not self._failed:
            self.owner.counters.record_unused()
            self._task.cancel()

    def cancelled_for_copy(self) -> bool:
        """Whether the task was cancelled only because the copy's answer arrived."""
        return self.copy_answer is not None and self._task.uncancel() <= self._cancelling

    async def answer_of_copy(self) -> Answered | None:
        """Wait for the copy after the original has failed. Return its answer, if there is one."""
        if self._copy is None:
            return None
        self._failed = True
        await asyncio.wait([self._copy])
        return self.copy_answer

    def cancel_copy(self) -> None:
        """Cancel the copy if it is still in flight, because the call has ended."""
        if self._copy is not None and not self._copy.done():
            self.owner.counters.record_unused()
            self._copy.cancel()


class HedgingSender:
    """Makes attempts, and hedges those that stall.

    Args:
        sender: makes single attempts.
        endpoints: at least two.
        permits: shared by all jobs.
    """

    def __init__(self, sender: AttemptSender, endpoints: Sequence[Endpoint], permits: Permits) -> None:
        self._sender, self._endpoints, self._permits = sender, endpoints, permits
        self._in_flight: dict[Original, None] = {}  # oldest first
        self._sent = self._hedged = 0

    def __repr__(self) -> str:
        return f"<HedgingSender: {len(self._in_flight)} in flight>"

    async def send(self, endpoint: Endpoint, call: EncodedCall, owner: CallOwner) -> Answered | FailedAttempt:
        """Send a call to an endpoint. The answer may come from another one."""
        original = Original(endpoint, call, owner)
        self._in_flight[original] = None
        self._sent += 1
        try:
            try:
                outcome = await self._sender.send(endpoint, call, owner)
            except asyncio.CancelledError:
                if original.cancelled_for_copy() and original.copy_answer is not None:
                    return original.copy_answer
                raise  # the task was also cancelled for another reason
            if original.has_copy and isinstance(outcome, Answered):
                outcome = _if_answer(call, outcome)
            if isinstance(outcome, FailedAttempt) and (answer := await original.answer_of_copy()) is not None:
                if outcome.error.possibly_billed:
                    owner.counters.record_unused()
                return answer
            return outcome
        finally:
            del self._in_flight[original]
            original.cancel_copy()

    def hedge_stalled(self) -> None:
        """Hedge stalled calls if other endpoints are idle. Call this once a second."""
        if self._permits.waiting:
            return
        now = clock.now()
        for original in list(self._in_flight):
            if self._hedged >= MIN_HEDGES + MAX_HEDGED_SHARE * self._sent:
                return
            if not original.has_copy and original.endpoint.may_hedge:
                other = next(self._faster_endpoints(original, now), None)
                if other is not None and original.owner.permits.try_acquire_at(self._permits, other):
                    self._hedge(original, other, now)

    def _hedge(self, original: Original, other: Endpoint, now: float) -> None:
        self._hedged += 1
        self._sent += 1
        original.owner.counters.record_hedge()
        other.note(now, f"hedging a call stalled for {now - original.since:.0f} s at {original.endpoint.url}")
        copy = asyncio.create_task(self._send_copy(original, other))
        copy.add_done_callback(partial(self._on_copy_done, original.owner, other))
        original.add_copy(copy)

    def _on_copy_done(self, owner: CallOwner, other: Endpoint, copy: "asyncio.Task[None]") -> None:
        """Release the permit in any case, even if the task was cancelled before it started."""
        owner.permits.release(self._permits, other)

    def _faster_endpoints(self, original: Original, now: float) -> Iterator[Endpoint]:
        """Yield the endpoints that would probably answer the call sooner."""
        for other in self._endpoints:
            if other is original.endpoint or not other.may_hedge or other.is_ejected(now) or other.latency_p99 is None:
                continue
            if now - original.since > STALL_FACTOR * other.latency_p99:
                yield other

    async def _send_copy(self, original: Original, other: Endpoint) -> None:
        outcome = await self._sender.send(other, original.call, original.owner)
        if isinstance(outcome, Answered):
            outcome = _if_answer(original.call, outcome)
        if not isinstance(outcome, FailedAttempt):
            if original in self._in_flight:
                original.take_copy_answer(outcome)
        elif outcome.error.possibly_billed:
            original.owner.counters.record_unused()  # the original is still in flight and has its own retries


def _if_answer(call: EncodedCall, response: Answered) -> Answered | FailedAttempt:
    """Return the response of a hedged call, or the failure if it is not the model's, as the web page of a proxy."""
    try:
        openai.decode(call.api, response.body)
    except InvalidResponse as error:
        if type(error) is InvalidResponse:  # the others are the model's: truncated, filtered, declined, empty
            now = clock.now()
            sent = SendTime(now - response.seconds, response.in_flight - 1)
            return assess_failure(response.endpoint, error.replace(), sent, now)
    return response

"""The calls of one job: from an encoded call to its answer, with permit, attempt, journal and retry.

EncodedCall -> permit -> attempt -> response -> journal -> decode -> Completion
                 ^                                  |         |
                 '--- backoff, without a permit <---'---------'
"""

from collections.abc import Callable
from typing import Any, Protocol

from msgspec.structs import replace

from manycall import clock, errors
from manycall.client.attempt import Answered
from manycall.client.call_counters import CallCounters
from manycall.client.call_history import CallInFlight, CallsInFlight, EarlierAttempts
from manycall.client.encoded_call import EncodedCall, encode_call
from manycall.client.endpoint import Endpoint, SendTime
from manycall.client.permit_group import PermitGroup
from manycall.client.pool import EndpointPool
from manycall.client.refusal import assess_failure
from manycall.client.requests import LLM, ModelReply
from manycall.client.shielded_exchanges import ShieldedExchanges
from manycall.control import retry
from manycall.control.budget import Budget
from manycall.control.regression import MonitorInterval
from manycall.control.retry import FailedAttempt, RetryRule
from manycall.errors import FailureAction, ManycallError, StorageError
from manycall.limits import CallCost
from manycall.providers import openai
from manycall.providers.reasoning import is_thinking_model
from manycall.records import Request

ONE_CALL = CallCost()
JOB_STEP = 1 << 40
"""Distance between the priorities of two jobs: calls of the job that started first go first."""


class ResponseLog(Protocol):
    """Stores the responses, before anything reads them."""

    def append(self, origin: Any, call: EncodedCall, response: Answered) -> None:
        """Store a response.

        Args:
            origin: where the call comes from, as the caller of `JobClient.call` gave it.

        Raises:
            StorageError: it could not be stored.
        """


class JobClient(LLM):
    """The calls of one job on an open pool, with its own counters, budget and stop.

    Args:
        pool: the endpoints, which several jobs may share.
        model: the model's name.
        params: sent with every text call of the job.
        counters: counters of the job.
        budget: what the job may spend; None if there is no limit.
        charge: called with each response that was stored; None if calls need not be charged.
        log: stores the responses; None if they are not stored.
        finish_cancelled_calls: a call that was sent continues if its caller is cancelled, and its response is stored.
        wants_rows: whether the job may start another row; False while its results are not read fast enough.

    Attributes:
        permits: the job's part of the pool's permits.
        had_success: a call was answered before the job began, by another job of the pool or in an earlier session.
        storage_error: why a response could not be stored; None if all were.
        in_flight: the calls that were sent and have not ended.
    """

    def __init__(
        self,
        pool: EndpointPool,
        model: str,
        params: dict[str, Any],
        *,
        counters: CallCounters | None = None,
        budget: Budget | None = None,
        charge: Callable[[EncodedCall, Answered], None] | None = None,
        log: ResponseLog | None = None,
        finish_cancelled_calls: bool = False,
        wants_rows: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(model, params)
        self.pool = pool
        self.counters = CallCounters() if counters is None else counters
        if self.counters.had_success:
            pool.permits.skip_canary()
        self.had_success = self.counters.had_success or pool.permits.has_answer
        self.permits = PermitGroup(pool.permits, budget, wants_rows)
        self.storage_error: StorageError | None = None
        self.in_flight = CallsInFlight()
        self._charge, self._log, self._is_thinker = charge, log, pool.template_thinks
        self._shielded = ShieldedExchanges(self.permits, self.counters) if finish_cancelled_calls else None
        self._first_priority = next(pool.job_numbers) * JOB_STEP
        self._count = 0

    def __repr__(self) -> str:
        return f"<JobClient {self.model}, {self.permits!r}>"

    def leave(self) -> None:
        """Detach from the pool, after the job has ended."""
        self.permits.leave()

    def expect_rows(self, rows: int) -> None:
        """Record the number of rows that the job has still to do."""
        for endpoint in self.pool.endpoints:
            if endpoint.window is not None:
                endpoint.window.expect_rows(rows)

    @property
    def any_success(self) -> bool:
        """Whether a call was answered, by this job or before it."""
        return self.had_success or self.counters.calls > 0

    @property
    def stopped(self) -> ManycallError | None:
        """Why no further calls are made; None while calls are permitted."""
        return self.permits.closed

    def stop(self, why: ManycallError) -> None:
        """Make no new calls. Calls in flight finish; calls that wait for a permit or a retry raise `why`."""
        if isinstance(why, StorageError) and self.storage_error is None:
            self.storage_error = why
        self.permits.close(why)

    async def _call(self, request: Request) -> ModelReply:
        self._count += 1
        return await self.call(encode_call(request), self._count)

    async def call(self, call: EncodedCall, priority: int, origin: Any = None) -> ModelReply:
        """Send a call, with retries, until there is an answer or a failure that is not worth a retry.

        Args:
            priority: position in the queue for permits; the smallest goes first.
            origin: where the call comes from, for the log.

        Raises:
            CallError: there is no answer.
            RunStopped, StorageError: the job makes no more calls.
        """
        priority += self._first_priority
        pool = self.pool
        failures: dict[RetryRule, int] | None = None
        earlier: EarlierAttempts | None = None
        sent = 0
        while True:
            sent += 1
            outcome = await self._attempt(call, priority, origin, earlier)
            if not isinstance(outcome, FailedAttempt):
                return outcome
            failures = {} if failures is None else failures
            self._after_failure(outcome, sent, failures)
            seconds = retry.backoff_seconds(outcome, sent, pool.rng)
            may_hurry = retry.ends_with_outage(outcome.error)
            earlier = EarlierAttempts() if earlier is None else earlier
            earlier.record(outcome.error, clock.now())
            del outcome  # it may hold a large body
            await self._wait(seconds, may_hurry)

    async def _attempt(
        self, call: EncodedCall, priority: int, origin: Any, earlier: EarlierAttempts | None
    ) -> ModelReply | FailedAttempt:
        """Make one attempt. A separate frame, so that a large response is freed before the backoff (measured)."""
        pool, permits, shielded = self.pool, self.permits, self._shielded
        cost = self._cost(call) if pool.may_count_tokens else ONE_CALL
        prompt = pool.selector.prompt_hashes(call.body)
        endpoint = permits.try_acquire(cost, prompt) or await permits.acquire(priority, cost, prompt)
        interval = endpoint.window.interval if endpoint.window is not None else None
        now = clock.now()
        if earlier is not None:
            earlier.record_sent(now)
        number = self.in_flight.add(CallInFlight(origin, endpoint, now))
        try:
            if shielded is not None:
                response = await shielded.run(self._exchange(call, endpoint, origin, earlier), endpoint)
            else:
                try:
                    response = self._record(
                        call, endpoint, origin, earlier, await pool.sender.send(endpoint, call, self)
                    )
                finally:
                    permits.release(endpoint)
        finally:
            self.in_flight.remove(number)
        return self._read(call, cost, endpoint, interval, response)

    def _after_failure(self, failure: FailedAttempt, sent: int, failures: dict[RetryRule, int]) -> None:
        """Count a failed attempt. Raise its error unless the call should be sent again."""
        error, counters = failure.error, self.counters
        counters.record_failure(error, failure.failure_class)
        rule = retry.RULES[failure.failure_class]
        failures[rule] = failures.get(rule, 0) + 1
        match retry.decide(failure, failures[rule], any_success=self.any_success):
            case FailureAction.RETRY:
                counters.record_retry()
            case FailureAction.FAIL:
                raise error.replace(attempts=sent, failure_class=failure.failure_class)
            case FailureAction.STOP_RUN:
                self.stop(retry.reason_to_stop(failure))
                raise self.stopped or error from error

    async def _wait(self, seconds: float, may_hurry: bool) -> None:
        """Wait, without a permit, until the time is up or the run stops; with `may_hurry`, or until an outage ends."""
        until = clock.now() + seconds
        while await clock.wait_for_event(self.permits.wake_event, until - clock.now()):
            if may_hurry or self.stopped is not None:
                return

    def _read(
        self,
        call: EncodedCall,
        cost: CallCost,
        endpoint: Endpoint,
        interval: MonitorInterval | None,
        response: Answered | FailedAttempt,
    ) -> ModelReply | FailedAttempt:
        """Decode a response and count its answer. Return the answer, or the failure if there is none."""
        if isinstance(response, FailedAttempt):
            return response
        try:
            answer = self.decode(call, response.body)
        except errors.InvalidResponse as error:
            return self._unanswered(error.with_traceback(None), response)  # a variable here would be part of a cycle
        self.counters.answer(answer)
        if not self.pool.permits.has_answer:
            self.pool.permits.record_answer()
        if interval is not None or cost is not ONE_CALL:
            self._learn(call, cost, endpoint, interval, response, answer)
        return answer

    def _unanswered(self, error: errors.InvalidResponse, response: Answered) -> FailedAttempt:
        """Return the failure of an attempt whose response contains no answer."""
        self.counters.spent(openai.usage(response.body))
        now = clock.now()
        failure = assess_failure(
            response.endpoint, error, SendTime(now - response.seconds, response.endpoint.in_flight), now
        )
        return self.pool.fail_over(response.endpoint, failure, any_success=self.any_success)

    def decode(self, call: EncodedCall, body: bytes, replayed: bool = False) -> ModelReply:
        """Return the answer in a response to this call.

        Raises:
            InvalidResponse: there is none.
        """
        is_thinker = self._is_thinker or is_thinking_model(call.model)
        return openai.decode(call.api, body, replayed, is_thinker=is_thinker)

    async def _exchange(
        self, call: EncodedCall, endpoint: Endpoint, origin: Any, earlier: EarlierAttempts | None
    ) -> Answered | FailedAttempt:
        """Send the call and record the response."""
        return self._record(call, endpoint, origin, earlier, await self.pool.sender.send(endpoint, call, self))

    def _record(
        self,
        call: EncodedCall,
        endpoint: Endpoint,
        origin: Any,
        earlier: EarlierAttempts | None,
        response: Answered | FailedAttempt,
    ) -> Answered | FailedAttempt:
        """Store a response before anything reads it, and charge it."""
        if isinstance(response, FailedAttempt):
            return self.pool.fail_over(endpoint, response, any_success=self.any_success)
        if earlier is not None:
            response = replace(response, earlier=earlier)
        if self._log is not None:
            try:
                self._log.append(origin, call, response)
            except StorageError as error:
                self.stop(error)  # the row function may suppress the exception
                raise
        if self._charge is not None:
            self._charge(call, response)
        return response

    def _learn(
        self,
        call: EncodedCall,
        cost: CallCost,
        endpoint: Endpoint,
        interval: MonitorInterval | None,
        response: Answered,
        answer: ModelReply,
    ) -> None:
        """Update the endpoint's window, its quota and the token estimate with an answer."""
        used = answer.usage
        if interval is not None and response.endpoint is endpoint:
            tokens = used.completion_tokens or len(response.body) // 4
            if endpoint.record_answer(interval, response.seconds, tokens):
                self.permits.recheck()
        if cost is not ONE_CALL:
            self.pool.estimate.update(len(call.body), used.prompt_tokens, used.completion_tokens)
            output = call.max_output_tokens if endpoint.reserves_max_tokens else None
            endpoint.quota.settle(cost, CallCost(1.0, used.prompt_tokens + (output or used.completion_tokens)))
            if endpoint.quota.counts_tokens:
                self.permits.recheck()  # the next call may use the unused part of the reservation

    def _cost(self, call: EncodedCall) -> CallCost:
        """Return what the call may take from the quotas, including all output tokens that it permits."""
        return CallCost(1.0, self.pool.estimate.estimate(len(call.body), call.max_output_tokens))

    def cancel_in_flight(self) -> None:
        """Cancel the calls in flight. Answers that have arrived are kept."""
        if self._shielded is not None:
            self._shielded.cancel()

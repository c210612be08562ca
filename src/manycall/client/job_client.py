"""The calls of one job: from an encoded call to its answer, with permit, attempt, journal and retry.

EncodedCall -> permit -> attempt -> response -> journal -> decode -> Completion
                 ^                                  |         |
                 '--- backoff, without a permit <---'---------'
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from manycall import clock, errors
from manycall.client.attempt import Answered
from manycall.client.call_counters import CallCounters
from manycall.client.call_history import EarlierAttempts
from manycall.client.call_in_flight import CallInFlight
from manycall.client.encoded_call import EncodedCall, encode_call
from manycall.client.endpoint_limits import SendTime
from manycall.client.permit_group import PermitGroup
from manycall.client.pool import ONE_CALL, EndpointPool
from manycall.client.pool_names import ONE_POOL, PoolNames
from manycall.client.refusal import assess_failure
from manycall.client.requests import LLM, ModelReply
from manycall.client.shared_budget import SharedBudget
from manycall.client.shielded_exchanges import Outcome, ShieldedExchanges
from manycall.control import retry
from manycall.control.retry import FailedAttempt
from manycall.errors import FailureAction, ManycallError, StorageError
from manycall.providers import openai
from manycall.records import Completion, Embeddings, Request

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


class NamedPools(NamedTuple):
    """The pools that calls may name. The default pool is not among them."""

    names: PoolNames = ONE_POOL
    pools: Mapping[str, EndpointPool] = {}


ONLY_DEFAULT = NamedPools()
MAX_HELD_BYTES = 1 << 16
"""Size of a response up to which its row waits for others (`clock.next_turn`), because larger ones need much memory."""
_ANSWERS = (Completion, Embeddings)


class JobClient(LLM):
    """The calls of one job on open pools, with its own counters, budget and stop.

    Args:
        pool: the default pool, which several jobs may share.
        model: the model's name.
        params: sent with every text call of the job.
        counters: counters of the job.
        budget: what the job may spend; None if there is no limit.
        charge: called with each response that was stored; None if calls need not be charged.
        log: stores the responses; None if they are not stored.
        finish_cancelled_calls: a call that was sent continues if its caller is cancelled, and its response is stored.
        wants_rows: whether the job may start another row; False while its results are not read fast enough.
        named: the other pools.

    Attributes:
        permits: the job's part of the pools' permits.
        storage_error: why a response could not be stored; None if all were.
        in_flight: the calls that have a permit; the oldest first.
    """

    def __init__(
        self,
        pool: EndpointPool,
        model: str,
        params: dict[str, Any],
        *,
        counters: CallCounters | None = None,
        budget: SharedBudget | None = None,
        charge: Callable[[EncodedCall, Answered], None] | None = None,
        log: ResponseLog | None = None,
        finish_cancelled_calls: bool = False,
        wants_rows: Callable[[], bool] | None = None,
        named: NamedPools = ONLY_DEFAULT,
    ) -> None:
        super().__init__(model, params, named.names)
        self.pool, self._named = pool, named.pools
        self.counters = CallCounters() if counters is None else counters
        if self.counters.had_success:
            for each in (pool, *self._named.values()):
                each.permits.skip_canary()
        self._had_answer = pool.permits.has_answer
        others = [each.permits for each in self._named.values()]
        self.permits = PermitGroup(pool.permits, budget, wants_rows, others)
        self.storage_error: StorageError | None = None
        self.in_flight: dict[CallInFlight, None] = {}
        self._charge, self._log = charge, log
        self._shielded = ShieldedExchanges(self.counters, self._end) if finish_cancelled_calls else None
        self._first_priority = next(pool.job_numbers) * JOB_STEP
        self._count = 0

    def __repr__(self) -> str:
        return f"<JobClient {self.model}, {self.permits!r}>"

    def leave(self) -> None:
        """Detach from the pool, after the job has ended."""
        self.permits.leave()

    def expect_rows(self, rows: int) -> None:
        """Record the number of rows that the job has still to do."""
        self.permits.expect_rows(rows)
        for pool in (self.pool, *self._named.values()):
            for endpoint in pool.endpoints:
                if endpoint.window is not None:
                    endpoint.window.expect_rows(pool.permits.expected_rows)

    @property
    def had_success(self) -> bool:
        """Whether a call was answered by another job of the pool, in an earlier session or in another process."""
        return self._had_answer or self.counters.had_success

    def any_success(self, pool: EndpointPool) -> bool:
        """Return whether a pool has answered a call, of this job or before it."""
        if pool is self.pool and not self._named:
            return self.had_success or self.counters.calls > 0
        return self.counters.had_success or pool.permits.has_answer

    @property
    def stopped(self) -> ManycallError | None:
        """Why no further calls are made; None while calls are permitted."""
        return self.permits.closed

    def stop(self, why: ManycallError) -> None:
        """Make no new calls. Calls in flight finish; calls that wait for a permit or a retry raise `why`."""
        if isinstance(why, StorageError) and self.storage_error is None:
            self.storage_error = why
        self.permits.close(why)

    async def send(self, request: Request) -> ModelReply:
        """Send a request unchanged, to any model. The client's own parameters are not added."""
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
        pool = self._named[call.pool] if call.pool else self.pool
        permits, shared = self.permits, pool.permits
        if self._named:
            permits.record_call(shared, priority)
        prompt = pool.selector.prompt_hashes(call.body)
        earlier: EarlierAttempts | None = None
        while True:
            cost = pool.cost(call)
            endpoint = permits.try_acquire(shared, cost, prompt)
            endpoint = endpoint or await permits.acquire(shared, priority, cost, prompt)
            interval = None if endpoint.window is None else endpoint.window.interval
            flight = CallInFlight(pool, call, origin, cost, endpoint, pool.now(), interval, earlier)
            self.in_flight[flight] = None
            if earlier is not None:
                earlier.record_sent(flight.since)
            exchange = self._exchange(flight)
            outcome = await (exchange if self._shielded is None else self._shielded.run(exchange, flight))
            if isinstance(outcome, _ANSWERS):
                return outcome
            if isinstance(outcome, Answered) and isinstance(outcome := self._read(flight, outcome), _ANSWERS):
                return outcome
            earlier = EarlierAttempts() if earlier is None else earlier
            self._after_failure(pool, outcome, earlier)
            seconds = retry.backoff_seconds(outcome, sum(earlier.by_rule.values()), pool.rng)
            may_hurry = retry.ends_with_outage(outcome.error)
            del outcome  # it may hold a large body
            await self._wait(seconds, may_hurry)

    def _end(self, flight: CallInFlight) -> None:
        """Release the permit of a call, unless that was done."""
        if flight in self.in_flight:
            del self.in_flight[flight]
            self.permits.release(flight.pool.permits, flight.endpoint)

    async def _exchange(self, flight: CallInFlight) -> Outcome:
        """Send a call and record its response. Read it at once, unless it is large."""
        try:
            await clock.next_turn()
            outcome = self._record(flight, await flight.pool.sender.send(flight.endpoint, flight.call, self))
            if isinstance(outcome, Answered) and len(outcome.body) <= MAX_HELD_BYTES:
                answer = self._read(flight, outcome)
                await clock.next_turn()
                return answer
            return outcome
        finally:
            self._end(flight)

    def _after_failure(self, pool: EndpointPool, failure: FailedAttempt, earlier: EarlierAttempts) -> None:
        """Count a failed attempt. Raise its error unless the call should be sent again."""
        error, counters = failure.error, self.counters
        counters.record_failure(error, failure.failure_class)
        earlier.record(failure, clock.now())
        attempts = earlier.by_rule[retry.RULES[failure.failure_class]]
        match retry.decide(failure, attempts, any_success=self.any_success(pool)):
            case FailureAction.RETRY:
                counters.record_retry(None if failure.adapted else error)
            case FailureAction.FAIL:
                raise error.replace(attempts=len(earlier.statuses), failure_class=failure.failure_class)
            case FailureAction.STOP_RUN:
                self.stop(retry.reason_to_stop(failure))
                raise self.stopped or error from error

    async def _wait(self, seconds: float, may_hurry: bool) -> None:
        """Wait, without a permit, until the time is up or the run stops; with `may_hurry`, or until an outage ends."""
        until = clock.now() + seconds
        while await clock.wait_for_event(self.permits.wake_event, until - clock.now()):
            if may_hurry or self.stopped is not None:
                return

    def _read(self, flight: CallInFlight, response: Answered) -> ModelReply | FailedAttempt:
        """Decode a response and count its answer. Return the answer, or the failure if there is none."""
        pool, call, endpoint = flight.pool, flight.call, response.endpoint
        try:
            answer = openai.decode(call.api, response.body, False, pool.is_thinker(call.model))
        except errors.InvalidResponse as error:
            return self._unanswered(pool, error.replace(), response)  # a copy: the frames of a traceback hold the body
        if endpoint.record_success(response.seconds):
            pool.permits.end_outage()
        self.counters.record_answer(answer)
        if not pool.permits.has_answer:
            pool.permits.record_answer()
        if flight.interval is not None or flight.cost is not ONE_CALL:
            pool.learn(call, flight.cost, flight.endpoint, flight.interval, response, answer.usage)
        return answer

    def _unanswered(self, pool: EndpointPool, error: errors.InvalidResponse, response: Answered) -> FailedAttempt:
        """Return the failure of an attempt whose response contains no answer."""
        self.counters.record_spent(openai.usage(response.body))
        if type(error) is not errors.InvalidResponse and response.endpoint.record_success(response.seconds):
            pool.permits.end_outage()
        now = clock.now()
        sent = SendTime(now - response.seconds, response.in_flight - 1)
        failure = assess_failure(response.endpoint, error, sent, now)
        return pool.fail_over(response.endpoint, failure, any_success=self.any_success(pool))

    def decode(self, call: EncodedCall, body: bytes, replayed: bool = False) -> ModelReply:
        """Return the answer in a response to this call.

        Raises:
            InvalidResponse: there is none.
        """
        pool = self._named[call.pool] if call.pool else self.pool
        return openai.decode(call.api, body, replayed, pool.is_thinker(call.model))

    def _record(self, flight: CallInFlight, response: Answered | FailedAttempt) -> Answered | FailedAttempt:
        """Store a response before anything reads it, and charge it."""
        if not isinstance(response, Answered):
            pool = flight.pool
            return pool.fail_over(flight.endpoint, response, any_success=self.any_success(pool))
        if flight.earlier is not None:
            response = replace(response, earlier=flight.earlier)
        if self._log is not None:
            try:
                self._log.append(flight.origin, flight.call, response)
            except StorageError as error:
                self.stop(error)  # the row function may suppress the exception
                raise
        if self._charge is not None:
            self._charge(flight.call, response)
        return response

    def cancel_in_flight(self) -> None:
        """Cancel the calls in flight. Answers that have arrived are kept."""
        if self._shielded is not None:
            self._shielded.cancel()

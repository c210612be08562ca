"""The call client: from a Request to a Completion, with permit, attempt and retry.

Request -> replay? -> permit -> endpoint -> HTTP -> response -> journal -> decode -> Completion
                        ^                              |                    |
                        '------- backoff, without a permit <----- failure --'
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from manycall import clock, errors
from manycall.client.call_counters import CallCounters
from manycall.client.endpoint import AttemptResult, Endpoint
from manycall.client.permit_group import PermitGroup
from manycall.client.permits import Permits
from manycall.client.pool import EndpointPool
from manycall.client.requests import LLM, ModelReply
from manycall.control import retry
from manycall.control.concurrency_window import INITIAL_WINDOW
from manycall.control.regression import MonitorInterval
from manycall.control.token_estimate import TokenEstimator
from manycall.errors import FailureAction, RunStopped, UsageError
from manycall.limits import CallCost
from manycall.option_flags import option
from manycall.providers import openai
from manycall.records import Api, Request, Secret
from manycall.transport.http import HttpTransport
from manycall.transport.messages import Transport

DEFAULT_TIMEOUT = 600.0

ONE_CALL = CallCost()
OnResponse = Callable[[bytes, float], None]
"""Called with each response body and its duration in seconds, before the body is decoded."""


class CallClient(LLM):
    """A client for OpenAI-compatible endpoints, open inside `async with`.

    >>> async def main():
    ...     async with manycall.Client(model="any", url="sim") as llm:
    ...         return await llm.chat("Hi!", max_tokens=5)
    >>> import asyncio
    >>> asyncio.run(main()).truncated
    True

    Args:
        model: the model's name, as the endpoint knows it.
        base_url: the endpoint's URL, or several (one pool), or "sim"; default: OPENAI_BASE_URL, endpoints.toml,
            OpenAI itself.
        api_key: the API key; default: OPENAI_API_KEY; "": none.
        plain_http: allow sending the key unencrypted to another machine; default: False.
        concurrency: maximum number of calls in flight; default: adapted to what the endpoints can serve.
        timeout: seconds for one attempt, from connecting to the last byte; default: 600.
        params: sent with every text call: {"temperature": 0, "max_tokens": 512, ...}.
        transport: sends the HTTP requests; for tests.
        rng: source of the jitter in the backoff between attempts.
        initial_window: the concurrency window at the start, if none is cached.

    Attributes:
        counters: counters of attempts, calls, tokens and rows.
        pool: the endpoints.
        permits: the queue for permission to send.
        finish_cancelled_calls: a call that was sent continues if its caller is cancelled, and its response is kept.

    Raises:
        UsageError: no model, no endpoint, an invalid URL, a key that would be sent unencrypted, or a call outside
            `async with`.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | Sequence[str] | None = None,
        api_key: str | Secret | None = None,
        plain_http: bool = False,
        concurrency: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        params: Mapping[str, Any] | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
        initial_window: int = INITIAL_WINDOW,
    ) -> None:
        api_key = None if api_key is None else Secret(api_key)  # first, so that no traceback shows it
        super().__init__(model, dict(params or {}))
        if not model:
            raise UsageError(f"Missing model. Pass {option('model')}.")
        if concurrency is not None and concurrency < 1:
            raise UsageError(f"{option('concurrency')} must be at least 1, not {concurrency}")
        if not 0 < timeout <= 86_400:
            raise UsageError(f"{option('timeout')} must be more than 0 and at most 86400 seconds, not {timeout}")
        example = openai.encode(Request("chat", model, [], self.params))  # report an invalid parameter now
        self.counters = CallCounters()
        self.finish_cancelled_calls = False
        self._in_flight: set[asyncio.Task[Any]] = set()
        urls = [base_url] if isinstance(base_url, str) else list(base_url or ())
        self.pool = EndpointPool(
            model, urls, api_key, concurrency, self.counters, plain_http=plain_http, initial_window=initial_window
        )
        if any(each.redact(example) is not example for each in self.pool.endpoints):
            raise UsageError("The model name or a parameter contains the API key, which would be saved. Remove it.")
        self.permits: Permits | PermitGroup = self.pool.permits
        self._estimate = TokenEstimator()
        self._transport = transport
        self._timeout = timeout
        self._rng = rng or random.Random()
        self._age = 0
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Client {self.model} at {self.pool.endpoints}, {self.permits!r}>"

    async def __aenter__(self) -> Self:
        if self._transport is None:
            self._transport = HttpTransport()
        try:
            await self.pool.open(self._transport)
        except BaseException:
            await self._close()
            raise
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._is_open = False
        await self.pool.close()
        if self._transport is not None:
            await self._transport.close()

    @property
    def stopped(self) -> RunStopped | None:
        """Why no further calls are made; None while calls are permitted."""
        return self.permits.closed

    def stop(self, why: RunStopped) -> None:
        """Make no new calls. Calls in flight finish; calls that wait for a permit or a retry raise `why`."""
        self.permits.close(why)

    async def _call(self, request: Request) -> ModelReply:
        if not self._is_open:
            raise UsageError("The client is not open. Use it inside `async with manycall.Client(...) as llm:`.")
        self._age += 1
        return await self.call(request, openai.encode(request), self._age, None)

    async def call(self, request: Request, body: bytes, priority: int, on_response: OnResponse | None) -> ModelReply:
        """Send a request, with retries, until there is an answer or a failure that is not worth a retry.

        Args:
            body: the encoded request.
            priority: position in the queue for permits; the smallest goes first.
            on_response: journals a response, before it is decoded.
        """
        failures: dict[retry.RetryRule, int] = {}
        sent = 0
        while True:
            sent += 1
            try:
                return await self._attempt(request, body, priority, on_response)
            except errors.CallError as failure:
                failure.attempts = sent
                rule = retry.find_rule(failure)
                failures[rule] = failures.get(rule, 0) + 1
                if not self._handle_failure(failure, failures[rule]):
                    raise
                seconds, may_hurry = retry.backoff_seconds(failure, sent, self._rng), retry.ends_with_outage(failure)
            await self._wait(seconds, may_hurry)

    async def _wait(self, seconds: float, may_hurry: bool) -> None:
        """Wait, without a permit, until the time is up or the run stops; with `may_hurry`, or until an outage ends."""
        until = clock.now() + seconds
        while await clock.wait_for_event(self.permits.wake_event, until - clock.now()):
            if may_hurry or self.stopped is not None:
                return

    async def _attempt(
        self, request: Request, body: bytes, priority: int, on_response: OnResponse | None
    ) -> ModelReply:
        """Make one attempt. A separate frame, so that a large response is freed before the backoff."""
        cost = self._cost(request, len(body)) if self.pool.may_count_tokens else ONE_CALL
        prompt = self.pool.prefix_hashes(body)
        endpoint = self.permits.try_acquire(cost, prompt) or await self.permits.acquire(priority, cost, prompt)
        epoch = endpoint.window.interval if endpoint.window is not None else None
        exchange = self._exchange(request.api, body, endpoint, on_response)
        if self.finish_cancelled_calls:
            result = await self._finish_when_cancelled(exchange, endpoint)
        else:
            try:
                result = await exchange
            finally:
                self.permits.release(endpoint)
        return self._read(request, body, cost, endpoint, epoch, result)

    async def _exchange(
        self, api: Api, body: bytes, endpoint: Endpoint, on_response: OnResponse | None
    ) -> AttemptResult:
        """Send the request, journal the response, and charge its tokens to the budget."""
        assert self._transport is not None
        self.counters.attempts += 1
        try:
            result = await self.pool.hedger.send(self._transport, endpoint, api, body, self._timeout)
            if on_response is not None:
                on_response(result.body, result.seconds)
            if self.permits.budget is not None:
                self.permits.budget.spend(openai.usage(result.body))
        except errors.HttpStatusError as error:
            self.pool.handle_refusal(endpoint, error)
            raise
        return result

    def _read(
        self,
        request: Request,
        body: bytes,
        cost: CallCost,
        endpoint: Endpoint,
        epoch: MonitorInterval | None,
        result: AttemptResult,
    ) -> ModelReply:
        """Return the decoded answer, and update the endpoint's window, its quota and the token estimate with it."""
        try:
            answer = openai.decode(request.api, result.body)
        except errors.InvalidResponse:
            self.counters.spent(openai.usage(result.body))
            raise
        self.counters.answer(answer)
        self.permits.end_canary()
        used = answer.usage
        if epoch is not None and result.by is endpoint:
            self.pool.answered(endpoint, epoch, result.seconds, used.completion_tokens or len(result.body) // 4)
        if cost is not ONE_CALL:
            self._estimate.update(len(body), used.prompt_tokens, used.completion_tokens)
            output = self._max_output_tokens(request) if endpoint.reserves_max_tokens else None
            endpoint.quota.settle(cost, CallCost(1.0, used.prompt_tokens + (output or used.completion_tokens)))
            if endpoint.quota.counts_tokens:
                self.permits.recheck()  # the next call may use the unused part of the reservation
        return answer

    async def _finish_when_cancelled(
        self, exchange: Coroutine[Any, Any, AttemptResult], endpoint: Endpoint
    ) -> AttemptResult:
        """Wait for a call that continues if its row is cancelled, because it is billed in any case."""
        task = asyncio.create_task(exchange)
        self._in_flight.add(task)
        task.add_done_callback(partial(self._on_exchange_done, endpoint))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._count_unread)
            raise

    def _on_exchange_done(self, endpoint: Endpoint, task: asyncio.Task[Any]) -> None:
        """Release the permit in any case, even if the task was cancelled before it started."""
        self._in_flight.discard(task)
        self.permits.release(endpoint)
        if not task.cancelled():
            task.exception()  # mark it as retrieved, because the row may no longer wait for it

    def _count_unread(self, task: asyncio.Task[AttemptResult]) -> None:
        """Count the tokens of a response that is in the journal although its row no longer waits for it."""
        if not task.cancelled() and task.exception() is None:
            self.counters.spent(openai.usage(task.result().body))

    def cancel_in_flight(self) -> None:
        """Cancel the calls in flight. Answers that have arrived are kept."""
        for task in self._in_flight:
            task.cancel()

    def _cost(self, request: Request, size: int) -> CallCost:
        """Return what the call may take from the quotas, including all output tokens that it permits."""
        return CallCost(1.0, self._estimate.estimate(size, self._max_output_tokens(request)))

    @staticmethod
    def _max_output_tokens(request: Request) -> int | None:
        """Return the request's max_tokens; None if it has none."""
        if request.api == "embeddings":
            return 0
        maximum = request.params.get("max_completion_tokens") or request.params.get("max_tokens")
        return maximum if isinstance(maximum, int) and maximum > 0 else None

    def _handle_failure(self, failure: errors.CallError, count: int) -> bool:
        """Count the failure, and return whether to send the call again.

        The caller re-raises the failure. If it were raised here, it and this frame would refer to each other, and the
        response would be kept until the next garbage collection.
        """
        counters = self.counters
        counters.possibly_billed += failure.possibly_billed
        counters.invalid_responses += isinstance(failure, errors.InvalidResponse)
        counters.http_429 += isinstance(failure, errors.HttpStatusError) and (
            failure.status == 429 or failure.is_throttle
        )
        match retry.decide(failure, count, any_success=counters.any_success):
            case FailureAction.RETRY:
                counters.retries += 1
                return True
            case FailureAction.GIVE_UP:
                return False
            case FailureAction.STOP:
                self.stop(RunStopped(str(failure)))
                raise self.stopped or failure from failure

"""One Request to one Completion: admit, send, settle, retry.

Request -> replay? -> permit -> endpoint -> wire -> reply -> journal -> decode -> Completion
                        ^                             |                   |
                        '-------- wait, without a permit <----- failure --'
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from manycall import clock, errors
from manycall.control import retry
from manycall.control.epoch import Epoch
from manycall.control.estimate import Estimate
from manycall.control.quota import Cost
from manycall.engine.calls import Answer, Calls
from manycall.engine.endpoint import Endpoint, Landed
from manycall.engine.pool import Pool
from manycall.engine.progress import Counters
from manycall.errors import RunStopped, UsageError, Verdict
from manycall.records import Api, Request, Secret
from manycall.wire import openai
from manycall.wire.transport import HttpTransport, Transport

DEFAULT_TIMEOUT = 600.0

ONE_REQUEST = Cost()
Keep = Callable[[bytes, float], None]
"""Takes a reply's body and the seconds it took, before anything looks into it."""


class Client(Calls):
    """A client for OpenAI-compatible endpoints, open inside `async with`.

    >>> async def main():
    ...     async with manycall.Client(model="any", url="sim") as llm:
    ...         return await llm.chat("Hi!", max_tokens=5)
    >>> import asyncio
    >>> asyncio.run(main()).truncated
    True

    Args:
        model: the model's name, as the endpoint knows it.
        url: the endpoint's URL, or several (one pool), or "sim"; default: OPENAI_BASE_URL, endpoints.toml,
            OpenAI itself.
        api_key: default: OPENAI_API_KEY; "": none.
        plain_http: let the key go unencrypted to another machine (False).
        concurrency: how many calls may be in flight; default: as many as serve the endpoints best, which it finds.
        timeout: seconds for one attempt, from connecting to the last byte.
        params: sent with every text call: {"temperature": 0, "max_tokens": 512, ...}.
        transport: what carries the requests; for tests.
        rng: of the jitter in the waits between attempts.

    Attributes:
        counters: what has happened so far.
        pool: the endpoints, and what has been learned of them.
        permits: who may call.
        sees_calls_through: a call on the wire goes on when whoever waits for it is cancelled, and is kept.

    Raises:
        UsageError: no model, no endpoint, a URL that is none, or a key that would go where it can be read; or a call
            outside of `async with`.
    """

    def __init__(
        self,
        model: str,
        *,
        url: str | Sequence[str] | None = None,
        api_key: str | Secret | None = None,
        plain_http: bool = False,
        concurrency: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        params: Mapping[str, Any] | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        api_key = None if api_key is None else Secret(api_key)  # first, so that no traceback shows it
        super().__init__(model, dict(params or {}))
        if not model:
            raise UsageError("no model: name one with -m")
        if concurrency is not None and concurrency < 1:
            raise UsageError(f"-j must be at least 1, not {concurrency}")
        if not 0 < timeout <= 86_400:
            raise UsageError(f"--timeout must be seconds, more than 0 and at most a day, not {timeout}")
        example = openai.encode(Request("chat", model, [], self.params))  # a parameter that cannot be is said now
        self.counters = Counters()
        self.sees_calls_through = False
        self._flying: set[asyncio.Task[Any]] = set()
        urls = [url] if isinstance(url, str) else list(url or ())
        self.pool = Pool(model, urls, api_key, concurrency, self.counters, plain_http=plain_http)
        if any(each.scrub(example) is not example for each in self.pool.endpoints):
            raise UsageError("the model's name or a parameter holds the key, and goes to the disk: take it out")
        self.permits = self.pool.permits
        self._estimate = Estimate()
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
        """Why no further call is made; None while all is well."""
        return self.permits.closed

    def stop(self, why: RunStopped) -> None:
        """Make no new call. Those in flight finish; whoever waits for a permit or a retry is told why."""
        self.permits.close(why)

    async def _call(self, request: Request) -> Answer:
        if not self._is_open:
            raise UsageError("the client is not open: call it inside `async with manycall.Client(...) as llm:`")
        self._age += 1
        return await self.attempt(request, openai.encode(request), self._age, None)

    async def attempt(self, request: Request, body: bytes, age: int, keep: Keep | None) -> Answer:
        """Send until there is an answer, or the failure says that there will be none.

        Args:
            body: the request, encoded.
            age: place in the queue for permits; smaller goes first.
        """
        failures: dict[retry.Rule, int] = {}
        sent = 0
        while True:
            sent += 1
            try:
                return await self._send(request, body, age, keep)
            except errors.CallFailed as failure:
                failure.attempts = sent
                rule = retry.rule(failure)
                failures[rule] = failures.get(rule, 0) + 1
                if not self._settle(failure, failures[rule]):
                    raise
                seconds, may_hurry = retry.wait(failure, sent, self._rng), retry.may_hurry(failure)
            await self._wait(seconds, may_hurry)

    async def _wait(self, seconds: float, may_hurry: bool) -> None:
        """Wait, without a permit: so long, or until the run stops, or, if it may, until an outage is over."""
        until = clock.now() + seconds
        while await clock.sleep_unless(self.permits.alarm, until - clock.now()):
            if may_hurry or self.stopped is not None:
                return

    async def _send(self, request: Request, body: bytes, age: int, keep: Keep | None) -> Answer:
        """One attempt. Nothing of it is left while the next is waited for: its reply may be large."""
        cost = self._cost(request, len(body)) if self.pool.may_count_tokens else ONE_REQUEST
        prompt = self.pool.beginnings(body)
        endpoint = self.permits.at_once(cost, prompt) or await self.permits.acquire(age, cost, prompt)
        epoch = endpoint.window.epoch if endpoint.window is not None else None
        flight = self._fly(request.api, body, endpoint, keep)
        if self.sees_calls_through:
            landed = await self._to_its_end(flight, endpoint)
        else:
            try:
                landed = await flight
            finally:
                self.permits.release(endpoint)
        return self._read(request, body, cost, endpoint, epoch, landed)

    async def _fly(self, api: Api, body: bytes, endpoint: Endpoint, keep: Keep | None) -> Landed:
        """On the wire and back, until the reply is in the journal, and what it cost in the budget."""
        assert self._transport is not None
        self.counters.sent += 1
        try:
            landed = await self.pool.flights.send(self._transport, endpoint, api, body, self._timeout)
            if keep is not None:
                keep(landed.body, landed.seconds)
            if self.permits.budget is not None:
                self.permits.budget.spend(openai.usage(landed.body))
        except errors.Refused as refusal:
            self.pool.turned_away(endpoint, refusal)
            raise
        return landed

    def _read(
        self, request: Request, body: bytes, cost: Cost, endpoint: Endpoint, epoch: Epoch | None, landed: Landed
    ) -> Answer:
        """The answer; and what it teaches of the endpoint, the quota, the next estimate."""
        try:
            answer = openai.decode(request.api, landed.body)
        except errors.BadReply:
            self.counters.spent(openai.usage(landed.body))
            raise
        self.counters.answer(answer)
        self.permits.answered()
        used = answer.usage
        if epoch is not None and landed.by is endpoint:
            self.pool.answered(endpoint, epoch, landed.seconds, used.completion_tokens or len(landed.body) // 4)
        if cost is not ONE_REQUEST:
            self._estimate.learn(len(body), used.prompt_tokens, used.completion_tokens)
            output = self._most(request) if endpoint.charges_most else None
            endpoint.quota.settle(cost, Cost(1.0, used.prompt_tokens + (output or used.completion_tokens)))
            if endpoint.quota.counts_tokens:
                self.permits.look_again()  # what it did not use, the next may
        return answer

    async def _to_its_end(self, flight: Coroutine[Any, Any, Landed], endpoint: Endpoint) -> Landed:
        """Wait for a call that goes on if its row is cancelled: it is paid all the same."""
        task = asyncio.create_task(flight)
        self._flying.add(task)
        task.add_done_callback(partial(self._landed, endpoint))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._count_unread)
            raise

    def _landed(self, endpoint: Endpoint, task: asyncio.Task[Any]) -> None:
        """However it ended, even before it began, its permit comes back."""
        self._flying.discard(task)
        self.permits.release(endpoint)
        if not task.cancelled():
            task.exception()  # if nobody waits for it any more, nobody asks

    def _count_unread(self, task: asyncio.Task[Landed]) -> None:
        """Count the tokens of a reply that is in the journal, though the row no longer waits for it."""
        if not task.cancelled() and task.exception() is None:
            self.counters.spent(openai.usage(task.result().body))

    def abandon(self) -> None:
        """Drop the calls in flight. What has been answered is kept."""
        for task in self._flying:
            task.cancel()

    def _cost(self, request: Request, size: int) -> Cost:
        """What the call may take from the quotas: all the output that it lets the server make."""
        return Cost(1.0, self._estimate.tokens(size, self._most(request)))

    @staticmethod
    def _most(request: Request) -> int | None:
        """The longest answer that it allows; None if it does not say."""
        if request.api == "embeddings":
            return 0
        most = request.params.get("max_completion_tokens") or request.params.get("max_tokens")
        return most if isinstance(most, int) and most > 0 else None

    def _settle(self, failure: errors.CallFailed, count: int) -> bool:
        """Note the failure; return whether the call is to be sent again.

        It is not raised here: it would hold this frame, this frame it, and the reply would be held until a collection.
        """
        counters = self.counters
        counters.maybe_billed += failure.maybe_billed
        counters.unanswered += isinstance(failure, errors.BadReply)
        counters.throttled += isinstance(failure, errors.Refused) and (failure.status == 429 or failure.is_throttle)
        match retry.judge(failure, count, any_success=counters.any_success):
            case Verdict.RETRY:
                counters.retries += 1
                return True
            case Verdict.GIVE_UP:
                return False
            case Verdict.STOP:
                self.stop(RunStopped(str(failure)))
                raise self.stopped or failure from failure

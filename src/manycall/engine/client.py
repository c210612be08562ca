"""One Request to one Completion: admit, send, settle, retry.

Request -> replay? -> permit -> endpoint -> wire -> reply -> journal -> decode -> Completion
                        ^                             |                   |
                        '-------- wait, without a permit <----- failure --'
"""

import random
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from manycall import clock, errors
from manycall.control import retry
from manycall.control.estimate import Estimate
from manycall.control.quota import Cost
from manycall.engine.calls import Answer, Calls
from manycall.engine.pool import Pool
from manycall.engine.progress import Counters
from manycall.errors import RunStopped, UsageError, Verdict
from manycall.records import Request
from manycall.wire import openai
from manycall.wire.transport import HttpTransport, Transport

DEFAULT_TIMEOUT = 600.0

ONE_REQUEST = Cost()
Keep = Callable[[bytes, float], None]
"""Takes a reply's body and the seconds it took, before anything looks into it."""


class Client(Calls):
    """A client for OpenAI-compatible endpoints: `async with Client(model="m") as llm: await llm.chat("hi")`.

    Args:
        model: the model's name, as the endpoint knows it.
        url: the endpoint's URL, or several (one pool), or "sim"; default: OPENAI_BASE_URL, endpoints.toml,
            OpenAI itself.
        api_key: default: OPENAI_API_KEY.
        concurrency: how many calls may be in flight; default: as many as serve the endpoints best, which it finds.
        timeout: seconds for one attempt, from connecting to the last byte.
        params: sent with every text call: {"temperature": 0, "max_tokens": 512, ...}.
        transport: what carries the requests; for tests.
        rng: of the jitter in the waits between attempts.

    Attributes:
        counters: what has happened so far.
        pool: the endpoints, and what has been learned of them.
        permits: who may call.

    Raises:
        UsageError: no model, no endpoint, or a URL that is none.
    """

    def __init__(
        self,
        model: str,
        *,
        url: str | Sequence[str] | None = None,
        api_key: str | None = None,
        concurrency: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        params: Mapping[str, Any] | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(model, dict(params or {}))
        if not model:
            raise UsageError("no model: name one with -m")
        if concurrency is not None and concurrency < 1:
            raise UsageError(f"-j must be at least 1, not {concurrency}")
        if not 0 < timeout <= 86_400:
            raise UsageError(f"--timeout must be seconds, more than 0 and at most a day, not {timeout}")
        openai.encode(Request("chat", model, [], self.params))  # a parameter that cannot be is said before any call
        self.counters = Counters()
        self.pool = Pool(model, [url] if isinstance(url, str) else list(url or ()), api_key, concurrency, self.counters)
        self.permits = self.pool.permits
        self._estimate = Estimate()
        self._transport = transport
        self._timeout = timeout
        self._rng = rng or random.Random()
        self._age = 0

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
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
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
                seconds = retry.wait(failure, sent, self._rng)
            await clock.sleep_unless(self.permits.closing, seconds)

    async def _send(self, request: Request, body: bytes, age: int, keep: Keep | None) -> Answer:
        """One attempt. The permit is back before the reply is looked at."""
        assert self._transport is not None, "a Client works inside: async with Client(...) as llm"
        cost = self._cost(request, len(body)) if self.pool.may_count_tokens else ONE_REQUEST
        endpoint = await self.permits.acquire(age, cost, self.pool.beginnings(body))
        try:
            started = clock.now()
            epoch = endpoint.window.epoch if endpoint.window is not None else None
            self.counters.sent += 1
            reply, by = await self.pool.flights.send(self._transport, endpoint, request.api, body, self._timeout)
        except errors.Refused as refusal:
            self.pool.turned_away(endpoint, refusal)
            raise
        finally:
            self.permits.release(endpoint)
        seconds = clock.now() - started
        if keep is not None:
            keep(reply.body, seconds)
        answer = openai.decode(request.api, reply.body)
        self.counters.answer(answer)
        used = answer.usage
        if epoch is not None and by is endpoint:
            self.pool.answered(endpoint, epoch, seconds, used.completion_tokens or len(reply.body) // 4)
        if cost is not ONE_REQUEST:
            self._estimate.learn(len(body), used.prompt_tokens, used.completion_tokens)
            output = self._most(request) if endpoint.charges_most else None
            endpoint.quota.settle(cost, Cost(1.0, used.prompt_tokens + (output or used.completion_tokens)))
            if endpoint.quota.counts_tokens:
                self.permits.look_again()  # what it did not use, the next may
        return answer

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
        counters.throttled += isinstance(failure, errors.Refused) and failure.status == 429
        match retry.judge(failure, count, any_success=counters.any_success):
            case Verdict.RETRY:
                counters.retries += 1
                return True
            case Verdict.GIVE_UP:
                return False
            case Verdict.STOP:
                self.stop(RunStopped(str(failure)))
                raise self.stopped or failure from failure

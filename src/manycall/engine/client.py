"""One Request to one Completion: admit, send, settle, retry.

Request -> replay? -> permit -> endpoint -> wire -> reply -> journal -> decode -> Completion
                        ^                             |                   |
                        '-------- wait, without a permit <----- failure --'
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from manycall import clock, errors
from manycall.control import retry
from manycall.control.affinity import CHUNK_BYTES, Affinity, chunks
from manycall.control.estimate import Estimate
from manycall.control.quota import Cost
from manycall.control.window import START, Epoch, Window
from manycall.engine.bounds import most_in_flight
from manycall.engine.endpoint import TOLD, Endpoint
from manycall.engine.permits import Permits
from manycall.engine.progress import Counters
from manycall.engine.resend import Flights
from manycall.engine.resolve import resolve
from manycall.engine.tend import tend
from manycall.errors import RunStopped, UsageError, Verdict
from manycall.records import Completion, Embeddings, Messages, Request
from manycall.sim import launch
from manycall.store import windows
from manycall.wire import openai
from manycall.wire.transport import HttpTransport, Transport

DEFAULT_TIMEOUT = 600.0

ONE_REQUEST = Cost()
Answer = Completion | Embeddings
Keep = Callable[[bytes, float], None]
"""Takes a reply's body and the seconds it took, before anything looks into it."""


class Calls:
    """What can be asked of a model. `Client` and the `llm` of a row function are both this.

    Args:
        model: the model's name.
        params: sent with every text call.
    """

    def __init__(self, model: str, params: dict[str, Any]) -> None:
        self.model = model
        self.params = params

    async def chat(self, prompt: str | Messages, **params: Any) -> Completion:
        """Ask for a chat completion.

        Args:
            prompt: the user's message, or whole messages (dicts with role and content).
            params: what the body holds besides: temperature, max_tokens, stop, ...; they override those
                that the client was made with.

        Raises:
            CallFailed: there is no answer, after all the attempts that the failure deserved.
            RunStopped: no call can succeed: the key, the model, the quota, the address.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        answer = await self._call(Request("chat", self.model, messages, {**self.params, **params}))
        assert isinstance(answer, Completion)
        return answer

    async def complete(self, prompt: str, **params: Any) -> Completion:
        """Ask for a raw completion (base models). Otherwise as `chat`."""
        answer = await self._call(Request("completions", self.model, prompt, {**self.params, **params}))
        assert isinstance(answer, Completion)
        return answer

    async def embed(self, texts: str | list[str], **params: Any) -> Embeddings:
        """Ask for embeddings. The client's own parameters are for text and do not go along."""
        answer = await self._call(Request("embeddings", self.model, texts, params))
        assert isinstance(answer, Embeddings)
        wanted = 1 if isinstance(texts, str) else len(texts)
        if len(answer.vectors) != wanted:
            raise errors.BadReply(f"{len(answer.vectors)} vectors for {wanted} texts", body=answer.body)
        return answer

    async def _call(self, request: Request) -> Answer:
        raise NotImplementedError


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
        pinned: the concurrency, if it was given.
        busy: this process is what keeps the calls from being faster.

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
        urls = [url] if isinstance(url, str) else list(url or ())
        self.sims = [launch.Sim(each) for each in urls if launch.is_sim(each)]
        real = [each for each in urls if not launch.is_sim(each)]
        self.endpoints = [] if self.sims and not real else resolve(real, api_key)
        self.pinned = concurrency
        self.permits = Permits(concurrency or most_in_flight(), self.endpoints)
        self._estimate = Estimate()
        self.counters = Counters()
        self._flights = Flights(self.endpoints, self.permits, self.counters)
        self.busy = False
        self._tending: asyncio.Task[None] | None = None
        self._transport = transport
        self._timeout = timeout
        self._rng = rng or random.Random()
        self._age = 0

    def __repr__(self) -> str:
        return f"<Client {self.model} at {self.endpoints}, {self.permits!r}>"

    def _open_windows(self, endpoints: Sequence[Endpoint], known: Mapping[str, int]) -> None:
        for endpoint in endpoints:
            last = known.get(f"{endpoint.url} {self.model}", 0)
            endpoint.window = Window(max(START, last // 2), self.permits.limit, endpoint.note)
            endpoint.trust_quota(clock.now(), TOLD)

    async def __aenter__(self) -> Self:
        if self._transport is None:
            self._transport = HttpTransport()
        try:
            for sim in self.sims:
                self.endpoints.append(Endpoint(await asyncio.to_thread(sim.start)))
            if self.pinned is None:
                known = {} if self.sims else windows.recall()
                self._open_windows([each for each in self.endpoints if each.window is None], known)
            if len(self.endpoints) > 1 and all(each.is_ours for each in self.endpoints):
                self.permits.affinity = Affinity()
            if self.pinned is None or len(self.endpoints) > 1:
                self._tending = asyncio.create_task(
                    tend(self.endpoints, self.permits, self._flights, self._transport, self.model, self._note_busy)
                )
                self._tending.add_done_callback(self._untended)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def _untended(self, tending: asyncio.Task[None]) -> None:
        if not tending.cancelled() and (error := tending.exception()) is not None:
            self.stop(RunStopped(f"a bug in manycall: {error!r}"))

    def _note_busy(self, busy: bool) -> None:
        self.busy = busy

    async def _close(self) -> None:
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        if not self.sims:  # their addresses are never the same
            windows.remember(
                {f"{each.url} {self.model}": each.knee for each in self.endpoints if each.knee is not None}
            )
        if self._transport is not None:
            await self._transport.close()
        for sim in self.sims:
            await asyncio.to_thread(sim.stop)

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
                self._settle(failure, failures[rule])
                seconds = retry.wait(failure, sent, self._rng)
            await clock.sleep_unless(self.permits.closing, seconds)

    async def _send(self, request: Request, body: bytes, age: int, keep: Keep | None) -> Answer:
        """One attempt. The permit is back before the reply is looked at."""
        assert self._transport is not None, "a Client works inside: async with Client(...) as llm"
        cost = self._cost(request, len(body)) if self._may_count_tokens else ONE_REQUEST
        prompt = chunks(body) if self.permits.affinity is not None and len(body) > 2 * CHUNK_BYTES else ()
        endpoint = await self.permits.acquire(age, cost, prompt)
        try:
            started = clock.now()
            epoch = endpoint.window.epoch if endpoint.window is not None else None
            self.counters.sent += 1
            reply, by = await self._flights.send(self._transport, endpoint, request.api, body, self._timeout)
        except errors.Refused as refusal:
            self._turn_away(endpoint, refusal)
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
            self._widen(endpoint, epoch, seconds, used.completion_tokens or len(reply.body) // 4)
        if cost is not ONE_REQUEST:
            self._estimate.learn(len(body), used.prompt_tokens, used.completion_tokens)
            output = self._most(request) if endpoint.charges_most else None
            endpoint.quota.settle(cost, Cost(1.0, used.prompt_tokens + (output or used.completion_tokens)))
            self.permits.look_again()  # what it did not use, the next may
        return answer

    def _widen(self, endpoint: Endpoint, epoch: Epoch, seconds: float, tokens: int) -> None:
        """What the answer tells of how many calls the endpoint can take."""
        assert endpoint.window is not None
        size = endpoint.window.size
        endpoint.window.done(epoch, seconds, tokens, clock.now())
        if endpoint.window.size > size:
            self.permits.look_again()

    def _turn_away(self, endpoint: Endpoint, refusal: errors.Refused) -> None:
        """If the key or its money is at an end, and there is another, the call goes there."""
        if retry.rule(refusal).of_key:
            others = [each for each in self.endpoints if each is not endpoint and each.retired is None]
            refusal.elsewhere = bool(others)
            if others and endpoint.retired is None:
                endpoint.retire(str(refusal))
        elif retry.rule(refusal).only_at_first and self.counters.any_success:
            refusal.elsewhere = len(self.endpoints) > 1
            endpoint.health.failed(clock.now())

    @property
    def _may_count_tokens(self) -> bool:
        """Whether some endpoint counts tokens, or may say so before this call goes."""
        return any(each.key is not None or each.quota.counts_tokens for each in self.endpoints)

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

    def _settle(self, failure: errors.CallFailed, count: int) -> None:
        """Note the failure; raise unless it is to be sent again."""
        counters = self.counters
        counters.maybe_billed += failure.maybe_billed
        counters.throttled += isinstance(failure, errors.Refused) and failure.status == 429
        match retry.judge(failure, count, any_success=counters.any_success):
            case Verdict.RETRY:
                counters.retries += 1
            case Verdict.GIVE_UP:
                raise failure
            case Verdict.STOP:
                self.stop(RunStopped(str(failure)))
                raise self.stopped or failure from failure

"""A client: opens the endpoints, makes single calls, and is the base on which jobs run (client/job_client.py)."""

import random
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from manycall.client.body_adapter import dropped_names
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import encode_call
from manycall.client.job_client import JobClient
from manycall.client.open_pool import PoolSettings, find_endpoints, open_pool
from manycall.client.permits import Permits
from manycall.client.pool import EndpointPool
from manycall.client.requests import LLM, ModelReply
from manycall.control.concurrency_window import INITIAL_WINDOW
from manycall.errors import ManycallError, UsageError
from manycall.option_flags import option
from manycall.providers.redact import make_redactor
from manycall.records import Request, Secret
from manycall.transport.http import IDLE_TIMEOUT_SECONDS, HttpTransport
from manycall.transport.messages import Transport

DEFAULT_TIMEOUT = 600.0
MAX_TIMEOUT = 86_400.0
EXAMPLE = [{"role": "user", "content": "example"}]
"""Messages of the call with which the parameters are checked."""
NOT_OPEN = "The client is not open. Use it inside `async with manycall.Client(...) as llm:`."


class CallClient(LLM):
    """A client for one event loop, open inside `async with`. The public `Client` opens one in each loop.

    Args:
        model: the model's name, as the endpoint knows it.
        base_url: the endpoint's URL, or several (one pool), or "sim"; default: OPENAI_BASE_URL, endpoints.toml,
            OpenAI itself.
        api_key: the API key; default: the variable of the provider; "": none.
        plain_http: allow sending the key unencrypted to another machine; default: False.
        concurrency: maximum number of calls in flight; default: adapted to what the endpoints can serve.
        timeout: seconds for one attempt, from connecting to the last byte; default: 600.
        idle_timeout: seconds without a byte after which a streamed response fails; default: 300.
        params: sent with every text call: {"temperature": 0, "max_tokens": 512, ...}.
        drop: names of parameters that are not sent.
        thinking: "on", "off", "low", "medium", "high" or a maximum number of thinking tokens.
        transport: sends the HTTP requests; for tests.
        rng: source of the jitter in the backoff between attempts.
        initial_window: the concurrency window at the start.
        prefix_affinity: prefer self-hosted servers that have cached the prefix of a prompt.

    Attributes:
        counters: counters of the single calls.
        endpoint_names: the endpoints as the user gave them.
        priced_endpoints: what is known about their prices.

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
        idle_timeout: float = IDLE_TIMEOUT_SECONDS,
        params: Mapping[str, Any] | None = None,
        drop: str | Sequence[str] | None = None,
        thinking: str | int | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
        initial_window: int = INITIAL_WINDOW,
        prefix_affinity: bool = True,
    ) -> None:
        api_key = None if api_key is None else Secret(api_key)  # first, so that no traceback shows it
        super().__init__(model, dict(params or {}))
        if not model:
            raise UsageError(f"Missing model. Pass {option('model')}.")
        if concurrency is not None and concurrency < 1:
            raise UsageError(f"{option('concurrency')} must be at least 1, not {concurrency}")
        for name, seconds in (("timeout", timeout), ("idle_timeout", idle_timeout)):
            if not 0 < seconds <= MAX_TIMEOUT:
                raise UsageError(f"{option(name)} must be more than 0 and at most 86400 seconds, not {seconds}")
        example = encode_call(Request("chat", model, EXAMPLE, self.params))  # report an invalid parameter now
        urls = [base_url] if isinstance(base_url, str) else list(base_url or ())
        sims, endpoints = find_endpoints(urls, api_key, plain_http=plain_http)
        if any(make_redactor(each.key)(example.body) is not example.body for each in endpoints):
            raise UsageError("The model name or a parameter contains the API key, which would be saved. Remove it.")
        self._settings = PoolSettings(
            model, sims, endpoints, concurrency, initial_window, timeout, dropped_names(drop), thinking
        )
        self._settings.check(example)
        self._idle_timeout = idle_timeout
        self._prefix_affinity = prefix_affinity
        self.counters = CallCounters()
        self.endpoint_names = self._settings.names
        self.priced_endpoints = self._settings.priced
        self._transport = transport
        self._rng = rng or random.Random()
        self._pool: EndpointPool | None = None
        self._calls: JobClient | None = None
        self._is_open = False

    def __repr__(self) -> str:
        return f"<CallClient {self.model} at {', '.join(self.endpoint_names)}>"

    async def __aenter__(self) -> Self:
        if self._transport is None:
            self._transport = HttpTransport(idle_timeout=self._idle_timeout)
        try:
            self._pool = await open_pool(
                self._settings, self._transport, self._rng, prefix_affinity=self._prefix_affinity
            )
        except BaseException:
            await self._transport.close()
            raise
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if self._pool is not None:
            await self._pool.close()
        if self._transport is not None:
            await self._transport.close()

    @property
    def pool(self) -> EndpointPool:
        """The endpoints, once the client was opened."""
        if self._pool is None:
            raise UsageError(NOT_OPEN)
        return self._pool

    @property
    def permits(self) -> Permits:
        """The permits of all jobs."""
        return self.pool.permits

    def stop(self, why: ManycallError) -> None:
        """Make no new single calls. Calls in flight finish; calls that wait for a permit or a retry raise `why`."""
        self._single_calls().stop(why)

    @property
    def stopped(self) -> ManycallError | None:
        """Why no further single calls are made; None while they are permitted."""
        return self.permits.closed if self._calls is None else self._calls.stopped

    def _single_calls(self) -> JobClient:
        if not self._is_open:
            raise UsageError(NOT_OPEN)
        if self._calls is None:
            self._calls = JobClient(self.pool, self.model, self.params, counters=self.counters)
        return self._calls

    async def _call(self, request: Request) -> ModelReply:
        return await self._single_calls().send(request)

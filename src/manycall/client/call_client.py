"""A client: opens the endpoints at which jobs make their calls (client/job_client.py)."""

import random
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from manycall.client.body_adapter import dropped_names
from manycall.client.endpoint_config import resolve_endpoints
from manycall.client.endpoint_settings import group_by_pool, key_mark, model_of
from manycall.client.job_client import NamedPools
from manycall.client.open_pool import PoolSettings, open_pool, started
from manycall.client.permits import Permits
from manycall.client.pool import EndpointPool
from manycall.client.pool_names import ALL_POOLS, PoolChoice, PoolNames
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.parameter_lesson import ParameterChange
from manycall.records import Secret
from manycall.sim import process
from manycall.transport.http import HttpTransport
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS, Transport

MAX_TIMEOUT_SECONDS = 86_400.0


class CallClient:
    """The endpoints of a client, open inside `async with`. The public `Client` opens one in each event loop.

    Args:
        model: the model's name, as the endpoint knows it; "": as endpoints.toml says.
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
        endpoint: name of the endpoints that calls without a name use; default: those without a name, or with the first.
        pools: names of the other pools that calls may name; default: all.
        transport: sends the HTTP requests; for tests.
        rng: source of the jitter in the backoff between attempts.
        initial_window: the concurrency window at the start; None: 8, or 3 at hosted endpoints.
        prefix_affinity: prefer self-hosted servers that have cached the prefix of a prompt.

    Attributes:
        endpoint_names: the endpoints as the user gave them.
        priced_endpoints: what is known about their prices.

    Raises:
        UsageError: no model, no endpoint, an invalid URL, or a key that would be sent unencrypted.
    """

    def __init__(
        self,
        model: str = "",
        *,
        base_url: str | Sequence[str] | None = None,
        api_key: str | Secret | None = None,
        plain_http: bool = False,
        concurrency: int | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        idle_timeout: float = DEFAULT_IDLE_TIMEOUT_SECONDS,
        params: Mapping[str, Any] | None = None,
        drop: str | Sequence[str] | None = None,
        thinking: str | int | None = None,
        endpoint: str | None = None,
        pools: Collection[str] | None = None,
        transport: Transport | None = None,
        rng: random.Random | None = None,
        initial_window: int | None = None,
        prefix_affinity: bool = True,
    ) -> None:
        api_key = None if api_key is None else Secret(api_key)  # first, so that no traceback shows it
        self.params = dict(params or {})
        if concurrency is not None and concurrency < 1:
            raise UsageError(f"{option('concurrency')} must be at least 1, not {concurrency}")
        for name, seconds in (("timeout", timeout), ("idle_timeout", idle_timeout)):
            if not 0 < seconds <= MAX_TIMEOUT_SECONDS:
                raise UsageError(f"{option(name)} must be more than 0 and at most 86400 seconds, not {seconds}")
        urls = [base_url] if isinstance(base_url, str) else list(base_url or ())
        endpoints = resolve_endpoints(urls, api_key, plain_http=plain_http, choice=PoolChoice(endpoint or None, pools))
        default = endpoint or ALL_POOLS.default_of([each.name for each in endpoints])
        by_pool = group_by_pool(endpoints, default)
        self.model = model = model or model_of(by_pool[""], "")
        if not model:
            raise UsageError(f"Missing model. Pass {option('model')}.")
        self._settings = {
            name: PoolSettings(
                model_of(members, model) if name else model, members, concurrency, initial_window, timeout,
                dropped_names(drop), None if name else thinking, name, len(by_pool),
            )
            for name, members in by_pool.items()
        }  # fmt: skip
        for each in self._settings.values():
            each.check(self.params, is_used=pools is not None or not each.name)
        models = {name: each.model for name, each in self._settings.items() if name}
        self.pools = PoolNames(default, models)
        self._idle_timeout = idle_timeout
        self._prefix_affinity = prefix_affinity
        self.endpoint_names = [each.url for each in endpoints]
        self.priced_endpoints = [priced for each in self._settings.values() for priced in each.priced]
        self._transport = transport
        self._rng = rng or random.Random()
        self._pools: dict[str, EndpointPool] = {}

    def use_started_sims(self, urls: Sequence[str]) -> None:
        """Call simulated endpoints that another process has started, instead of starting them.

        Args:
            urls: their URLs, in the order of the endpoints.
        """
        left = iter(urls)
        for name, settings in self._settings.items():
            endpoints = tuple(
                started(each, next(left)) if process.is_sim(each.url) else each for each in settings.endpoints
            )
            self._settings[name] = settings._replace(endpoints=endpoints)

    @property
    def started_sims(self) -> list[str]:
        """The URLs of the simulated endpoints that this client has started, in the order of the endpoints."""
        return [
            opened.url
            for name, settings in self._settings.items()
            for given, opened in zip(settings.endpoints, self._pools[name].endpoints, strict=True)
            if process.is_sim(given.url)
        ]

    def key_marks(self, salt: bytes) -> dict[str, str]:
        """Return a keyed hash of the key of each endpoint, by which two processes compare their keys.

        Args:
            salt: the key of the hash, up to 64 bytes.
        """
        endpoints = [each for settings in self._settings.values() for each in settings.endpoints]
        return {f"{each.shown_name} ({number})": key_mark(each.key, salt) for number, each in enumerate(endpoints, 1)}

    def __repr__(self) -> str:
        return f"<CallClient {self.model} at {', '.join(self.endpoint_names)}>"

    async def __aenter__(self) -> Self:
        if self._transport is None:
            self._transport = HttpTransport(idle_timeout=self._idle_timeout)
        self._pools = {}
        try:
            for name, settings in self._settings.items():
                self._pools[name] = await open_pool(
                    settings, self._transport, self._rng, prefix_affinity=self._prefix_affinity
                )
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for pool in self._pools.values():
            await pool.close()
        if self._transport is not None:
            await self._transport.close()

    @property
    def all_pools(self) -> list[EndpointPool]:
        """The pools, once the client was opened. The default pool is the first."""
        assert self._pools, "the client is open"
        return [*self._pools.values()]

    @property
    def pool(self) -> EndpointPool:
        """The default pool, once the client was opened."""
        return self.all_pools[0]

    @property
    def named_pools(self) -> NamedPools:
        """The other pools, once the client was opened."""
        return NamedPools(self.pools, {name: pool for name, pool in self._pools.items() if name})

    @property
    def parameter_changes(self) -> list[ParameterChange]:
        """How the bodies that are sent differ from the canonical ones, as far as refusals have taught it."""
        return [change for pool in self.all_pools for change in pool.parameter_changes]

    @property
    def permits(self) -> Permits:
        """The permits of the default pool."""
        return self.pool.permits

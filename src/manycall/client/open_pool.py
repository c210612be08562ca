"""Open the endpoints of a client: start simulated ones, and give each of them its window."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from manycall import clock
from manycall.client import window_cache
from manycall.client.body_adapter import BodyAdapter
from manycall.client.encoded_call import encode_call
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_api import EndpointApi
from manycall.client.endpoint_limits import WindowRange
from manycall.client.endpoint_selector import AffinitySelector, EndpointSelector
from manycall.client.endpoint_settings import EndpointSettings
from manycall.client.permits import Permits
from manycall.client.pool import EndpointPool
from manycall.client.system_limits import max_permits
from manycall.client.threads import in_own_thread
from manycall.control.prefix_affinity import PrefixAffinity
from manycall.errors import UsageError
from manycall.providers.price_book import PricedEndpoint
from manycall.providers.redact import make_redactor
from manycall.records import Request
from manycall.sim import process
from manycall.transport.messages import Transport

SIM_URL = "http://127.0.0.1/v1"
EXAMPLE = [{"role": "user", "content": "example"}]
"""Messages of the call with which the parameters are checked."""


class PoolSettings(NamedTuple):
    """What a pool is opened with.

    Attributes:
        model: the model of the pool's calls, if they do not name another one.
        endpoints: the endpoints, simulated ones among them.
        concurrency: maximum calls in flight; None: adapted to what the endpoints can serve.
        initial_window: the concurrency window at the start; None: what suits the endpoint.
        timeout: seconds for one attempt.
        drop: names of parameters that are not sent.
        thinking: value of the option `thinking`; None: as the model does by default.
        name: name of the pool; "": the default pool.
        pools: number of pools that share this machine's connections and memory.
    """

    model: str
    endpoints: tuple[EndpointSettings, ...]
    concurrency: int | None
    initial_window: int | None
    timeout: float
    drop: tuple[str, ...] = ()
    thinking: str | int | None = None
    name: str = ""
    pools: int = 1

    def open_apis(self, endpoints: Sequence[EndpointSettings]) -> list[EndpointApi]:
        """Return the APIs of the endpoints. Endpoints of one server share what they learn about it.

        Raises:
            UsageError: an API cannot switch thinking as the user wants, or a parameter cannot be dropped.
        """
        adapters: dict[tuple[str, str, str], BodyAdapter] = {}
        for each in endpoints:
            if (server := (each.url, each.api, each.model)) not in adapters:
                adapters[server] = BodyAdapter(
                    each.provider, self.model, drop=self.drop, thinking=self.thinking, sent_model=each.model
                )
        return [EndpointApi(each, adapters[each.url, each.api, each.model]) for each in endpoints]

    def check(self, params: Mapping[str, Any], *, is_used: bool) -> None:
        """Check that every endpoint can be sent a call with these parameters.

        Args:
            is_used: calls will go to the pool. Otherwise only the keys are checked.

        Raises:
            UsageError: see `open_apis`; or an API cannot express a parameter, an option contradicts it, or it contains
                the key.
        """
        example = encode_call(Request("chat", self.model, EXAMPLE, dict(params)))
        if any(make_redactor(each.key)(example.body) is not example.body for each in self.endpoints):
            raise UsageError("The model name or a parameter contains the API key, which would be saved. Remove it.")
        if not is_used:
            return
        urls = [SIM_URL if process.is_sim(each.url) else each.url for each in self.endpoints]
        for api in self.open_apis([each._replace(url=url) for each, url in zip(self.endpoints, urls, strict=True)]):
            api.prepare(example, self.timeout)

    @property
    def priced(self) -> list[PricedEndpoint]:
        """What is known about the prices of the endpoints."""
        return [
            PricedEndpoint(
                each.shown_name, each.provider.name, each.price, each.provider.reports_cost,
                pool=self.name, model=self.model, sent_model=each.model,
            )
            for each in self.endpoints
        ]  # fmt: skip


def started(sim: EndpointSettings, url: str) -> EndpointSettings:
    """Return the settings of a simulated endpoint that was started at this URL."""
    return sim._replace(url=url, label=sim.shown_name)


async def open_pool(
    settings: PoolSettings, transport: Transport, rng: random.Random, *, prefix_affinity: bool = True
) -> EndpointPool:
    """Start the simulated endpoints and return the pool.

    Args:
        rng: source of the jitter in the backoff between attempts.
        prefix_affinity: prefer self-hosted servers that have cached the prefix of a prompt.
    """
    sims = [process.SimProcess(each.url) for each in settings.endpoints if process.is_sim(each.url)]
    try:
        urls = iter([await in_own_thread(sim.start) for sim in sims])
    except BaseException:
        for sim in sims:
            await in_own_thread(sim.stop)
        raise
    limit = settings.concurrency
    size = max(1, max_permits(limit) // (settings.pools if limit is None else 1))
    cached = {} if sims or limit else window_cache.load_windows()

    def window(url: str) -> WindowRange | None:
        return None if limit else WindowRange(settings.initial_window, size, cached.get(f"{url} {settings.model}"))

    opened = [started(each, next(urls)) if process.is_sim(each.url) else each for each in settings.endpoints]
    endpoints = [
        Endpoint(each, api, window(each.url)) for each, api in zip(opened, settings.open_apis(opened), strict=True)
    ]
    selector = EndpointSelector(endpoints)
    if prefix_affinity and len(endpoints) > 1 and all(each.looks_self_hosted for each in endpoints):
        selector = AffinitySelector(endpoints, PrefixAffinity())
    canary_seconds = max(each.canary_seconds for each in endpoints)
    permits = Permits(
        size, endpoints, selector=selector, canary_seconds=canary_seconds, now=clock.running_clock()
    )  # fmt: skip
    return EndpointPool(
        settings.model, endpoints, permits, selector, transport,
        timeout=settings.timeout, rng=rng, sims=sims, fixed_concurrency=limit,
    )  # fmt: skip

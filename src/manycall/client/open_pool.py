"""Open the endpoints of a client: start simulated ones, and give each of them its window."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from manycall import clock
from manycall.client import window_cache
from manycall.client.body_adapter import BodyAdapter
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint import Endpoint, WindowRange
from manycall.client.endpoint_api import EndpointApi
from manycall.client.endpoint_config import resolve_endpoints
from manycall.client.endpoint_selector import AffinitySelector, EndpointSelector
from manycall.client.endpoint_settings import EndpointSettings
from manycall.client.permits import Permits
from manycall.client.pool import EndpointPool
from manycall.client.system_limits import max_permits
from manycall.client.threads import in_own_thread
from manycall.control.prefix_affinity import PrefixAffinity
from manycall.providers.catalog import GENERIC, PROVIDERS
from manycall.providers.price_book import PricedEndpoint
from manycall.records import Secret
from manycall.sim import process
from manycall.transport.messages import Transport

SIM_URL = "http://127.0.0.1/v1"


class PoolSettings(NamedTuple):
    """What a pool is opened with.

    Attributes:
        model: the client's model.
        sims: specifications of simulated endpoints (`sim`, `sim:rpm=60`).
        endpoints: the other endpoints.
        concurrency: maximum calls in flight; None: adapted to what the endpoints can serve.
        initial_window: the concurrency window at the start.
        timeout: seconds for one attempt.
        drop: names of parameters that are not sent.
        thinking: value of the option `thinking`; None: as the model does by default.
    """

    model: str
    sims: tuple[str, ...]
    endpoints: tuple[EndpointSettings, ...]
    concurrency: int | None
    initial_window: int
    timeout: float
    drop: tuple[str, ...] = ()
    thinking: str | int | None = None

    def open_apis(self, endpoints: Sequence[EndpointSettings]) -> list[EndpointApi]:
        """Return the APIs of the endpoints. Endpoints of one server share what they learn about it.

        Raises:
            UsageError: an API cannot switch thinking as the user wants, or a parameter cannot be dropped.
        """
        adapters: dict[tuple[str, str], BodyAdapter] = {}
        for each in endpoints:
            if (server := (each.url, each.api)) not in adapters:
                adapters[server] = BodyAdapter(each.provider, self.model, drop=self.drop, thinking=self.thinking)
        return [EndpointApi(each, adapters[each.url, each.api]) for each in endpoints]

    def check(self, example: EncodedCall) -> None:
        """Check that every endpoint can be sent a call.

        Raises:
            UsageError: see `open_apis`; or an API cannot express a parameter of the call, or an option contradicts it.
        """
        for api in self.open_apis([*self.endpoints, *(sim_endpoint(each, SIM_URL) for each in self.sims)]):
            api.prepare(example, self.timeout)

    @property
    def priced(self) -> list[PricedEndpoint]:
        """What is known about the prices of the endpoints."""
        return [each.priced for each in (*self.endpoints, *(sim_endpoint(each, SIM_URL) for each in self.sims))]

    @property
    def names(self) -> list[str]:
        """The endpoints as the user gave them."""
        return [*self.sims, *(each.url for each in self.endpoints)]


def sim_endpoint(specification: str, url: str) -> EndpointSettings:
    """Return the settings of a simulated endpoint, which may play a provider: `sim:provider=deepseek`."""
    name = process.find_option(specification, "provider")
    provider = next((each for each in PROVIDERS if each.name == name), GENERIC)
    return EndpointSettings(
        url, provider=provider, api=provider.wire, key_header=provider.key_header, name=specification
    )


def find_endpoints(
    urls: Sequence[str], api_key: Secret | None, *, plain_http: bool
) -> tuple[tuple[str, ...], tuple[EndpointSettings, ...]]:
    """Return the simulated endpoints and the others, from the URLs or from the user's configuration.

    Raises:
        UsageError: no endpoint is configured, or a key would be sent unencrypted.
    """
    sims = tuple(each for each in urls if process.is_sim(each))
    for each in sims:
        process.SimProcess(each)  # reports an invalid specification
    real = [each for each in urls if not process.is_sim(each)]
    return sims, () if sims and not real else tuple(resolve_endpoints(real, api_key, plain_http=plain_http))


async def open_pool(
    settings: PoolSettings, transport: Transport, rng: random.Random, *, prefix_affinity: bool = True
) -> EndpointPool:
    """Start the simulated endpoints and return the pool.

    Args:
        rng: source of the jitter in the backoff between attempts.
        prefix_affinity: prefer self-hosted servers that have cached the prefix of a prompt.
    """
    sims = [process.SimProcess(each) for each in settings.sims]
    try:
        urls = [await in_own_thread(sim.start) for sim in sims]
    except BaseException:
        for sim in sims:
            await in_own_thread(sim.stop)
        raise
    limit = settings.concurrency
    size = max_permits(limit)
    cached = {} if sims or limit else window_cache.load_windows()

    def window(url: str) -> WindowRange | None:
        return None if limit else WindowRange(settings.initial_window, size, cached.get(f"{url} {settings.model}"))

    opened = [*settings.endpoints, *map(sim_endpoint, settings.sims, urls)]
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

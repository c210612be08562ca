"""Endpoints for tests, as `open_pool` makes them."""

from manycall.client.body_adapter import BodyAdapter
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_api import EndpointApi
from manycall.client.endpoint_limits import WindowRange
from manycall.client.endpoint_settings import EndpointSettings
from manycall.limits import RateLimits
from manycall.providers import address
from manycall.providers.catalog import find_provider
from manycall.providers.urls import normalize_base_url
from manycall.records import Secret


def endpoint_at(
    url: str, key: Secret | None = None, limits: RateLimits | None = None, *, window: WindowRange | None = None
) -> Endpoint:
    """Return the endpoint of a URL, which speaks the chat API of the provider with this host."""
    url = normalize_base_url(url)
    provider = find_provider(address.parse(url).host, address.parse(url).path)
    settings = EndpointSettings(url, key, limits or RateLimits(), provider=provider)
    return Endpoint(settings, EndpointApi(settings, BodyAdapter(provider, "")), window)

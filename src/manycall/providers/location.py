"""Where a base URL leads: its provider, its API, and the form to which the paths of calls are appended."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from manycall.providers import address
from manycall.providers.catalog import GENERIC, find_preset, find_provider
from manycall.providers.provider import BEARER, Provider
from manycall.providers.urls import normalize_base_url
from manycall.providers.wires import WIRES

_API_OF_PATH = {"/messages": "anthropic", "/responses": "responses"}
"""Ending of a pasted URL → the API that it belongs to."""
_DEPLOYMENTS = "/openai/deployments/"
"""Only Azure's classic API has this path, also behind a gateway with another host."""
_API_VERSION = re.compile(r"api-version=[\w.-]{1,40}", re.ASCII)


class Location(NamedTuple):
    """A base URL, and what it says about the endpoint.

    Attributes:
        url: the base URL, normalised.
        provider: the row of the catalog.
        api: name of the wire; "" for the chat API.
        query: the URL's query; only an api-version may be given in this way.
    """

    url: str
    provider: Provider
    api: str
    query: str = ""

    @property
    def key_header(self) -> str:
        """The header of the key: the provider's, or the usual one of an API that is not the provider's own."""
        own = self.provider.wire
        if self.provider is GENERIC and self.api:
            return WIRES[self.api].key_header
        if own and own != self.api and WIRES[own].encode is not None:  # Anthropic's own chat API, for example
            return BEARER
        return self.provider.key_header


def locate_url(url: str, setting: str = "", key_setting: str = "OPENAI_API_KEY") -> Location:
    """Return the location of a URL, which may be the pasted URL of a call.

    Args:
        setting: what the URL was read from, for messages. Default: the option `base_url`.
        key_setting: where a key belongs that was put into the URL, for messages.

    Raises:
        UsageError: the URL is not valid, or contains something that it must not contain.
    """
    base, _, query = url.partition("?")
    if not _API_VERSION.fullmatch(query):
        base, query = url, ""
    normalized = normalize_base_url(base, setting, key_setting)
    path = address.parse(base).path
    provider = find_preset("azure") if _DEPLOYMENTS in path else find_provider(address.parse(base).host, path)
    if not path.strip("/"):
        normalized = _with_usual_path(normalized, provider)
    for ending, api in _API_OF_PATH.items():
        if path.rstrip("/").endswith(ending):
            return Location(normalized.removesuffix(ending), provider, api, query)
    return Location(normalized, provider, provider.wire, query)


def _with_usual_path(url: str, provider: Provider) -> str:
    """Return the base URL of a provider of whose URL only the host was given."""
    origin = address.parse(url).origin
    if provider.base_urls:
        return next((each for each in provider.base_urls if each.startswith(f"{origin}/")), url)
    return origin if provider.wire == "azure" else url


def encode_query(values: Mapping[str, str]) -> str:
    """Return the query of a URL."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in values.items())

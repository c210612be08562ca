"""Configuration of the endpoints.

The endpoints come from `-u` (several form one pool), else OPENAI_BASE_URL, else endpoints.toml, else OpenAI if there is
a key. Keys come from the variable of the provider or from endpoints.toml, never from the command line. They are wrapped
in Secrets as soon as they are read, and the environment is not passed around, because tracebacks may print the values
of variables.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from manycall.client.endpoint_settings import (
    EndpointSettings,
    GetEnv,
    check_key,
    check_key_exposure,
    locate_sim,
    missing_key,
    read_key_variable,
)
from manycall.client.endpoints_file import read_endpoints_file
from manycall.client.pool_names import ALL_POOLS, PoolChoice
from manycall.errors import EndpointMissing, UsageError
from manycall.option_flags import option
from manycall.providers.catalog import GENERIC, find_preset
from manycall.providers.location import Location, locate_url
from manycall.records import Secret
from manycall.sim import process

OPENAI_KEY = "OPENAI_API_KEY"
FILE = "endpoints.toml"
_PRESET = re.compile(r"[A-Za-z0-9_-]+")
"""A value of `base_url` that is a name. It contains no dot, colon or slash."""


def _no_endpoint() -> str:
    return (
        f"No endpoint configured. Pass {option('base_url', 'http://host:8000/v1')}, set OPENAI_BASE_URL or "
        f"{OPENAI_KEY}, add an endpoints.toml, or try the simulated server with {option('base_url', 'sim')}."
    )


def resolve_endpoints(
    urls: Sequence[str],
    api_key: Secret | None = None,
    *,
    plain_http: bool = False,
    environment: GetEnv = os.getenv,
    folder: Path | None = None,
    choice: PoolChoice = ALL_POOLS,
) -> list[EndpointSettings]:
    """Return the endpoints to use.

    Args:
        urls: the URLs of `-u`, names of providers, PROVIDER=URL, or simulated endpoints.
        api_key: a key given in Python, for all of them; default: the variable of each provider.
        plain_http: keys may be sent unencrypted to other machines.
        choice: the pools that are used.

    Raises:
        UsageError: no endpoint is configured, none has a chosen name, a key is missing, or a key would be sent
            unencrypted.
    """
    api_key = None if api_key is None else Secret(api_key)
    base = "" if urls else environment("OPENAI_BASE_URL")
    path = (folder or Path()) / FILE
    if not urls and not base and path.exists():
        return read_endpoints_file(path, plain_http, environment, choice)
    choice.chosen([""])
    if base:
        locations = [locate_url(base, "OPENAI_BASE_URL")]
    elif urls:
        locations = [locate(each, environment) for each in urls]
    elif (api_key or read_key_variable([OPENAI_KEY], environment)[0]) is not None:
        locations = [locate("openai", environment)]
    else:
        raise EndpointMissing(_no_endpoint())
    # OPENAI_API_KEY is the key for OPENAI_BASE_URL, also if that is another provider, as in OpenAI's SDK.
    return [_with_key(each, api_key, plain_http, environment, [OPENAI_KEY] if base else []) for each in locations]


def locate(name_or_url: str, environment: GetEnv) -> Location:
    """Return the location of a provider's name, a URL, PROVIDER=URL or a simulated endpoint.

    Raises:
        UsageError: there is no such provider, its variable is not set, or the URL is not valid.
    """
    if process.is_sim(name_or_url):
        return locate_sim(name_or_url)
    name, equals, given_url = name_or_url.partition("=")
    if equals and _PRESET.fullmatch(name):
        provider = find_preset(name)
        return locate_url(given_url)._replace(provider=provider, api=provider.wire)
    if not _PRESET.fullmatch(name_or_url):
        return locate_url(name_or_url)
    provider = find_preset(name_or_url)
    if provider.base_urls:
        return Location(provider.base_urls[0], provider, provider.wire)
    if not (variable := provider.base_url_variable):
        raise UsageError(f"{provider.name} has no fixed URL. Pass the URL: {option('base_url', 'https://...')}.")
    if not (url := environment(variable)):
        raise UsageError(f"{option('base_url', provider.name)} needs a URL. Set {variable}.")
    location = locate_url(url, variable)
    return location if location.provider is not GENERIC else location._replace(provider=provider, api=provider.wire)


def _with_key(
    location: Location, api_key: Secret | None, plain_http: bool, environment: GetEnv, more: Sequence[str]
) -> EndpointSettings:
    """Return the endpoint with its key. A key is never sent to another provider than its own, unless api_key says so.

    Args:
        more: variables that may contain the key if the provider's own do not.
    """
    url, provider, api, query = location
    if process.is_sim(url):
        return EndpointSettings(url, provider=provider, api=api, key_header=location.key_header)
    if api_key is not None:
        key, where = check_key(api_key, "api_key"), "api_key"
    else:
        key, where = read_key_variable([*(provider.key_variables or [OPENAI_KEY]), *more], environment)
    if key is None and provider.key_variables:
        raise missing_key(url, provider)
    settings = EndpointSettings(url, key, provider=provider, api=api, key_header=location.key_header, query=query)
    return check_key_exposure(settings, plain_http, where)

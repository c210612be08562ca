"""Configuration of the endpoints.

The endpoints come from `-u` (several form one pool), else OPENAI_BASE_URL, else endpoints.toml, else OpenAI if there is
a key. Keys come from OPENAI_API_KEY or endpoints.toml, never from the command line. They are wrapped in Secrets as soon
as they are read, and the environment is not passed around, because tracebacks may print the values of variables.
"""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from manycall.errors import UsageError
from manycall.limits import RateLimits
from manycall.option_flags import option
from manycall.providers.redact import make_redactor
from manycall.providers.urls import is_loopback, normalize_base_url
from manycall.records import Secret

OPENAI_URL = "https://api.openai.com/v1"
FILE = "endpoints.toml"


class EndpointSettings(NamedTuple):
    """One server and one key, as the user configured them.

    Attributes:
        url: the base URL, normalised.
        hedge: a stalled call may also be sent to another endpoint, although both calls may be billed.
    """

    url: str
    key: Secret | None = None
    limits: RateLimits = RateLimits()
    hedge: bool = False


def _no_endpoint() -> str:
    return (
        f"No endpoint configured. Pass {option('base_url', 'http://host:8000/v1')}, set OPENAI_BASE_URL or "
        f"OPENAI_API_KEY, add an endpoints.toml, or try the simulated server with {option('base_url', 'sim')}."
    )


GetEnv = Callable[[str], str | None]
"""Return the value of an environment variable; None if it is not set."""


def resolve_endpoints(
    urls: Sequence[str],
    api_key: Secret | None = None,
    *,
    plain_http: bool = False,
    environment: GetEnv = os.getenv,
    folder: Path | None = None,
) -> list[EndpointSettings]:
    """Return the endpoints to use.

    Args:
        urls: the URLs of `-u`, without "sim", which the caller handles.
        api_key: a key given in Python; default: OPENAI_API_KEY.
        plain_http: keys may be sent unencrypted to other machines.

    Raises:
        UsageError: no endpoint is configured, or a key would be sent unencrypted.
    """
    where = "api_key" if api_key else "OPENAI_API_KEY"
    key = _check_key(api_key or Secret((environment("OPENAI_API_KEY") or "").strip()), where)
    if not urls and (url := environment("OPENAI_BASE_URL")):
        urls = [normalize_base_url(url, "OPENAI_BASE_URL")]
    path = (folder or Path()) / FILE
    if not urls and path.exists():
        return _from_file(path, plain_http, environment)
    if not urls and key is None:
        raise UsageError(_no_endpoint())
    endpoints = [EndpointSettings(normalize_base_url(url), key) for url in urls or [OPENAI_URL]]
    if key is None and any(endpoint.url == OPENAI_URL for endpoint in endpoints):
        raise UsageError(f"{OPENAI_URL} needs a key. Set OPENAI_API_KEY.")
    return [_check_key_exposure(endpoint, plain_http, where) for endpoint in endpoints]


KEY_REMEDIES = {"api_key": 'pass api_key=""', "OPENAI_API_KEY": "unset OPENAI_API_KEY"}
"""Source of a key → how to send no key. Other sources are files."""


def _check_key_exposure(endpoint: EndpointSettings, plain_http: bool, where: str) -> EndpointSettings:
    """Return the endpoint, unless its URL contains the key or the key would be sent unencrypted."""
    if make_redactor(endpoint.key)(url := endpoint.url.encode("utf-8", "replace")) is not url:
        raise UsageError(f"The URL contains the API key ({where}), which would be displayed. Remove it from the URL.")
    if endpoint.key is not None and not (plain_http or endpoint.url.startswith("https:") or is_loopback(endpoint.url)):
        without = KEY_REMEDIES.get(where, "remove the key from the file")
        allow = option("plain_http", True) if where in KEY_REMEDIES else "plain_http = true in the file"
        raise UsageError(
            f"The API key ({where}) would be sent to {endpoint.url} over unencrypted HTTP. "
            f"Use https, allow it with {allow}, or {without} if no key is needed."
        )
    return endpoint


def _from_file(path: Path, plain_http: bool, environment: GetEnv) -> list[EndpointSettings]:
    """Read the [[endpoint]] tables: `base_url`, and optionally `api_key`, `api_key_env` (the name of an environment
    variable) and limits."""
    entries = _entries(path)
    return [
        _check_key_exposure(endpoint, plain_http or entry.get("plain_http", False), where)
        for number, entry in enumerate(entries, 1)
        for where in [f"{path}, endpoint {number}"]
        for endpoint in _from_entry(where, entry, environment)
    ]


def _entries(path: Path) -> list[Any]:
    """Return the tables, with their keys wrapped in Secrets."""
    try:
        entries: Any = _wrap_keys(tomllib.loads(path.read_text(encoding="utf-8")).get("endpoint"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = str(error)
    else:
        if isinstance(entries, list) and entries:
            return entries
        raise UsageError(f'{path} lists no endpoint. Add [[endpoint]] and below it base_url = "http://host:8000/v1".')
    raise UsageError(f"{path}: {fault}")  # outside of the except block, because the other error contains the whole file


def _wrap_keys(value: Any, is_key: bool = False) -> Any:
    """Return the value with each string under a key name containing "key" wrapped in a Secret, except `api_key_env`."""
    match value:
        case dict():
            return {name: _wrap_keys(each, "key" in name and name != "api_key_env") for name, each in value.items()}
        case list():
            return [_wrap_keys(each, is_key) for each in value]
    return Secret(value) if is_key and isinstance(value, str) and value else value


BOOLEAN_KEYS = ("hedge", "plain_http")
ALLOWED_KEYS = ("base_url", "api_key", "api_key_env", *BOOLEAN_KEYS, *RateLimits.__struct_fields__)


def _from_entry(where: str, entry: Any, environment: GetEnv) -> list[EndpointSettings]:
    """Return one endpoint per key, because every key has its own limits."""
    if not isinstance(entry, dict):
        raise UsageError(f"{where} must be a table. Write [[endpoint]] and below it one key per line.")
    if unknown := entry.keys() - {*ALLOWED_KEYS}:
        raise UsageError(f"{where}: unknown key {min(unknown)!r}.{_suggestion(min(unknown), ALLOWED_KEYS)}")
    if not isinstance(entry.get("base_url"), str):
        raise UsageError(f'{where} has no base_url. Add base_url = "http://host:8000/v1".')
    url = normalize_base_url(entry["base_url"], f"{where}: base_url", "api_key or api_key_env")
    given = {name: entry[name] for name in RateLimits.__struct_fields__ if name in entry}
    for limit, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(f"{where}: {limit} must be a number above 0, not {value!r}")
    for flag in BOOLEAN_KEYS:
        if not isinstance(entry.get(flag, False), bool):
            raise UsageError(f"{where}: {flag} must be true or false, not {entry[flag]!r}")
    keys = _keys(where, entry, environment)
    return [EndpointSettings(url, key, RateLimits(**given), entry.get("hedge", False)) for key in keys or [None]]


def _suggestion(name: str, allowed: Iterable[str]) -> str:
    """Return sentences with the allowed name that is most similar, if any is, and with all of them."""
    similar = get_close_matches(name, allowed, n=1, cutoff=0.5)
    return "".join(f" Did you mean {each!r}?" for each in similar) + f" Available keys: {', '.join(allowed)}."


def _keys(where: str, entry: Mapping[str, Any], environment: GetEnv) -> list[Secret | None]:
    """Return the keys of `api_key` and `api_key_env`, each a string or a list of strings."""
    keys: list[Secret] = _listed(where, "api_key", entry, Secret)
    for name in _listed(where, "api_key_env", entry, str):
        keys.append(Secret((environment(name) or "").strip()))
        if not keys[-1].reveal():
            raise UsageError(f"{where}: the environment variable {name} (api_key_env) is not set")
    return [_check_key(key, where) for key in keys]


def _listed(where: str, name: str, entry: Mapping[str, Any], kind: type) -> list[Any]:
    value = entry.get(name, [])
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, kind) and text for text in texts):
        raise UsageError(f"{where}: {name} must be a string or a list of strings")
    return list(texts)


def _check_key(key: Secret, where: str) -> Secret | None:
    """Return the key; None if it is empty."""
    if not key.reveal().isascii() or not (key.reveal() + "x").isprintable():
        raise UsageError(f"{where}: the key contains a character that cannot be sent, such as a line break")
    return key if key.reveal() else None

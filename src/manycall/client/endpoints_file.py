"""Read endpoints.toml."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from manycall.client.endpoint_settings import (
    STREAM_MODES,
    EndpointSettings,
    GetEnv,
    check_key,
    check_key_exposure,
    locate_sim,
    missing_key,
    read_key_variable,
    with_labels,
)
from manycall.client.pool_names import ALL_POOLS, PoolChoice
from manycall.data.config_files import parse_toml
from manycall.errors import EndpointMissing, UsageError
from manycall.limits import RateLimits
from manycall.providers.catalog import find_preset
from manycall.providers.location import Location, encode_query, locate_url
from manycall.providers.prices import parse_price_table
from manycall.providers.wires import WIRES
from manycall.records import Secret
from manycall.sim import process

Entry = Mapping[str, Any]
APIS = ("chat", *WIRES)
MAX_NAME_LENGTH = 100
NAME_KEYS = ("name", "model")
BOOLEAN_KEYS = ("hedge", "plain_http")
TABLE_KEYS = ("headers", "query")
CHOICES = {"api": APIS, "stream": STREAM_MODES}
"""Key → its values."""
ALLOWED_KEYS = (
    "base_url", "name", "model", "provider", "api_key", "api_key_env", "auth", "price", *TABLE_KEYS, *CHOICES,
    *BOOLEAN_KEYS, *RateLimits.__struct_fields__,
)  # fmt: skip
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
OWN_HEADERS = frozenset(
    "authorization content-type content-length content-encoding host connection transfer-encoding accept-encoding "
    "expect upgrade te trailer proxy-authorization".split()
)
"""Headers that the transport sets itself."""


def read_endpoints_file(
    path: Path, plain_http: bool, environment: GetEnv, choice: PoolChoice = ALL_POOLS
) -> list[EndpointSettings]:
    """Return the endpoints of the [[endpoint]] tables: one for each key, because every key has its own limits.

    Args:
        choice: the pools that are used. The keys of other endpoints need not be set.

    Raises:
        UsageError: the file cannot be read, an entry is not valid, or no endpoint has a chosen name.
    """
    entries = [(f"{path}, endpoint {number}", entry) for number, entry in enumerate(_entries(path), 1)]
    for where, entry in entries:
        _check_entry(where, entry)
    chosen = choice.chosen([entry.get("name", "") for _, entry in entries])
    return with_labels(
        [
            check_key_exposure(endpoint, plain_http or entry.get("plain_http", False), where)
            for where, entry in entries
            if entry.get("name", "") in chosen
            for endpoint in _endpoints_of(where, entry, environment)
        ]
    )


def _entries(path: Path) -> list[Any]:
    """Return the tables, with their secrets wrapped."""
    try:
        entries: Any = _wrap_secrets(parse_toml(path.read_text(encoding="utf-8")).get("endpoint"))
    except (OSError, ValueError) as error:
        fault = str(error)
    else:
        if isinstance(entries, list) and entries:
            return entries
        raise UsageError(f'{path} lists no endpoint. Add [[endpoint]] and below it base_url = "http://host:8000/v1".')
    # Outside of the except block, because another error may contain the whole file.
    raise UsageError(f"{path}: {fault}")


def _wrap_secrets(value: Any, is_secret: bool = False) -> Any:
    """Return the value with each header and each string under a name containing "key" wrapped in a Secret.

    `api_key_env` is the name of a variable and therefore no secret.
    """
    match value:
        case dict():
            return {
                name: _wrap_secrets(each, is_secret or name == "headers" or ("key" in name and name != "api_key_env"))
                for name, each in value.items()
            }
        case list():
            return [_wrap_secrets(each, is_secret) for each in value]
    return Secret(value) if is_secret and isinstance(value, str) and value else value


def _endpoints_of(where: str, entry: Any, environment: GetEnv) -> list[EndpointSettings]:
    location = _location(where, entry)
    limits = RateLimits(**{name: entry[name] for name in RateLimits.__struct_fields__ if name in entry})
    keys = _keys(where, entry, environment)
    if not keys and location.provider.key_variables and not process.is_sim(location.url):
        keys = [read_key_variable(location.provider.key_variables, environment)[0]]
        if keys == [None]:
            raise missing_key(location.url, location.provider, where)
    headers = tuple((name, _checked_header(where, name, value)) for name, value in entry.get("headers", {}).items())
    settings = EndpointSettings(
        location.url,
        limits=limits,
        hedge=entry.get("hedge", False),
        provider=location.provider,
        api=location.api,
        key_header=_key_header(where, entry) or location.key_header,
        headers=headers,
        query=location.query,
        stream=entry.get("stream", "auto"),
        name=entry.get("name", ""),
        model=entry.get("model", ""),
        price=None if "price" not in entry else parse_price_table(entry["price"], where),
    )
    return [settings._replace(key=key) for key in keys or [None]]


def _check_entry(where: str, entry: Any) -> None:
    """Check the names and the types of an entry."""
    if not isinstance(entry, dict):
        raise UsageError(f"{where} must be a table. Write [[endpoint]] and below it one key per line.")
    if unknown := entry.keys() - {*ALLOWED_KEYS}:
        raise UsageError(f"{where}: unknown key {min(unknown)!r}.{_suggestion(min(unknown), ALLOWED_KEYS)}")
    _check_tables(where, entry)
    _check_names(where, entry)
    for limit in RateLimits.__struct_fields__:
        value = entry.get(limit, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(f"{where}: {limit} must be a number above 0, not {value!r}")
    for flag in BOOLEAN_KEYS:
        if not isinstance(entry.get(flag, False), bool):
            raise UsageError(f"{where}: {flag} must be true or false, not {entry[flag]!r}")
    for name, allowed in CHOICES.items():
        if entry.get(name, allowed[0]) not in allowed:
            raise UsageError(f"{where}: {name} must be one of {', '.join(allowed)}, not {entry[name]!r:.100}")


def _check_names(where: str, entry: Entry) -> None:
    for key in NAME_KEYS:
        name = entry.get(key, "")
        if not isinstance(name, str) or not name.isprintable() or len(name) > MAX_NAME_LENGTH:
            raise UsageError(
                f"{where}: {key} must be a text of at most {MAX_NAME_LENGTH} characters, not {name!r:.100}"
            )


def _check_tables(where: str, entry: Entry) -> None:
    for name in TABLE_KEYS:
        table = entry.get(name, {})
        if not isinstance(table, dict) or not all(isinstance(each, str | Secret) and each for each in table.values()):
            raise UsageError(f'{where}: {name} must be a table of strings, such as {name} = {{ "name" = "value" }}')
    if any(isinstance(each, Secret) for each in entry.get("query", {}).values()):
        raise UsageError(f"{where}: query must not contain a key. Set api_key or api_key_env, and auth.")


def _location(where: str, entry: Entry) -> Location:
    """Return where the entry leads. A provider or an API that it names counts more than what its URL suggests."""
    url, name = entry.get("base_url"), entry.get("provider")
    if not isinstance(name, str | None):
        raise UsageError(f"{where}: provider must be a string, such as 'deepseek'")
    provider = None if name is None else _checked_provider(where, name)
    if url is None and provider is not None and provider.base_urls:
        url = provider.base_urls[0]
    if not isinstance(url, str):
        raise UsageError(f'{where} has no base_url. Add base_url = "http://host:8000/v1".')
    if process.is_sim(url):
        return locate_sim(url)
    location = locate_url(url, f"{where}: base_url", "api_key or api_key_env")
    if provider is not None and provider is not location.provider:
        location = location._replace(provider=provider, api=provider.wire)
    if (api := entry.get("api")) is not None:
        location = location._replace(api="" if api == "chat" else api)
    if query := entry.get("query"):
        location = location._replace(query=encode_query(query))
    return location


def _checked_provider(where: str, name: str) -> Any:
    try:
        return find_preset(name)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _key_header(where: str, entry: Entry) -> str:
    name = entry.get("auth", "")
    if not isinstance(name, str) or (name and not _HEADER_NAME.fullmatch(name)):
        raise UsageError(f"{where}: auth must be the name of the header with the key, such as 'x-api-key'")
    return "Authorization" if name.lower() in ("bearer", "authorization") else name


def _checked_header(where: str, name: str, value: Secret) -> Secret:
    if not _HEADER_NAME.fullmatch(name):
        raise UsageError(f"{where}: {name!r:.100} is not the name of a header")
    if name.lower() in OWN_HEADERS:
        raise UsageError(f"{where}: the header {name} cannot be set. A key belongs in api_key, and its header in auth.")
    if not value.reveal().isascii() or not value.reveal().isprintable():
        raise UsageError(f"{where}: the header {name} contains a character that cannot be sent, such as a line break")
    return value


def _suggestion(name: str, allowed: Iterable[str]) -> str:
    """Return sentences with the allowed name that is most similar, if any is, and with all of them."""
    similar = get_close_matches(name, allowed, n=1, cutoff=0.5)
    return "".join(f" Did you mean {each!r}?" for each in similar) + f" Available keys: {', '.join(allowed)}."


def _keys(where: str, entry: Entry, environment: GetEnv) -> list[Secret | None]:
    """Return the keys of `api_key` and `api_key_env`, each a string or a list of strings."""
    keys: list[Secret] = _listed(where, "api_key", entry, Secret)
    for name in _listed(where, "api_key_env", entry, str):
        keys.append(Secret((environment(name) or "").strip()))
        if not keys[-1].reveal():
            raise EndpointMissing(f"{where}: the environment variable {name} (api_key_env) is not set")
    return [check_key(key, where) for key in keys]


def _listed(where: str, name: str, entry: Entry, kind: type) -> list[Any]:
    value = entry.get(name, [])
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, kind) and text for text in texts):
        raise UsageError(f"{where}: {name} must be a string or a list of strings")
    return list(texts)

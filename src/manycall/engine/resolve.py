"""Where the endpoints come from.

From `-u` (several are one pool), else OPENAI_BASE_URL, else endpoints.toml, else OpenAI itself if there is a key.
Keys come from OPENAI_API_KEY or endpoints.toml, never from the command line. They are made Secrets as soon as they are
read, and the environment is asked and not handed about: a traceback may be printed with what variables hold.
"""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall.control.quota import Limits
from manycall.engine.endpoint import Endpoint
from manycall.errors import UsageError
from manycall.records import Secret
from manycall.wire.loopback import is_loopback

OPENAI_URL = "https://api.openai.com/v1"
FILE = "endpoints.toml"

NO_ENDPOINT = (
    "no endpoint: give one with -u http://host:8000/v1 (or OPENAI_BASE_URL), set OPENAI_API_KEY for OpenAI, "
    "list some in endpoints.toml, or practise on the built-in one with -u sim"
)

Environment = Callable[[str], str | None]
"""The value of a variable; None if it is not set."""


def resolve(
    urls: Sequence[str],
    api_key: Secret | None = None,
    *,
    plain_http: bool = False,
    environment: Environment = os.getenv,
    folder: Path | None = None,
) -> list[Endpoint]:
    """The endpoints to use.

    Args:
        urls: what `-u` gave; not "sim", which the caller has replaced by a real address.
        api_key: a key given in Python; otherwise OPENAI_API_KEY.
        plain_http: keys may go unencrypted to other machines.

    Raises:
        UsageError: there is none, or a key would go where it can be read; the sentence names the ways out.
    """
    where = "api_key" if api_key else "OPENAI_API_KEY"
    key = _sendable(api_key or Secret((environment("OPENAI_API_KEY") or "").strip()), where)
    if not urls and (url := environment("OPENAI_BASE_URL")):
        urls = [url]
    path = (folder or Path()) / FILE
    if not urls and path.exists():
        return _from_file(path, plain_http, environment)
    if not urls and key is None:
        raise UsageError(NO_ENDPOINT)
    endpoints = [Endpoint(url, key) for url in urls or [OPENAI_URL]]
    if key is None and any(endpoint.url == OPENAI_URL for endpoint in endpoints):
        raise UsageError(f"{OPENAI_URL} needs a key: set OPENAI_API_KEY")
    return [_private(endpoint, plain_http, where) for endpoint in endpoints]


WITHOUT = {
    "api_key": ('api_key="" sends none', "plain_http=True"),
    "OPENAI_API_KEY": ("OPENAI_API_KEY= before the command sends none", "--plain-http (plain_http=True)"),
}
"""Where a key came from -> how to send none, and how to send it all the same."""
WITHOUT_IN_FILE = ("take the key out of the file", "plain_http = true there")


def _private(endpoint: Endpoint, plain_http: bool, where: str) -> Endpoint:
    """The endpoint, unless its key stands in its URL, or could be read by everybody on the way."""
    if endpoint.scrub(url := endpoint.url.encode("utf-8", "replace")) is not url:
        raise UsageError(f"the URL holds the key ({where}), and would show it: give the URL without it")
    if endpoint.key is not None and not (plain_http or endpoint.url.startswith("https:") or is_loopback(endpoint.url)):
        without, allow = WITHOUT.get(where, WITHOUT_IN_FILE)
        raise UsageError(
            f"{endpoint.url} would get the key ({where}) over plain http, where everybody on the way can read it. "
            f"If it needs no key: {without}. If it does: use https, or allow this with {allow}"
        )
    return endpoint


def _from_file(path: Path, plain_http: bool, environment: Environment) -> list[Endpoint]:
    """[[endpoint]] tables, each with `url` and perhaps `key_env` (the name of a variable) or `key`, and limits."""
    entries = _entries(path)
    return [
        _private(endpoint, plain_http or entry.get("plain_http", False), where)
        for number, entry in enumerate(entries, 1)
        for where in [f"{path}, endpoint {number}"]
        for endpoint in _from_entry(where, entry, environment)
    ]


def _entries(path: Path) -> list[Any]:
    """The tables, with their keys hidden."""
    try:
        entries: Any = _hidden(tomllib.loads(path.read_text(encoding="utf-8")).get("endpoint"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = str(error)
    else:
        if isinstance(entries, list) and entries:
            return entries
        raise UsageError(f'{path} lists no endpoint: write [[endpoint]] and under it url = "http://host:8000/v1"')
    raise UsageError(f"{path}: {fault}")  # not within the except: the other error holds the whole file


def _hidden(value: Any, is_key: bool = False) -> Any:
    """The same, with each text under `key` (or `api_key`, which will be refused) a Secret."""
    match value:
        case dict():
            return {name: _hidden(each, "key" in name and name != "key_env") for name, each in value.items()}
        case list():
            return [_hidden(each, is_key) for each in value]
    return Secret(value) if is_key and isinstance(value, str) and value else value


FLAGS = ("resend", "plain_http")
OPTIONS = ("url", "key", "key_env", *FLAGS, *Limits.__struct_fields__)


def _from_entry(where: str, entry: Any, environment: Environment) -> list[Endpoint]:
    """One endpoint for each of its keys: every key has its own limits."""
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise UsageError(f"{where} has no url")
    if unknown := entry.keys() - {*OPTIONS}:
        raise UsageError(f"{where} has {min(unknown)!r}; it may have {', '.join(OPTIONS)}")
    given = {name: entry[name] for name in Limits.__struct_fields__ if name in entry}
    for limit, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(f"{where}: {limit} must be a number above 0, not {value!r}")
    for flag in FLAGS:
        if not isinstance(entry.get(flag, False), bool):
            raise UsageError(f"{where}: {flag} must be true or false, not {entry[flag]!r}")
    keys = _keys(where, entry, environment)
    return [Endpoint(entry["url"], key, Limits(**given), resend=entry.get("resend", False)) for key in keys or [None]]


def _keys(where: str, entry: Mapping[str, Any], environment: Environment) -> list[Secret | None]:
    """`key` or `key_env`, each one text or a list of them."""
    keys: list[Secret] = _listed(where, "key", entry, Secret)
    for name in _listed(where, "key_env", entry, str):
        keys.append(Secret((environment(name) or "").strip()))
        if not keys[-1].reveal():
            raise UsageError(f"{where} takes its key from {name}, which is not set")
    return [_sendable(key, where) for key in keys]


def _listed(where: str, name: str, entry: Mapping[str, Any], kind: type) -> list[Any]:
    value = entry.get(name, [])
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, kind) and text for text in texts):
        raise UsageError(f"{where}: {name} must be a text, or a list of texts")
    return list(texts)


def _sendable(key: Secret, where: str) -> Secret | None:
    """The key; None if it is an empty text."""
    if not key.reveal().isascii() or not (key.reveal() + "x").isprintable():
        raise UsageError(f"{where}: the key holds a character that cannot be sent (a line break, perhaps)")
    return key if key.reveal() else None

"""Where the endpoints come from.

From `-u` (several are one pool), else OPENAI_BASE_URL, else endpoints.toml, else OpenAI itself if there is a key.
Keys come from OPENAI_API_KEY or endpoints.toml, never from the command line.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall.control.quota import Limits
from manycall.engine.endpoint import Endpoint
from manycall.errors import UsageError
from manycall.records import Secret

OPENAI_URL = "https://api.openai.com/v1"
FILE = "endpoints.toml"

NO_ENDPOINT = (
    "no endpoint: give one with -u http://host:8000/v1 (or OPENAI_BASE_URL), set OPENAI_API_KEY for OpenAI, "
    "list some in endpoints.toml, or practise on the built-in one with -u sim"
)


def resolve(
    urls: Sequence[str], api_key: str | None = None, environ: Mapping[str, str] = os.environ, folder: Path | None = None
) -> list[Endpoint]:
    """The endpoints to use.

    Args:
        urls: what `-u` gave; not "sim", which the caller has replaced by a real address.
        api_key: a key given in Python; otherwise OPENAI_API_KEY.

    Raises:
        UsageError: there is none; the sentence names the ways out.
    """
    given = api_key or environ.get("OPENAI_API_KEY", "").strip()
    key = _secret(given, "OPENAI_API_KEY") if given else None
    if not urls and environ.get("OPENAI_BASE_URL"):
        urls = [environ["OPENAI_BASE_URL"]]
    if urls:
        endpoints = [Endpoint(url, key) for url in urls]
        if key is None and any(endpoint.url == OPENAI_URL for endpoint in endpoints):
            raise UsageError(f"{OPENAI_URL} needs a key: set OPENAI_API_KEY")
        return endpoints
    path = (folder or Path()) / FILE
    if path.exists():
        return _from_file(path, environ)
    if key is None:
        raise UsageError(NO_ENDPOINT)
    return [Endpoint(OPENAI_URL, key)]


def _from_file(path: Path, environ: Mapping[str, str]) -> list[Endpoint]:
    """[[endpoint]] tables, each with `url` and perhaps `key_env` (the name of a variable) or `key`, and limits."""
    try:
        entries: Any = tomllib.loads(path.read_text(encoding="utf-8")).get("endpoint")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise UsageError(f'{path} lists no endpoint: write [[endpoint]] and under it url = "http://host:8000/v1"')
    return [each for number, entry in enumerate(entries, 1) for each in _from_entry(path, number, entry, environ)]


OPTIONS = ("url", "key", "key_env", "resend", *Limits.__struct_fields__)


def _from_entry(path: Path, number: int, entry: Any, environ: Mapping[str, str]) -> list[Endpoint]:
    """One endpoint for each of its keys: every key has its own limits."""
    where = f"{path}, endpoint {number}"
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise UsageError(f"{where} has no url")
    if unknown := entry.keys() - {*OPTIONS}:
        raise UsageError(f"{where} has {min(unknown)!r}; it may have {', '.join(OPTIONS)}")
    given = {name: entry[name] for name in Limits.__struct_fields__ if name in entry}
    for limit, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UsageError(f"{where}: {limit} must be a number above 0, not {value!r}")
    if not isinstance(resend := entry.get("resend", False), bool):
        raise UsageError(f"{where}: resend must be true or false, not {resend!r}")
    keys: list[Secret | None] = [_secret(key, where) for key in _keys(where, entry, environ)]
    return [Endpoint(entry["url"], key, Limits(**given), resend=resend) for key in keys or [None]]


def _keys(where: str, entry: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """`key` or `key_env`, each one text or a list of them."""
    keys = _texts(where, "key", entry)
    for name in _texts(where, "key_env", entry):
        if not (key := environ.get(name)):
            raise UsageError(f"{where} takes its key from {name}, which is not set")
        keys.append(key)
    return keys


def _texts(where: str, name: str, entry: Mapping[str, Any]) -> list[str]:
    value = entry.get(name, [])
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) and text for text in texts):
        raise UsageError(f"{where}: {name} must be a text, or a list of texts")
    return list(texts)


def _secret(value: str, where: str) -> Secret:
    if not value.isascii() or not value.isprintable():
        raise UsageError(f"{where}: the key holds a character that cannot be sent (a line break, perhaps)")
    return Secret(value)

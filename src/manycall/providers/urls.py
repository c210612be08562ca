"""Normalize base URLs, and recognize loopback addresses, which need neither encryption nor a proxy."""

import re
from functools import lru_cache
from ipaddress import ip_address

from manycall import errors
from manycall.option_flags import option, quoted_option
from manycall.providers import address
from manycall.providers.error_body import KEY_LIKE
from manycall.providers.openai import API_PATHS


@lru_cache(maxsize=1024)
def is_loopback(url: str) -> bool:
    """Return whether the URL's host is in 127.0.0.0/8, or is ::1 or localhost.

    Names under localhost are not trusted, because many systems ask a DNS server for them, which may return any address.
    """
    try:
        host = address.parse(url).host
    except ValueError:
        return False
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def normalize_base_url(url: str, setting: str = "", key_setting: str = "OPENAI_API_KEY") -> str:
    """Return the URL to which API_PATHS are appended.

    `http://host:8000`, `http://host:8000/v1` and `http://host:8000/v1/chat/completions` give the same result.

    Args:
        setting: what the URL was read from, for messages. Default: the option `base_url`.
        key_setting: where a key belongs that was put into the URL, for messages.

    Raises:
        UsageError: the URL is not an http(s) URL, may be parsed in different ways, or contains credentials.
    """
    if "@" in url:
        raise errors.UsageError(
            f"{setting or option('base_url')} must not contain a user name or password. Set {key_setting} instead."
        )
    if re.search("[?#]", url):
        raise errors.UsageError(
            f"{setting or option('base_url')} must not contain a query or fragment (? or #). "
            f"If it contains an API key, set {key_setting} instead."
        )
    try:
        parts = address.parse(url)
    except ValueError as error:
        redacted = KEY_LIKE.sub("***", url)
        shown = f"{setting} {redacted!r:.200}" if setting else quoted_option("base_url", redacted)
        raise errors.UsageError(
            f"{shown} is not a valid URL: {error}. Expected something like http://localhost:8000/v1."
        ) from None
    path = parts.path.rstrip("/")
    while suffix := next((each for each in API_PATHS.values() if path.endswith(each)), ""):
        path = path.removesuffix(suffix).rstrip("/")
    return parts.origin + (path or "/v1")

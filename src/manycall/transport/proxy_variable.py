"""Proxies in the environment: whether there may be one, and which variable names it."""

import os
import sys
from urllib.parse import urlsplit

HTTP_NAMES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def may_have_proxy() -> bool:
    """Return whether a request over plain HTTP may need a proxy. macOS and Windows also have proxies of the system."""
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in HTTP_NAMES)


def proxy_variable(url: str) -> str:
    """Return the variable that names the proxy for a URL; "" if none does. The HTTP library reads the same ones."""
    from urllib.request import proxy_bypass  # imported here, because it takes 30 ms

    parts = urlsplit(url)
    names = (f"{parts.scheme}_proxy", "all_proxy")
    found = next((each for name in names for each in (name, name.upper()) if os.environ.get(each)), "")
    return "" if proxy_bypass(parts.netloc) else found

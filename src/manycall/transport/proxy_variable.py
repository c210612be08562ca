"""Which environment variable names the proxy of a URL, for messages about connections that fail."""

import os
from urllib.parse import urlsplit


def proxy_variable(url: str) -> str:
    """Return the variable that names the proxy for a URL; "" if none does. The HTTP library reads the same ones."""
    from urllib.request import proxy_bypass  # imported here, because it takes 30 ms

    parts = urlsplit(url)
    names = (f"{parts.scheme}_proxy", "all_proxy")
    found = next((each for name in names for each in (name, name.upper()) if os.environ.get(each)), "")
    return "" if proxy_bypass(parts.netloc) else found

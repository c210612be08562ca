"""Which addresses never leave this machine: a key needs no encryption on the way there, and no proxy leads there."""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit


@lru_cache(maxsize=1024)
def is_loopback(url: str) -> bool:
    """Whether this URL's host is 127.0.0.0/8, ::1, localhost or a name under it (RFC 6761)."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")

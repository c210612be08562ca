"""Which addresses never leave this machine: a key needs no encryption on the way there, and no proxy leads there."""

from functools import lru_cache
from ipaddress import ip_address

from manycall.wire import address


@lru_cache(maxsize=1024)
def is_loopback(url: str) -> bool:
    """Whether this URL's host is in 127.0.0.0/8, ::1 or localhost.

    Names under localhost are not trusted: many systems ask a DNS server for them, which may return any address.
    """
    try:
        host = address.parse(url).host
    except ValueError:
        return False
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"

"""Parse an endpoint's URL, and accept only URLs that every parser reads in the same way.

Parsers disagree about unusual URLs. In `http://192.0.2.2\\.localhost/v1`, Python's parser finds a name under localhost,
but the HTTP library, like browsers, finds the host 192.0.2.2. `http://2130706433/` and `http://127.1/` are 127.0.0.1 to
one and names to the other. A check of such a URL would not be a check of the host that receives the key. Therefore this
module accepts only the plain form and rejects all other forms with the reason.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

MAX_NAME_LENGTH, MAX_LABEL_LENGTH = 253, 63
"""Most characters of a host name, and of a label between two dots (RFC 1035)."""

_URL = re.compile(r"(?i:(?P<scheme>https?))://(?P<host>\[[^\]/]*\]|[^/?#:]*)(?::(?P<port>[^/?#]*))?(?P<path>/[^?#]*)?")
_PORT = re.compile(r"0*[1-9][0-9]{0,4}")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LABEL = re.compile(r"[a-z0-9_-]+")


class Address(NamedTuple):
    """The parts of a URL. The scheme and the host are in lower case; an IPv6 host includes its brackets."""

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def origin(self) -> str:
        """`http://host:port`, without the port if the URL has none."""
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port is not None else "")


def parse(url: str) -> Address:
    """Return the parts of an http(s) URL that has no user, query or fragment.

    Raises:
        ValueError: the URL has another form, or parsers could read it in different ways. The message is the reason.
    """
    if not url.isprintable() or re.search(r"[\s\\]", url):
        raise ValueError("it contains white space, a control character or a backslash")
    parts = _URL.fullmatch(url)
    if parts is None or not parts["host"]:
        raise ValueError("it must have the form http://host:port/path")
    if "@" in url:
        raise ValueError("it must not contain a user name or password")
    port = parts["port"]
    if port is not None and not (_PORT.fullmatch(port) and int(port) <= 65_535):
        raise ValueError("its port must be a number from 1 to 65535")
    host = parts["host"].lower()
    _check_host(host)
    return Address(parts["scheme"].lower(), host, None if port is None else int(port), parts["path"] or "")


def _check_host(host: str) -> None:
    if host.startswith("["):
        _check_ip(IPv6Address, host[1:-1], "an IPv6 address without a zone")
        return
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):  # the URL standard treats such a host as an IPv4 address
        _check_ip(IPv4Address, host, "an IPv4 address must be four decimal numbers, as in 127.0.0.1")
    elif not host.isascii():
        raise ValueError("its host must be ASCII; use the xn-- form of the name")
    elif len(host) > MAX_NAME_LENGTH or not all(_LABEL.fullmatch(x) and len(x) <= MAX_LABEL_LENGTH for x in labels):
        raise ValueError("its host is not a valid host name")


def _check_ip(kind: type[IPv4Address | IPv6Address], text: str, expected: str) -> None:
    try:
        address = kind(text)
    except AddressValueError:
        address = None
    if address is None or "%" in text:
        raise ValueError(f"its host is not a valid address: {expected}")

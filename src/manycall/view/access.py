"""Who may ask: the rules that every request must satisfy, and the headers of every reply.

The server listens on loopback only. That does not stop web pages that the user's browser displays, nor other users of
the machine. The Host header must name this machine, which stops DNS rebinding. Sec-Fetch-Site and Origin show requests
of other sites. The token, which only the printed URL contains, keeps out everybody else.
"""

import hmac
from collections.abc import Mapping
from typing import NamedTuple

API = "/api/"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
METHODS = frozenset({"GET", "HEAD"})
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
OPEN_HINT = "Open the URL that `manycall view` has printed. It ends with #t= and the token."


class RequestRefusal(NamedTuple):
    """Why a request is not answered: status, sentence, and what to do."""

    status: int
    error: str
    hint: str = ""


def request_refusal(method: str, path: str, headers: Mapping[str, str], token: str) -> RequestRefusal | None:
    """Return why a request is refused; None if it may be answered.

    Args:
        headers: the request's headers, with names in lower case. A header that occurs twice is joined with ", ".
        token: the token that requests below /api/ must carry.
    """
    if method not in METHODS:
        return RequestRefusal(405, "Only GET and HEAD are allowed: this page changes nothing.")
    host = headers.get("host", "")
    if _host_name(host) not in LOOPBACK_HOSTS:
        return RequestRefusal(
            403, "The Host header does not name this machine.", "Use http://127.0.0.1 and the printed port."
        )
    if not _is_same_site(path, headers) or headers.get("origin", f"http://{host}") != f"http://{host}":
        return RequestRefusal(403, "Requests of other sites are refused.", OPEN_HINT)
    if path.startswith(API) and not _has_token(headers.get("authorization", ""), token):
        return RequestRefusal(401, "The token is missing or wrong.", OPEN_HINT)
    return None


def _host_name(host: str) -> str:
    """Return a Host header without its port, which differs if the user has a tunnel."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _is_same_site(path: str, headers: Mapping[str, str]) -> bool:
    """Return whether the browser says that the request comes from this page or from the user.

    The start page, which contains no data, may be the target of a link: `manycall view` opens it from a local file, so
    that no command line contains the token.
    """
    site = headers.get("sec-fetch-site", "none")
    is_opened = path == "/" and headers.get("sec-fetch-mode") == "navigate"
    return site in ("same-origin", "none") or (is_opened and headers.get("sec-fetch-dest") == "document")


def _has_token(authorization: str, token: str) -> bool:
    return hmac.compare_digest(authorization.encode(errors="replace"), f"Bearer {token}".encode())

"""One endpoint as the user configured it, and the checks of its key."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, get_args

from manycall.errors import UsageError
from manycall.limits import RateLimits
from manycall.option_flags import option
from manycall.providers.catalog import GENERIC
from manycall.providers.price_book import PricedEndpoint
from manycall.providers.prices import Price
from manycall.providers.provider import BEARER, Provider
from manycall.providers.redact import make_redactor
from manycall.providers.urls import is_loopback
from manycall.records import Secret

StreamMode = Literal["auto", "never", "always"]
"""Whether responses are streamed. "auto": only if the model responds in no other way."""
STREAM_MODES: tuple[StreamMode, ...] = get_args(StreamMode)
GetEnv = Callable[[str], str | None]
"""Return the value of an environment variable; None if it is not set."""


class EndpointSettings(NamedTuple):
    """One server and one key, as the user configured them.

    Attributes:
        url: the base URL, normalised.
        hedge: a stalled call may also be sent to another endpoint, although both calls may be billed.
        provider: what the provider's API expects.
        api: name of the wire; "" for the chat API.
        key_header: header that contains the key.
        headers: further headers of every call. Their values may be secret.
        query: query of the URL of every call; "": the API's own.
        stream: whether responses are streamed.
        name: a name for reports and the journal; "": the URL.
        price: what its tokens cost; None if the user did not configure it.
    """

    url: str
    key: Secret | None = None
    limits: RateLimits = RateLimits()
    hedge: bool = False
    provider: Provider = GENERIC
    api: str = ""
    key_header: str = BEARER
    headers: tuple[tuple[str, Secret], ...] = ()
    query: str = ""
    stream: StreamMode = "auto"
    name: str = ""
    price: Price | None = None

    @property
    def priced(self) -> PricedEndpoint:
        """What is known about its prices."""
        return PricedEndpoint(self.name or self.url, self.provider.name, self.price, self.provider.reports_cost)


def read_key_variable(names: Iterable[str], environment: GetEnv) -> tuple[Secret | None, str]:
    """Return the key in the first of these environment variables that is set, and the variable's name."""
    for name in names:
        if (key := check_key(Secret((environment(name) or "").strip()), name)) is not None:
            return key, name
    return None, ""


def check_key(key: Secret, where: str) -> Secret | None:
    """Return the key; None if it is empty.

    Raises:
        UsageError: the key cannot be sent.
    """
    if not key.reveal().isascii() or not (key.reveal() + "x").isprintable():
        raise UsageError(f"{where}: the key contains a character that cannot be sent, such as a line break")
    return key if key.reveal() else None


def missing_key(url: str, provider: Provider) -> UsageError:
    """Return the error of a provider without a key."""
    return UsageError(f"{url} needs a key. Set {' or '.join(provider.key_variables)}.")


def check_key_exposure(endpoint: EndpointSettings, plain_http: bool, where: str) -> EndpointSettings:
    """Return the endpoint, unless its URL contains the key or a secret would be sent unencrypted.

    Args:
        where: what the key was read from.
    """
    if make_redactor(endpoint.key)(url := endpoint.url.encode("utf-8", "replace")) is not url:
        raise UsageError(f"The URL contains the API key ({where}), which would be displayed. Remove it from the URL.")
    if plain_http or endpoint.url.startswith("https:") or is_loopback(endpoint.url):
        return endpoint
    if endpoint.key is not None or endpoint.headers:
        secret = f"The API key ({where})" if endpoint.key is not None else f"The headers ({where})"
        without, allow = _key_remedies(where)
        raise UsageError(
            f"{secret} would be sent to {endpoint.url} over unencrypted HTTP. "
            f"Use https, allow it with {allow}, or {without} if no key is needed."
        )
    return endpoint


def _key_remedies(where: str) -> tuple[str, str]:
    """Return how to send no key, and how to allow sending it unencrypted, for the source of a key."""
    if where == "api_key":
        return f"pass {option('api_key', '')}", option("plain_http", True)
    if where.isupper():
        return f"unset {where}", option("plain_http", True)
    return "remove the key from the file", "plain_http = true in the file"

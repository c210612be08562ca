"""One endpoint as the user configured it, and the checks of its key."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple, get_args

from manycall.errors import EndpointMissing, UsageError
from manycall.limits import RateLimits
from manycall.option_flags import option
from manycall.providers.catalog import GENERIC, PROVIDERS
from manycall.providers.location import Location
from manycall.providers.prices import Price
from manycall.providers.provider import BEARER, Provider
from manycall.providers.redact import make_redactor
from manycall.providers.urls import is_loopback
from manycall.records import Secret
from manycall.sim import process

StreamMode = Literal["auto", "never", "always"]
"""Whether responses are streamed. "auto": only if the model responds in no other way."""
STREAM_MODES: tuple[StreamMode, ...] = get_args(StreamMode)
GetEnv = Callable[[str], str | None]
"""Return the value of an environment variable; None if it is not set."""


class EndpointSettings(NamedTuple):
    """One server and one key, as the user configured them.

    Attributes:
        url: the base URL, normalised; of a simulated endpoint that has not started: its specification (`sim:rpm=60`).
        hedge: a stalled call may also be sent to another endpoint, although both calls may be billed.
        provider: what the provider's API expects.
        api: name of the wire; "" for the chat API.
        key_header: header that contains the key.
        headers: further headers of every call. Their values may be secret.
        query: query of the URL of every call; "": the API's own.
        stream: whether responses are streamed.
        name: name of its pool; "" if the user gave none.
        price: what its tokens cost; None if the user did not configure it.
        model: the name of the pool's model at this endpoint; "": the same name.
        label: what reports and the journal call it; "": its name, or its URL.
        key_source: what its key was read from: a variable, a file, or `api_key`.
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
    model: str = ""
    label: str = ""
    key_source: str = ""

    @property
    def shown_name(self) -> str:
        """What reports and the journal call it."""
        return self.label or self.name or self.url


def group_by_pool(endpoints: Sequence[EndpointSettings], default: str) -> dict[str, tuple[EndpointSettings, ...]]:
    """Return the endpoints by the name of their pool, "" for the default pool, which comes first.

    Args:
        default: name of the default pool.
    """
    pools: dict[str, tuple[EndpointSettings, ...]] = {"": ()}
    for each in endpoints:
        name = "" if each.name == default else each.name
        pools[name] = (*pools.get(name, ()), each)
    return pools


def model_of(endpoints: Sequence[EndpointSettings], model: str) -> str:
    """Return the model of a named pool: the first that its endpoints name, or the run's.

    Args:
        model: the run's model.
    """
    return next((each.model for each in endpoints if each.model), model)


def locate_sim(specification: str) -> Location:
    """Return the location of a simulated endpoint, which may play a provider: `sim:provider=deepseek`.

    Raises:
        UsageError: the specification is not valid.
    """
    process.SimProcess(specification)
    name = process.find_option(specification, "provider")
    provider = next((each for each in PROVIDERS if each.name == name), GENERIC)
    return Location(specification, provider, provider.wire)


def with_labels(endpoints: Sequence[EndpointSettings]) -> list[EndpointSettings]:
    """Return the endpoints, each with a label. It is unique for each URL, price and model of a pool.

    The keys of one server are one endpoint in reports and in the journal.
    """
    urls_of: dict[str, set[str]] = {}
    for each in endpoints:
        urls_of.setdefault(each.name, set()).add(each.url)
    kinds_of: dict[str, list[tuple[Price | None, str]]] = {}
    labelled = []
    for each in endpoints:
        label = f"{each.name} {each.url}" if each.name and len(urls_of[each.name]) > 1 else each.shown_name
        kinds, kind = kinds_of.setdefault(label, []), (each.price, each.model)
        if kind not in kinds:
            kinds.append(kind)
        number = kinds.index(kind) + 1
        labelled.append(each._replace(label=label if number == 1 else f"{label} ({number})"))
    return labelled


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


def key_mark(key: Secret | None, salt: bytes) -> str:
    """Return a keyed hash of a key, by which two processes compare their keys; "" without a key."""
    return "" if key is None else blake2b(key.reveal().encode(), key=salt, digest_size=8).hexdigest()


def missing_key(url: str, provider: Provider, where: str = "") -> EndpointMissing:
    """Return the error of a provider without a key, which `where` configures."""
    prefix = f"{where}: " if where else ""
    return EndpointMissing(f"{prefix}{url} needs a key. Set {' or '.join(provider.key_variables)}.")


def check_key_exposure(endpoint: EndpointSettings, plain_http: bool, where: str) -> EndpointSettings:
    """Return the endpoint with the source of its key, unless its URL contains it or a secret would be sent unencrypted.

    Args:
        where: what the key was read from.
    """
    if make_redactor(endpoint.key)(url := endpoint.url.encode("utf-8", "replace")) is not url:
        raise UsageError(f"The URL contains the API key ({where}), which would be displayed. Remove it from the URL.")
    endpoint = endpoint._replace(key_source=where)
    if plain_http or endpoint.url.startswith("https:") or process.is_sim(endpoint.url) or is_loopback(endpoint.url):
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

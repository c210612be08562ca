"""The prices that are known for a run, by endpoint and model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from manycall.errors import UsageError
from manycall.providers import openai
from manycall.providers.price_file import PriceFile
from manycall.providers.prices import DEFAULT_CURRENCY, Price
from manycall.records import Usage

FindPrice = Callable[[str, str], Price | None]
"""Return the price at an endpoint (by name) of a model; None if it is not known."""


class PricedEndpoint(NamedTuple):
    """What is known about the prices of an endpoint.

    Attributes:
        name: its name, or its URL if it has none.
        provider: name of its provider in the catalog.
        price: the price that endpoints.toml gives for it; None if it gives none.
        reports_cost: its responses contain what the call cost.
        pool: name of its pool; "": the default pool.
        model: the model of its pool; "": the run's model.
        sent_model: the name of that model at this endpoint; "": the same.
    """

    name: str
    provider: str = ""
    price: Price | None = None
    reports_cost: bool = False
    pool: str = ""
    model: str = ""
    sent_model: str = ""

    def find_in(self, file: PriceFile | None, model: str) -> Price | None:
        """Return the price of a model at this endpoint in a file of prices; None if it has none.

        Args:
            model: the model's name in the requests.
        """
        name = self.sent_model if self.sent_model and model == self.model else model
        return None if file is None else file.find(name, self.provider)


class Bill(NamedTuple):
    """What a response is billed.

    Attributes:
        usage: its tokens.
        cost: its cost in the currency of the prices; 0 if it is not known.
    """

    usage: Usage
    cost: float


class RecordedPrice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A price that a session used, as the manifest stores it.

    Attributes:
        price: None if it is not known.
        reports_cost: responses of the endpoint contain what the call cost.
    """

    endpoint: str
    model: str
    price: Price | None = None
    reports_cost: bool = False


class PriceBook:
    """Finds the price of a call, and remembers which prices were used.

    Args:
        model: the run's model.
        endpoints: the endpoints.
        look_up: finds a price.

    Attributes:
        currency: the currency of all costs.
        is_complete: whether the cost of a call of the run's model is known at every endpoint.
        has_pools: whether calls go to several pools.

    Raises:
        UsageError: the costs are in different currencies.
    """

    def __init__(self, model: str, endpoints: Iterable[PricedEndpoint], look_up: FindPrice) -> None:
        self._model, self._look_up = model, look_up
        self._found: dict[tuple[str, str], Price | None] = {}
        endpoints = tuple(endpoints)
        self._first_endpoint = endpoints[0].name if endpoints else ""
        self._pools: dict[str, list[str]] = {}
        for each in endpoints:
            self._pools.setdefault(each.pool, []).append(each.name)
        self.has_pools = len(self._pools) > 1
        prices = [self.find(each.name, each.model or model) for each in endpoints]
        self.currency = _common_currency(endpoints, prices)
        known = [price is not None or each.reports_cost for each, price in zip(endpoints, prices, strict=True)]
        self._unpriced = {each.name for each, is_known in zip(endpoints, known, strict=True) if not is_known}
        self._reporting = {each.name for each in endpoints if each.reports_cost}
        self.is_complete = bool(known) and all(known)

    def __repr__(self) -> str:
        return f"<PriceBook for {self._model}, {len(self._found)} prices used>"

    def bill(self, body: bytes, endpoint: str = "", model: str = "", at: float = 0.0) -> Bill:
        """Return what a response is billed. A cost that the provider reports counts more than the prices.

        Args:
            endpoint: name of the endpoint that answered; "": the first one.
            model: model of the request; "": the run's model.
            at: when the response arrived (Unix time in seconds).
        """
        usage, tier, cost = openai.billed_usage(body)
        if cost is not None and self.currency == DEFAULT_CURRENCY:
            return Bill(usage, cost)
        price = self.find(endpoint, model)
        return Bill(usage, 0.0 if price is None else price.cost(usage, at, tier))

    def endpoint_of(self, endpoint: str) -> str:
        """Return the name of an endpoint as the journal has it; if that is "", of the first one."""
        return endpoint or self._first_endpoint

    def knows_cost(self, endpoint: str) -> bool:
        """Return whether the cost of a call at an endpoint is known."""
        return self.is_complete or (bool(self._pools) and endpoint not in self._unpriced)

    def find(self, endpoint: str = "", model: str = "") -> Price | None:
        """Return the price of a model at an endpoint; None if it is not known. The defaults are those of `bill`."""
        key = endpoint or self._first_endpoint, model or self._model
        if key not in self._found:
            self._found[key] = self._look_up(*key)
        return self._found[key]

    def find_in_pool(self, pool: str, model: str) -> list[Price | None]:
        """Return the price of a model at each endpoint of a pool."""
        return [self.find(name, model) for name in self._pools.get(pool, [self._first_endpoint])]

    def used(self) -> list[RecordedPrice]:
        """Return the prices that were used so far, for the manifest; [] if none is known."""
        used = [RecordedPrice(*key, price, key[0] in self._reporting) for key, price in self._found.items()]
        return used if any(each.price for each in used) else []


def _common_currency(endpoints: Sequence[PricedEndpoint], prices: Sequence[Price | None]) -> str:
    """Return the currency of all costs. Zero is the same in every currency.

    Raises:
        UsageError: there are several.
    """
    pairs = zip(endpoints, prices, strict=True)
    reporting = [each.name for each, price in pairs if price is None and each.reports_cost]
    currencies = {price.currency for price in prices if price is not None and not price.is_free}
    if reporting:
        currencies.add(DEFAULT_CURRENCY)
    if len(currencies) <= 1:
        return currencies.pop() if currencies else DEFAULT_CURRENCY
    reported = f" These have no price, and report their costs in {DEFAULT_CURRENCY}: {', '.join(reporting)}."
    raise UsageError(
        f"The prices are in different currencies ({', '.join(sorted(currencies))}), so they cannot be added up. "
        f"Convert the prices in endpoints.toml to one of them.{reported if reporting else ''}"
    )


def make_price_book(
    model: str, endpoints: Sequence[PricedEndpoint], given: Price | None = None, file: PriceFile | None = None
) -> PriceBook:
    """Return the prices of a run.

    The run's model has the price that the user gave, else that of the endpoint, else that of the file. Another model
    has that of the file, else the same as the run's model. The price that the user gave is for the default pool. An
    endpoint of another pool has its own price, else that of the file.

    Args:
        given: the price of the option; None if it was not given.
        file: prices of many models; None if there is none.

    Raises:
        UsageError: the prices are in different currencies, or an entry of the file is not valid.
    """
    by_name = {each.name: each for each in endpoints}

    def look_up(endpoint: str, asked: str) -> Price | None:
        known = by_name.get(endpoint, endpoints[0])
        own_model = known.model or model
        in_file = known.find_in(file, asked)
        if asked != own_model and in_file is not None:
            return in_file
        price = (given if not known.pool else None) or known.price
        return price or in_file or known.find_in(file, own_model)

    return PriceBook(model, endpoints, look_up)


def recorded_price_book(model: str, sessions: Sequence[Mapping[str, Any]]) -> PriceBook | None:
    """Return the prices of the last session that had any; None if none had."""
    for session in reversed(sessions):
        if recorded := msgspec.convert(session.get("prices") or [], list[RecordedPrice]):
            return _recorded_book(model, recorded)
    return None


def _recorded_book(model: str, recorded: Sequence[RecordedPrice]) -> PriceBook:
    """Return recorded prices. Another endpoint, such as one of an earlier session, has the first of them."""
    prices = {(each.endpoint, each.model): each.price for each in recorded}
    own_models = {each.endpoint: each.model for each in reversed(recorded)}

    def look_up(endpoint: str, asked: str) -> Price | None:
        if endpoint in own_models:
            return prices.get((endpoint, asked), prices[endpoint, own_models[endpoint]])
        return recorded[0].price if asked == model else None

    endpoints = [PricedEndpoint(each.endpoint, reports_cost=each.reports_cost, model=each.model) for each in recorded]
    return PriceBook(model, endpoints, look_up)

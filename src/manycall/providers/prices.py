"""The price of tokens, and what a response costs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Usage

DEFAULT_CURRENCY = "USD"
TIER_FACTORS = {"flex": 0.5, "batch": 0.5}
"""Service tier → what it costs compared with the standard tier, unless the price says otherwise."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXAMPLE = "0.15/0.60, or 0.15/0.015/0.60 with cached input"
_DAY, _WEEK = 1440, 7
_THURSDAY = 3
"""Weekday of 1 January 1970."""
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]|24):([0-5]\d)")


class Rates(msgspec.Struct, frozen=True, omit_defaults=True):
    """Prices per million tokens.

    Attributes:
        prompt: of prompt tokens that the server did not read from its cache.
        completion: of completion tokens, including thinking tokens.
        cached: of prompt tokens that the server read from its cache; None: as `prompt`.
    """

    prompt: float
    completion: float
    cached: float | None = None

    def cost(self, usage: Usage) -> float:
        """Return the cost of a number of tokens."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        of_prompt = self.prompt * (usage.prompt_tokens - cached)
        of_cache = (self.prompt if self.cached is None else self.cached) * cached
        return (of_prompt + of_cache + self.completion * usage.completion_tokens) / 1e6


FREE = (Rates(0, 0), Rates(0, 0, 0))


class Period(msgspec.Struct, frozen=True, omit_defaults=True):
    """Hours of the week in which calls cost more or less.

    Attributes:
        start, end: minutes after midnight UTC. A period whose end is not after its start lasts beyond midnight.
        factor: what a call costs in the period, compared with other times.
        weekdays: the days on which it starts, 0 being Monday.
    """

    start: int
    end: int
    factor: float
    weekdays: tuple[int, ...] = tuple(range(_WEEK))

    def contains(self, at: float) -> bool:
        """Return whether a time (Unix time in seconds) is in the period."""
        day, minute = divmod(at / 60, _DAY)
        weekday = int(day + _THURSDAY) % _WEEK
        if self.start < self.end:
            return self.start <= minute < self.end and weekday in self.weekdays
        begins_today = minute >= self.start and weekday in self.weekdays
        return begins_today or (minute < self.end and (weekday - 1) % _WEEK in self.weekdays)


class Price(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the tokens of a model cost at an endpoint.

    Attributes:
        rates: prices per million tokens.
        currency: ISO code of the currency.
        periods: hours in which calls cost more or less.
        long_prompts: (prompt tokens, rates): rates of a whole call whose prompt is longer, the longest first.
        tiers: service tier → rates, where they are not the usual share of the standard rates.
    """

    rates: Rates
    currency: str = DEFAULT_CURRENCY
    periods: tuple[Period, ...] = ()
    long_prompts: tuple[tuple[int, Rates], ...] = ()
    tiers: dict[str, Rates] = {}

    @property
    def is_free(self) -> bool:
        """Whether every call costs nothing."""
        return self.rates in FREE and not self.long_prompts and not self.tiers

    def cost(self, usage: Usage, at: float = 0.0, tier: str = "") -> float:
        """Return the cost of a response in the price's currency.

        Args:
            at: when the response arrived (Unix time in seconds).
            tier: the service tier that the response names; "" if it names none.
        """
        for limit, rates in self.long_prompts:
            if usage.prompt_tokens > limit:
                return rates.cost(usage) * TIER_FACTORS.get(tier, 1.0)
        if (own := self.tiers.get(tier)) is not None:
            return own.cost(usage)
        factor = TIER_FACTORS.get(tier, 1.0)
        for period in self.periods:
            if period.contains(at):
                factor *= period.factor
                break
        return self.rates.cost(usage) * factor


GivenPrice = str | Sequence[float]
"""A price as an option gives it: "0.15/0.60", "0.15/0.015/0.60", or the numbers."""


def parse_price(given: GivenPrice, where: str = "") -> Price:
    """Parse prices in dollars per million tokens: of input and output, or of input, cached input and output.

    Args:
        where: where the price comes from; default: the option `price`.

    Raises:
        UsageError: the value is not a price.
    """
    try:
        amounts = [float(each) for each in (given.split("/") if isinstance(given, str) else given)]
    except (TypeError, ValueError):
        amounts = []
    if len(amounts) not in (2, 3) or not all(0 <= each < float("inf") for each in amounts):
        raise UsageError(
            f"{where or option('price', given)} is not a valid price. Expected IN/OUT or IN/CACHED/OUT in dollars per "
            f"million tokens, for example {EXAMPLE}."
        )
    return Price(Rates(amounts[0], amounts[-1], amounts[1] if len(amounts) == 3 else None))


_PRICE_KEYS = {"input", "output", "cached_input", "currency", "hours"}
_PERIOD_KEYS = {"utc", "weekdays", "factor"}


def parse_price_table(given: Any, where: str) -> Price:
    """Parse the price of an endpoint: a text as for the option, or a table with `input`, `output` and more.

    Raises:
        UsageError: the value is not a price.
    """
    if isinstance(given, str):
        return parse_price(given, f"{where}: price = {given!r:.50}")
    if not isinstance(given, Mapping) or given.keys() - _PRICE_KEYS or not {"input", "output"} <= given.keys():
        raise UsageError(
            f"{where}: price must be a text such as {EXAMPLE!r}, or a table with input and output, and optionally "
            "cached_input, currency and hours."
        )
    amounts = [given[name] for name in ("input", "cached_input", "output") if name in given]
    price = parse_price(amounts, f"{where}: price = {amounts}")
    currency = given.get("currency", DEFAULT_CURRENCY)
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        raise UsageError(f"{where}: the currency of a price must be three letters such as 'USD' or 'CNY'.")
    hours = given.get("hours", [])
    periods = tuple(_parse_period(each, where) for each in (hours if isinstance(hours, list) else [hours]))
    return msgspec.structs.replace(price, currency=currency, periods=periods)


def _parse_period(given: Any, where: str) -> Period:
    example = f'{where}: hours must be like {{ utc = "01:00-04:00", weekdays = "mon-fri", factor = 2 }}'
    if not isinstance(given, Mapping) or given.keys() - _PERIOD_KEYS or not {"utc", "factor"} <= given.keys():
        raise UsageError(f"{example}.")
    match, factor = _CLOCK.fullmatch(str(given["utc"])), given["factor"]
    if match is None or isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 <= factor < 1000:
        raise UsageError(f"{example}.")
    start, end = (60 * int(match[n]) + int(match[n + 1]) for n in (1, 3))
    first, _, last = str(given.get("weekdays", "mon-sun")).partition("-")
    if first not in WEEKDAYS or (last or first) not in WEEKDAYS:
        raise UsageError(f"{example}. Days are {', '.join(WEEKDAYS)}.")
    begin, count = WEEKDAYS.index(first), (WEEKDAYS.index(last or first) - WEEKDAYS.index(first)) % _WEEK + 1
    return Period(start, min(end, _DAY), float(factor), tuple((begin + n) % _WEEK for n in range(count)))

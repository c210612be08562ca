"""Limits of a run on tokens, cost and time. The permits enforce the budget, a timer the time limit."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from manycall.errors import TimeLimitReached, UsageError
from manycall.option_flags import option
from manycall.providers.price_book import PriceBook, PricedEndpoint, make_price_book
from manycall.providers.price_file import PriceFile
from manycall.providers.prices import Price, parse_price
from manycall.run.options import RunOptions

UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


class SpendingLimits(NamedTuple):
    """The limits of a run. None: no limit.

    Attributes:
        tokens: maximum prompt and completion tokens of all sessions of the output together.
        cost: maximum cost of all sessions of the output together, in the currency of the prices.
        price: price of the tokens that the user gave.
        price_file: prices of many models.
        seconds: maximum time from the start of this session to its last new call.
    """

    tokens: float | None
    cost: float | None
    price: Price | None
    price_file: PriceFile | None
    seconds: float | None

    def price_book(self, model: str, endpoints: Sequence[PricedEndpoint]) -> PriceBook:
        """Return the prices that are known for a run.

        Raises:
            UsageError: see `make_price_book`.
        """
        return make_price_book(model, endpoints, self.price, self.price_file)

    @contextmanager
    def time_limit(self, stop: Callable[[TimeLimitReached], None]) -> Iterator[None]:
        """Stop new calls when the time limit is reached. Calls in flight finish.

        Args:
            stop: stops them, for the given reason.
        """
        if self.seconds is None:
            yield
            return
        reached = TimeLimitReached(f"Stopped: the time limit of {self.seconds:g} s ({option('max_time')}) was reached.")
        timer = asyncio.get_running_loop().call_later(self.seconds, stop, reached)
        try:
            yield
        finally:
            timer.cancel()


def spending_limits(options: RunOptions) -> SpendingLimits:
    """Return the limits given by the options.

    Raises:
        UsageError: an amount is invalid, or the file of prices cannot be read.
    """
    return SpendingLimits(
        _positive("max_total_tokens", options.max_total_tokens),
        _positive("max_cost", options.max_cost),
        None if options.price is None else parse_price(options.price),
        None if options.prices is None else _read_prices(Path(options.prices)),
        None if options.max_time is None else _seconds(options.max_time),
    )


def _read_prices(path: Path) -> PriceFile:
    try:
        return PriceFile(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{option('prices', str(path))} cannot be read: {error.strerror}.") from None


def _positive(name: str, amount: float | None) -> float | None:
    if amount is None or 0 < amount < float("inf"):
        return amount
    raise UsageError(f"{option(name)} must be more than 0, not {amount}")


def _seconds(given: str | float) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(given).strip())
    seconds = float(match[1]) * UNIT_SECONDS[match[2]] if match else 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{option('max_time', given)} is not a time like 90, 90s, 30m or 2h")
    return seconds

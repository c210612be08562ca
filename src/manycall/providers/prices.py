"""Token prices."""

from typing import NamedTuple

from manycall.errors import UsageError
from manycall.option_flags import option


class Price(NamedTuple):
    """Dollars per million prompt tokens and per million completion tokens."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the cost of a number of tokens in dollars."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


def parse_price(given: str | tuple[float, float]) -> Price:
    """Parse prices in dollars per million prompt and completion tokens, given as (0.15, 0.60) or "0.15/0.60".

    Raises:
        UsageError: the value is not a price.
    """
    try:
        prompt, completion = given.split("/") if isinstance(given, str) else given
        price = Price(float(prompt), float(completion))
    except (TypeError, ValueError):
        price = None
    if price is None or not all(0 <= each < float("inf") for each in price):
        raise UsageError(
            f"{option('price', given)} is not a valid price. "
            "Expected IN/OUT in dollars per million tokens, for example 0.15/0.60."
        )
    return price

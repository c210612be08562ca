"""What the calls of each endpoint have used."""

import msgspec

from manycall.providers.price_book import Bill
from manycall.render import format_money


class EndpointSpending(msgspec.Struct):
    """The calls, tokens and money of one endpoint, over all sessions of an output.

    Attributes:
        endpoint: its name or URL, as in the journal.
        calls: responses in the journal.
        prompt_tokens, completion_tokens: their tokens.
        cached_tokens: prompt tokens that the server read from its cache.
        cost: their cost; None if the endpoint has no price.
    """

    endpoint: str
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = None

    def add(self, bill: Bill, *, has_cost: bool) -> None:
        """Add a response."""
        self.calls += 1
        self.prompt_tokens += bill.usage.prompt_tokens
        self.completion_tokens += bill.usage.completion_tokens
        self.cached_tokens += bill.usage.cached_tokens
        if has_cost:
            self.cost = (self.cost or 0.0) + bill.cost

    def include(self, other: "EndpointSpending") -> None:
        """Add what other calls of the same endpoint have used."""
        self.calls += other.calls
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cached_tokens += other.cached_tokens
        if other.cost is not None:
            self.cost = (self.cost or 0.0) + other.cost

    def describe(self, currency: str) -> str:
        """Return the figures as text."""
        tokens = self.prompt_tokens + self.completion_tokens
        cost = "cost unknown" if self.cost is None else format_money(self.cost, currency)
        return (
            f"{cost}; {self.calls:,} calls, {tokens:,} tokens "
            f"({self.prompt_tokens:,} in, {self.completion_tokens:,} out)"
        )

"""Tokens and money of all sessions of an output, and its budgets.

Each response is charged when it has been written to the journal, so that a recount of the journal gives the same sums.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any, NamedTuple

import msgspec

from manycall import clock
from manycall.client.attempt import Answered
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import EncodedCall
from manycall.control.budget import Budget, Charge, SpendLimit
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.price_book import Bill, PriceBook, RecordedPrice
from manycall.records import Usage
from manycall.render import format_money, format_tokens
from manycall.run.endpoint_spending import EndpointSpending
from manycall.run.spending_limits import SpendingLimits
from manycall.store.journal import Journal
from manycall.store.journal_line import JournaledCall
from manycall.store.resume_cache import CachedUsage, CacheRecord

EXPECTED_USAGE = Usage(256, 256)
"""Expected usage of a call until a response reports its usage."""


class SessionTotals(NamedTuple):
    """What the calls of a session have used.

    Attributes:
        cost: money.
        endpoints: calls, tokens and money of each endpoint.
    """

    cost: float
    endpoints: list[EndpointSpending]

    @property
    def responses(self) -> int:
        """Number of responses."""
        return sum(each.calls for each in self.endpoints)


class Spending:
    """What the sessions of an output have used.

    Args:
        book: the prices.
        budget: the budgets of several outputs together; None: those that the limits set for this output.

    Attributes:
        budget: the budgets in tokens and money; None if there is no limit.

    Raises:
        UsageError: there is a limit on the cost, but no price.
    """

    def __init__(self, limits: SpendingLimits, book: PriceBook, budget: Budget | None = None) -> None:
        self._book = book
        self._prompt = self._completion = self._cached = 0  # of the sessions before this one
        self._cost = self._earlier_cost = 0.0
        self._session = SessionTotals(0.0, [])  # of workers
        self._session_charge, self._session_responses = Charge(0.0, 0.0), 0
        self._has_cost = book.is_complete
        self._by_endpoint: dict[str, EndpointSpending] = {}
        if limits.cost is not None and not book.is_complete:
            raise UsageError(
                f"{option('max_cost')} needs the price of tokens. Pass {option('price', 'IN/OUT')} in dollars per "
                f"million tokens, for example {option('price', '0.15/0.60')}, or {option('prices', 'FILE')} with "
                "LiteLLM's table, or set price in endpoints.toml."
            )
        self.budget = budget or self._make_budget(limits)

    def __repr__(self) -> str:
        return f"<Spending {self._cost:.4f} {self._book.currency}>"

    def _make_budget(self, limits: SpendingLimits) -> Budget | None:
        budgets = []
        if limits.tokens is not None:
            budgets.append(SpendLimit(limits.tokens, _tokens, format_tokens, option("max_total_tokens")))
        if limits.cost is not None:
            budgets.append(SpendLimit(limits.cost, _cost, self.format_money, option("max_cost")))
        price = self._book.find()
        expected = Bill(EXPECTED_USAGE, 0.0 if price is None else price.cost(EXPECTED_USAGE, clock.wall_time()))
        return Budget(budgets, _charge(expected)) if budgets else None

    def format_money(self, amount: float) -> str:
        """Return an amount of money as text."""
        return format_money(amount, self._book.currency)

    def count_earlier(self, journal: Journal, cache: CacheRecord | None = None) -> None:
        """Charge the responses of earlier sessions, including killed ones.

        Args:
            cache: knows the tokens of the first calls of the journal. If calls are charged, all are read.

        Raises:
            CorruptFile: the journal is damaged.
        """
        start = 0
        if cache is not None and cache.usage is not None and not self.charges_calls:
            start, known = cache.journal.size, cache.usage
            self._prompt, self._completion = known.prompt_tokens, known.completion_tokens
            self._cached = known.cached_tokens
        for call in journal.calls(start):
            bill = self._book.bill(*call)
            self._charge(call.endpoint, bill)
            self._prompt += bill.usage.prompt_tokens
            self._completion += bill.usage.completion_tokens
            self._cached += bill.usage.cached_tokens
        self._earlier_cost = self._cost

    @property
    def charges_calls(self) -> bool:
        """Whether each call must be charged, because there is a price or a budget, or there are several pools."""
        return self._has_cost or self.budget is not None or self._book.has_pools

    def charge(self, call: EncodedCall, response: Answered) -> None:
        """Charge a response of this session."""
        endpoint = response.endpoint.name
        self._charge(endpoint, self._book.bill(response.body, endpoint, call.model, clock.wall_time()))

    def _charge(self, endpoint: str, bill: Bill) -> None:
        self._cost += bill.cost
        name = self._book.endpoint_of(endpoint)
        if name not in self._by_endpoint:
            self._by_endpoint[name] = EndpointSpending(name)
        self._by_endpoint[name].add(bill, has_cost=self._book.knows_cost(name))
        if self.budget is not None:
            charge = _charge(bill)
            self.budget.spend(charge if charge.tokens else None)

    def usage(self, counters: CallCounters) -> CachedUsage:
        """Return the tokens of all sessions, for the resume cache."""
        return CachedUsage(
            self._prompt + counters.prompt_tokens,
            self._completion + counters.completion_tokens,
            self._cached + counters.cached_tokens,
        )

    def set_session(self, totals: SessionTotals, counters: CallCounters) -> None:
        """Replace what this session has used by what its workers report. Calls of this process must not be charged.

        Args:
            counters: the sums of all workers.
        """
        self._session, before = totals, self._session_charge
        tokens = float(counters.prompt_tokens + counters.completion_tokens)
        self._session_charge = Charge(tokens, totals.cost)
        if self.budget is not None and counters.responses > self._session_responses:
            new = Charge(tokens - before.tokens, totals.cost - before.cost)
            self.budget.spend(new, counters.responses - self._session_responses)
        self._session_responses = counters.responses

    def recount(self, calls: Iterable[JournaledCall]) -> SessionTotals:
        """Return what journaled calls have used, without charging them."""
        cost, by_endpoint = 0.0, dict[str, EndpointSpending]()
        for call in calls:
            bill, name = self._book.bill(*call), self._book.endpoint_of(call.endpoint)
            cost += bill.cost
            by_endpoint.setdefault(name, EndpointSpending(name)).add(bill, has_cost=self._book.knows_cost(name))
        return SessionTotals(cost, [*by_endpoint.values()])

    def session_totals(self) -> "SessionTotals":
        """Return the cost of this session, and what each endpoint has used in it, if no earlier one was counted."""
        return SessionTotals(self._cost - self._earlier_cost, [*self._by_endpoint.values()])

    def cost_figures(self, counters: CallCounters) -> dict[str, Any]:
        """Return the token and cost fields of the run result, for this session and for all sessions."""
        return {
            "prompt_tokens": counters.prompt_tokens,
            "completion_tokens": counters.completion_tokens,
            "cost": self._total_cost - self._earlier_cost if self._has_cost else None,
            **self.totals(counters),
            "endpoints": self._endpoints,
        }

    def totals(self, counters: CallCounters) -> dict[str, Any]:
        """Return the tokens, the cost and the use of the budgets over all sessions."""
        return {
            "total_prompt_tokens": self._prompt + counters.prompt_tokens,
            "total_completion_tokens": self._completion + counters.completion_tokens,
            "total_cached_tokens": self._cached + counters.cached_tokens,
            "total_cost": self._total_cost if self._has_cost else None,
            "currency": self._book.currency,
            "budget_usage": [] if self.budget is None else self.budget.usage_lines(),
            "endpoints": [msgspec.structs.asdict(each) for each in self._endpoints],
        }

    @property
    def _total_cost(self) -> float:
        return self._cost + self._session.cost

    @property
    def _endpoints(self) -> list[EndpointSpending]:
        """What each endpoint has used, if there are several and each call was charged."""
        sums = {name: copy(each) for name, each in self._by_endpoint.items()}
        for each in self._session.endpoints:
            sums.setdefault(each.endpoint, EndpointSpending(each.endpoint)).include(each)
        return [*sums.values()] if len(sums) > 1 and self.charges_calls else []

    def used_prices(self) -> Sequence[RecordedPrice]:
        """Return the prices that were used, for the manifest."""
        return self._book.used()


def _charge(bill: Bill) -> Charge:
    return Charge(bill.usage.prompt_tokens + bill.usage.completion_tokens, bill.cost)


def _tokens(charge: Charge) -> float:
    return charge.tokens


def _cost(charge: Charge) -> float:
    return charge.cost

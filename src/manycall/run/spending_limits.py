"""Limits of a run on tokens, cost and time. The permits enforce the budget, a timer the time limit."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from manycall.client.call_counters import CallCounters
from manycall.control.budget import Budget, SpendLimit
from manycall.errors import TimeLimitReached, UsageError
from manycall.option_flags import option
from manycall.providers import openai
from manycall.providers.prices import Price, parse_price
from manycall.records import Usage
from manycall.render import format_dollars, format_tokens
from manycall.run.scheduler import Scheduler
from manycall.store.journal import Journal

UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


class SpendingLimits(NamedTuple):
    """The limits of a run. None: no limit.

    Attributes:
        tokens: maximum prompt and completion tokens of all sessions of the output together.
        cost: maximum cost in dollars of all sessions of the output together.
        price: price of the tokens.
        seconds: maximum time from the start of this session to its last new call.
    """

    tokens: float | None
    cost: float | None
    price: Price | None
    seconds: float | None

    def spending(self, journal: Journal) -> "Spending":
        """Count the tokens of earlier sessions in the journal, including killed ones.

        Raises:
            CorruptFile: the journal is damaged.
        """
        budget = self._budget()
        prompt = completion = 0
        for body in journal.responses():
            used = openai.usage(body)
            prompt, completion = prompt + used.prompt_tokens, completion + used.completion_tokens
            if budget is not None:
                budget.spend(used)
        return Spending(self.price, budget, Usage(prompt, completion))

    def _budget(self) -> Budget | None:
        limits = []
        if self.tokens is not None:
            limits.append(
                SpendLimit(
                    self.tokens, lambda prompt, answer: prompt + answer, format_tokens, option("max_total_tokens")
                )
            )
        if self.cost is not None and self.price is not None:
            limits.append(SpendLimit(self.cost, self.price.cost, format_dollars, option("max_cost")))
        return Budget(limits) if limits else None

    @contextmanager
    def time_limit(self, scheduler: Scheduler) -> Iterator[None]:
        """Stop new calls when the time limit is reached. Calls in flight finish."""
        if self.seconds is None:
            yield
            return
        reached = TimeLimitReached(f"Stopped: the time limit of {self.seconds:g} s ({option('max_time')}) was reached.")
        timer = asyncio.get_running_loop().call_later(self.seconds, scheduler.stop, reached)
        try:
            yield
        finally:
            timer.cancel()


class Spending(NamedTuple):
    """Tokens and cost of all sessions of an output.

    Attributes:
        price: price of the tokens; None if not given.
        budget: the token and dollar budget; None if there is no limit.
        earlier: tokens of the sessions before this one.
    """

    price: Price | None
    budget: Budget | None
    earlier: Usage

    def cost_figures(self, counters: CallCounters) -> dict[str, Any]:
        """Return the token and cost fields of the run result, for this session and for all sessions."""
        session = Usage(counters.prompt_tokens, counters.completion_tokens)
        total = Usage(
            self.earlier.prompt_tokens + session.prompt_tokens,
            self.earlier.completion_tokens + session.completion_tokens,
        )
        figures: dict[str, Any] = {
            "prompt_tokens": session.prompt_tokens,
            "completion_tokens": session.completion_tokens,
            "total_prompt_tokens": total.prompt_tokens,
            "total_completion_tokens": total.completion_tokens,
            "budget_usage": [] if self.budget is None else self.budget.usage_lines(),
        }
        if self.price is not None:
            figures["cost"] = self.price.cost(session.prompt_tokens, session.completion_tokens)
            figures["total_cost"] = self.price.cost(total.prompt_tokens, total.completion_tokens)
        return figures


def parse_spending_limits(
    max_total_tokens: float | None,
    max_cost: float | None,
    price: str | tuple[float, float] | None,
    max_time: str | float | None,
) -> SpendingLimits:
    """Return the limits given by the options.

    Raises:
        UsageError: an amount is invalid, or a cost limit was given without a price.
    """
    if max_cost is not None and price is None:
        raise UsageError(
            f"{option('max_cost')} needs the price of tokens in dollars per million: {option('price', 'IN/OUT')}, "
            f"for example {option('price', '0.15/0.60')}."
        )
    return SpendingLimits(
        _positive("max_total_tokens", max_total_tokens),
        _positive("max_cost", max_cost),
        None if price is None else parse_price(price),
        None if max_time is None else _seconds(max_time),
    )


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

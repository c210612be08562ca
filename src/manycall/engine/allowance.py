"""What a run may spend: tokens, money, time. Read from its options; kept by the permits and by a timer."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from manycall.control.budget import Budget, Limit, Price, dollars, tokens
from manycall.engine.progress import Counters
from manycall.engine.scheduler import Scheduler
from manycall.errors import DeadlinePassed, UsageError
from manycall.records import Usage
from manycall.store.journal import Journal
from manycall.wire import openai

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


class Allowance(NamedTuple):
    """What a run may spend. None: as much as it takes.

    Attributes:
        tokens, cost: of prompts and answers, in dollars; by all sessions of the output together.
        price: dollars for tokens.
        seconds: from the start of this session to its last new call.
    """

    tokens: float | None
    cost: float | None
    price: Price | None
    seconds: float | None

    def spending(self, journal: Journal) -> "Spending":
        """Count the tokens of earlier sessions in the journal, also of killed ones.

        Raises:
            StoreCorrupt: the journal is damaged.
        """
        budget = self._budget()
        prompt = completion = 0
        for body in journal.bodies():
            used = openai.usage(body)
            prompt, completion = prompt + used.prompt_tokens, completion + used.completion_tokens
            if budget is not None:
                budget.spend(used)
        return Spending(self.price, budget, Usage(prompt, completion))

    def _budget(self) -> Budget | None:
        limits = []
        if self.tokens is not None:
            limits.append(Limit(self.tokens, lambda prompt, answer: prompt + answer, tokens, "--max-tokens-total"))
        if self.cost is not None and self.price is not None:
            limits.append(Limit(self.cost, self.price.of, dollars, "--max-cost"))
        return Budget(limits) if limits else None

    @contextmanager
    def deadline(self, scheduler: Scheduler) -> Iterator[None]:
        """When the time is up: no new calls; those in flight finish."""
        if self.seconds is None:
            yield
            return
        passed = DeadlinePassed(f"the deadline has come: {self.seconds:g} s after the start, no new call is made")
        timer = asyncio.get_running_loop().call_later(self.seconds, scheduler.end, passed)
        try:
            yield
        finally:
            timer.cancel()


class Spending(NamedTuple):
    """The tokens and the money that the sessions of an output have spent.

    Attributes:
        budget: what may be spent; None if nothing is limited.
        earlier: tokens of the sessions before this one.
    """

    price: Price | None
    budget: Budget | None
    earlier: Usage

    def figures(self, counters: Counters) -> dict[str, Any]:
        """The figures of the report: for this session, and for all sessions of the output."""
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
            "budgets": [] if self.budget is None else self.budget.lines(),
        }
        if self.price is not None:
            figures["cost"] = self.price.of(session.prompt_tokens, session.completion_tokens)
            figures["total_cost"] = self.price.of(total.prompt_tokens, total.completion_tokens)
        return figures


def allowance(
    max_tokens_total: float | None,
    max_cost: float | None,
    price: str | tuple[float, float] | None,
    deadline: str | float | None,
) -> Allowance:
    """What the options allow.

    Raises:
        UsageError: an amount that is none, or dollars without a price.
    """
    if max_cost is not None and price is None:
        raise UsageError("--max-cost needs the price of tokens: --price IN/OUT, dollars per million, as in 0.15/0.60")
    return Allowance(
        _positive("--max-tokens-total", max_tokens_total),
        _positive("--max-cost", max_cost),
        None if price is None else read_price(price),
        None if deadline is None else _seconds(deadline),
    )


def _positive(option: str, amount: float | None) -> float | None:
    if amount is None or 0 < amount < float("inf"):
        return amount
    raise UsageError(f"{option} must be more than 0, not {amount}")


def read_price(given: str | tuple[float, float]) -> Price:
    """Dollars for a million tokens of prompts and of answers, from (0.15, 0.60) or "0.15/0.60".

    Raises:
        UsageError: it is neither.
    """
    try:
        prompt, completion = given.split("/") if isinstance(given, str) else given
        price = Price(float(prompt), float(completion))
    except (TypeError, ValueError):
        price = None
    if price is None or not all(0 <= each < float("inf") for each in price):
        raise UsageError(f"--price {given!r} is not IN/OUT, dollars per million tokens, as in 0.15/0.60")
    return price


def _seconds(given: str | float) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(given).strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--deadline {given!r} is not a time like 90, 90s, 30m or 2h")
    return seconds

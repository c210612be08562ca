"""What an output may cost, over all its sessions: how much is spent, and may another call begin?

A call begins only while what was spent, and what those in flight will cost, is below the budget. So the last few are
made with ever fewer in flight, and the budget is overrun by one call, and by as much as the expectation was wrong.

Calls in flight are not like those that have ended. The dear ones take long, and are met more often: found at any
moment, a call costs E[c²]/E[c] on average, not E[c] (the inspection paradox). And the first to end are the cheap
ones; so while n have ended and k are in flight, these are expected to cost 1 + k/n times that. It costs no time where
the budget is far away, and keeps a small one from being filled at once on the word of a few short answers.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from manycall.records import Usage

FIRST_CALLS = 8
"""In flight, as long as no call has told what it costs."""
FIRST_USAGE = Usage(256, 256)
"""What a call is expected to cost as long as none has told."""


class Price(NamedTuple):
    """Dollars for a million tokens: of prompts, and of answers."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Dollars for so many tokens."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


def tokens(amount: float) -> str:
    """An amount of tokens, in words."""
    return f"{amount:,.0f} tokens"


def dollars(amount: float) -> str:
    """An amount of money, in words."""
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


class Limit(NamedTuple):
    """So much, and no more.

    Attributes:
        of: what tokens of prompts and of answers amount to.
        said: an amount, in words.
        option: where it was set.
    """

    most: float
    of: Callable[[float, float], float]
    said: Callable[[float], str]
    option: str


class Budget:
    """What is spent, under all the limits at once.

    Replies that do not say what they cost are taken to cost what the others did.
    """

    __slots__ = ("_completion", "_limits", "_prompt", "_replies", "_squares", "_told")

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._limits = tuple(limits)
        self._replies = self._told = 0
        self._forget()
        self._learn(FIRST_USAGE)

    def __repr__(self) -> str:
        return f"<Budget {', '.join(self.lines())}>"

    def spend(self, usage: Usage) -> None:
        """A reply has come, and has cost this."""
        self._replies += 1
        if usage.prompt_tokens or usage.completion_tokens:
            if not self._told:
                self._forget()
            self._learn(usage)
            self._told += 1

    def _forget(self) -> None:
        self._prompt = self._completion = 0
        self._squares = [0.0] * len(self._limits)

    def _learn(self, usage: Usage) -> None:
        self._prompt += usage.prompt_tokens
        self._completion += usage.completion_tokens
        for n, limit in enumerate(self._limits):
            self._squares[n] += limit.of(usage.prompt_tokens, usage.completion_tokens) ** 2

    def spent(self) -> tuple[float, float]:
        """Tokens of prompts and of answers: of every reply so far."""
        told = self._told or 1
        return self._prompt * self._replies / told, self._completion * self._replies / told

    def room(self, in_flight: int) -> bool:
        """Whether another call may begin while so many are in flight."""
        if in_flight >= FIRST_CALLS and not self._replies:
            return False
        spent, calls = self.spent(), in_flight * (1 + in_flight / (self._told or 1))
        for limit, squares in zip(self._limits, self._squares, strict=True):
            each = squares / (limit.of(self._prompt, self._completion) or 1.0)
            if limit.of(*spent) + each * calls >= limit.most:
                return False
        return True

    @property
    def used_up(self) -> str | None:
        """Why no call may begin any more, whatever those in flight will cost; None as long as one may."""
        for limit in self._limits:
            if (spent := limit.of(*self.spent())) >= limit.most:
                return (
                    f"the budget of {limit.said(limit.most)} ({limit.option}) is used up: "
                    f"{limit.said(spent)} were spent by all sessions of this output"
                )
        return None

    def lines(self) -> list[str]:
        """What is spent, of how much."""
        spent = self.spent()
        return [f"{limit.said(limit.of(*spent))} of {limit.said(limit.most)}" for limit in self._limits]

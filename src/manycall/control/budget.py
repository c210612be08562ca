"""Limit what one output may cost over all its sessions.

A call starts only while the amount spent, plus the expected cost of the calls in flight, is below the limit. Near the
limit, fewer and fewer calls are in flight. The limit is exceeded by at most one call, plus the error of the expected
cost.

Calls in flight differ from calls that have ended. Expensive calls take longer, so they are more likely to be in
flight: a call that is in flight at a random time costs E[c²]/E[c] on average, not E[c] (the inspection paradox).
Moreover, cheap calls end first, so while n calls have ended and k are in flight, the calls in flight are expected to
cost 1 + k/n times that average. This correction costs no time while the limit is far away. It prevents a small budget
from being used up at once because the first few answers were short.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from manycall.records import Usage

MAX_IN_FLIGHT_UNPRICED = 8
"""Calls in flight until the first response arrives, because the cost of a call is not known before."""
DEFAULT_USAGE = Usage(256, 256)
"""Expected usage of a call until a response reports its usage."""


class SpendLimit(NamedTuple):
    """A limit on the tokens or the money that one output may use.

    Attributes:
        maximum: the largest permitted amount, in tokens or dollars.
        measure: computes an amount from prompt tokens and completion tokens.
        format: formats an amount for messages.
        flag: the command-line flag that sets this limit.
    """

    maximum: float
    measure: Callable[[float, float], float]
    format: Callable[[float], str]
    flag: str


class Budget:
    """The amount spent, checked against several limits at once.

    A response that does not report its usage is assumed to cost the mean of the others.
    """

    __slots__ = ("_completion", "_limits", "_prompt", "_responses", "_responses_with_usage", "_squared_costs")

    def __init__(self, limits: Sequence[SpendLimit]) -> None:
        self._limits = tuple(limits)
        self._responses = self._responses_with_usage = 0
        self._reset()
        self._add_usage(DEFAULT_USAGE)

    def __repr__(self) -> str:
        return f"<Budget {', '.join(self.usage_lines())}>"

    def spend(self, usage: Usage) -> None:
        """Record the usage of a response."""
        self._responses += 1
        if usage.prompt_tokens or usage.completion_tokens:
            if not self._responses_with_usage:
                self._reset()
            self._add_usage(usage)
            self._responses_with_usage += 1

    def _reset(self) -> None:
        self._prompt = self._completion = 0
        self._squared_costs = [0.0] * len(self._limits)

    def _add_usage(self, usage: Usage) -> None:
        self._prompt += usage.prompt_tokens
        self._completion += usage.completion_tokens
        for n, limit in enumerate(self._limits):
            self._squared_costs[n] += limit.measure(usage.prompt_tokens, usage.completion_tokens) ** 2

    def spent(self) -> tuple[float, float]:
        """Return the prompt tokens and completion tokens of all responses so far, estimated for those without usage."""
        with_usage = self._responses_with_usage or 1
        return self._prompt * self._responses / with_usage, self._completion * self._responses / with_usage

    def has_room(self, in_flight: int) -> bool:
        """Return whether another call may start while `in_flight` calls are running."""
        if in_flight >= MAX_IN_FLIGHT_UNPRICED and not self._responses:
            return False
        spent, calls = self.spent(), in_flight * (1 + in_flight / (self._responses_with_usage or 1))
        for limit, squares in zip(self._limits, self._squared_costs, strict=True):
            expected_cost = squares / (limit.measure(self._prompt, self._completion) or 1.0)
            if limit.measure(*spent) + expected_cost * calls >= limit.maximum:
                return False
        return True

    @property
    def exhausted(self) -> str | None:
        """The error message if the amount spent has reached a limit; None while it is below all limits."""
        for limit in self._limits:
            if (spent := limit.measure(*self.spent())) >= limit.maximum:
                return (
                    f"Stopped: {limit.flag} {limit.format(limit.maximum)} reached "
                    f"({limit.format(spent)} spent on this output, all sessions)."
                )
        return None

    def usage_lines(self) -> list[str]:
        """Return one line per limit, such as "$1.70 of $2.00"."""
        spent = self.spent()
        return [f"{limit.format(limit.measure(*spent))} of {limit.format(limit.maximum)}" for limit in self._limits]

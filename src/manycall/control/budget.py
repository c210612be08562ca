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

ROUNDING = 1e-9
"""Part of a limit that is not worth a call: sums of money are not exact, and depend on the order of the calls."""
MAX_IN_FLIGHT_UNPRICED = 8
"""Calls in flight until the first response arrives, because the cost of a call is not known before."""


class Charge(NamedTuple):
    """What one response is charged.

    Attributes:
        tokens: prompt tokens and completion tokens.
        cost: amount of money, in the currency of the run's prices.
    """

    tokens: float
    cost: float


class SpendLimit(NamedTuple):
    """A limit on the tokens or the money that one output may use.

    Attributes:
        maximum: the largest permitted amount, of tokens or money.
        measure: returns the amount in a charge.
        format: formats an amount for messages.
        flag: the command-line flag that sets this limit.
    """

    maximum: float
    measure: Callable[[Charge], float]
    format: Callable[[float], str]
    flag: str

    def is_reached(self, spent: float) -> bool:
        """Return whether nothing is left for another call."""
        return spent >= self.maximum * (1 - ROUNDING)

    def message(self, spent: float) -> str:
        """Return the message that ends a run when this much was spent."""
        maximum = self.format(self.maximum)
        return f"Stopped: {self.flag} {maximum} reached ({self.format(spent)} spent in all sessions)."


class Budget:
    """The amount spent, checked against several limits at once.

    A response that does not report its usage is assumed to cost the mean of the others.

    Args:
        expected: expected charge of a call until a response reports its usage.
    """

    __slots__ = ("_amounts", "_limits", "_responses", "_responses_with_usage", "_squares")

    def __init__(self, limits: Sequence[SpendLimit], expected: Charge) -> None:
        self._limits = tuple(limits)
        self._responses = self._responses_with_usage = 0
        self._amounts = [0.0] * len(limits)
        self._squares = [0.0] * len(limits)
        self._add(expected)

    def __repr__(self) -> str:
        return f"<Budget {', '.join(self.usage_lines())}>"

    def spend(self, charge: Charge | None, responses: int = 1) -> None:
        """Record the charge of a response; None if the response does not report its usage.

        Args:
            responses: number of responses that the charge is for. Of several, only their sum is known.
        """
        self._responses += responses
        if charge is not None:
            if not self._responses_with_usage:
                self._amounts = [0.0] * len(self._limits)
                self._squares = [0.0] * len(self._limits)
            self._add(charge)
            self._responses_with_usage += responses

    def _add(self, charge: Charge) -> None:
        for n, limit in enumerate(self._limits):
            amount = limit.measure(charge)
            self._amounts[n] += amount
            self._squares[n] += amount * amount

    def spent(self) -> list[float]:
        """Return the amount of each limit that all responses so far have used, estimated for those without usage."""
        share = self._responses / (self._responses_with_usage or 1)
        return [amount * share for amount in self._amounts]

    def has_room(self, in_flight: int) -> bool:
        """Return whether another call may start while `in_flight` calls are running."""
        if in_flight >= MAX_IN_FLIGHT_UNPRICED and not self._responses:
            return False
        for limit, spent, reserved in zip(self._limits, self.spent(), self.reserved(in_flight), strict=True):
            if limit.is_reached(spent + reserved):
                return False
        return True

    def reserved(self, in_flight: int) -> list[float]:
        """Return the amount of each limit that this many calls in flight are expected to use."""
        calls = in_flight * (1 + in_flight / (self._responses_with_usage or 1))
        return [squares / (amount or 1.0) * calls for amount, squares in zip(self._amounts, self._squares, strict=True)]

    def remaining(self) -> list[float]:
        """Return what may still be used of each limit, at least 0."""
        return [max(0.0, limit.maximum - spent) for limit, spent in zip(self._limits, self.spent(), strict=True)]

    def measure(self, charge: Charge) -> list[float]:
        """Return what a charge uses of each limit."""
        return [limit.measure(charge) for limit in self._limits]

    def set_maximums(self, maximums: Sequence[float]) -> None:
        """Change the largest permitted amounts, in the order of the limits."""
        pairs = zip(self._limits, maximums, strict=True)
        self._limits = tuple(limit._replace(maximum=maximum) for limit, maximum in pairs)

    @property
    def exhausted(self) -> str | None:
        """The error message if the amount spent has reached a limit; None while it is below all limits."""
        for limit, spent in zip(self._limits, self.spent(), strict=True):
            if limit.is_reached(spent):
                return limit.message(spent)
        return None

    def usage_lines(self) -> list[str]:
        """Return one line per limit, such as "$1.70 of $2.00"."""
        return [
            f"{limit.format(spent)} of {limit.format(limit.maximum)}"
            for limit, spent in zip(self._limits, self.spent(), strict=True)
        ]

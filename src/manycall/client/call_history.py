"""The failed attempts of a call before its answer."""

import msgspec

from manycall.control.retry import RULES, FailedAttempt, RetryRule
from manycall.errors import HttpStatusError, InvalidResponse


class EarlierAttempts(msgspec.Struct):
    """The failed attempts of a call.

    Attributes:
        statuses: the HTTP status of each; 0 if there was no response.
        waited: seconds between the attempts in total: backoff, and waiting for a permit.
        failed_at: when the last of them failed.
        by_rule: how many failed under each rule, apart from refusals of a parameter.
    """

    statuses: list[int] = []
    waited: float = 0.0
    failed_at: float = 0.0
    by_rule: dict[RetryRule, int] = {}

    def record(self, failure: FailedAttempt, now: float) -> None:
        """Record a failed attempt."""
        error, rule = failure.error, RULES[failure.failure_class]
        answered = 200 if isinstance(error, InvalidResponse) else 0
        self.statuses.append(error.status if isinstance(error, HttpStatusError) else answered)
        self.by_rule[rule] = self.by_rule.get(rule, 0) + (not failure.adapted)
        self.failed_at = now

    def record_sent(self, now: float) -> None:
        """Record that the call is sent again."""
        self.waited += now - self.failed_at

"""Decide what to do about a failed attempt, and how long to wait before the next one.

Each class of failure has its own maximum number of attempts, because the cost of another attempt differs: a refused
connection costs nothing, but an attempt that timed out may have been billed. providers/error_codes.py says to which
class a failure belongs.
"""

import math
import random
from typing import NamedTuple

from manycall import errors
from manycall.errors import FailureAction, FailureClass

RETRY, FAIL, STOP_RUN = FailureAction.RETRY, FailureAction.FAIL, FailureAction.STOP_RUN


class FailedAttempt(NamedTuple):
    """One attempt that produced no answer.

    Attributes:
        error: what happened.
        failure_class: what it means for the next attempt.
        has_alternative: another endpoint or another key may accept the call.
        delays_all: the throttle delays all calls to the endpoint, so this call need not wait in addition.
        adapted: the endpoint's next body for this call differs from the refused one (client/body_adapter.py). It
            counts neither for the maximum of its rule nor for the backoff: the number of differences is limited.
    """

    error: errors.CallError
    failure_class: FailureClass
    has_alternative: bool = False
    delays_all: bool = False
    adapted: bool = False


class RetryRule(NamedTuple):
    """The reaction to one class of failure.

    Attributes:
        action: retry the call, fail the row, or stop the run.
        max_attempts: the row fails after this many attempts that failed in this way.
        only_before_success: stop the run only while no call of it has succeeded. Later, the failure concerns only its
            own row, and the row fails.
        disables_key: stop only this endpoint or this key while another one is available.
        max_wait_seconds: stop the run if the server asks to wait longer, unless another key is available.
    """

    action: FailureAction
    max_attempts: int = 1
    only_before_success: bool = False
    disables_key: bool = False
    max_wait_seconds: float = math.inf


MAX_RETRY_AFTER_SECONDS = 3600.0
"""A longer Retry-After counts as this one."""
_PATIENT = RetryRule(RETRY, 100)  # nothing was computed or billed, so retry for most of an hour

RULES: dict[FailureClass, RetryRule] = {
    FailureClass.UNREACHABLE: RetryRule(RETRY, 20),  # about six minutes, because a large server takes minutes to start
    FailureClass.UNTRUSTED_SERVER: RetryRule(STOP_RUN),
    FailureClass.OVERLOADED: _PATIENT,
    FailureClass.RATE_LIMITED: _PATIENT,
    FailureClass.CONCURRENCY_LIMITED: _PATIENT,
    # control/exhaustion.py limits the time. The attempts limit a call that is refused while other calls are answered.
    FailureClass.KEY_RATE_LIMITED: RetryRule(RETRY, 1000),
    FailureClass.OUTAGE: _PATIENT,  # control/exhaustion.py and control/outage.py limit the time
    FailureClass.DAILY_QUOTA: RetryRule(RETRY, 100, max_wait_seconds=MAX_RETRY_AFTER_SECONDS),
    FailureClass.NO_ANSWER: RetryRule(RETRY, 4),  # each attempt may be billed
    # May be billed too, but fails fast. If 1 in 20 responses is malformed, 4 attempts lose rows.
    FailureClass.MALFORMED: RetryRule(RETRY, 6),
    FailureClass.SERVER_ERROR: RetryRule(RETRY, 8),  # bounded: llama-server returns 500 for requests that never succeed
    FailureClass.BAD_REQUEST: RetryRule(FAIL),
    FailureClass.CONTENT_FILTER: RetryRule(FAIL),
    FailureClass.TOO_LONG: RetryRule(FAIL),
    # The content of one row causes it too, for example an image that is too large. So the run does not stop before its
    # first ten rows have failed (run/row_recorder.py).
    FailureClass.PARAMETER: RetryRule(FAIL),
    FailureClass.BAD_SETUP: RetryRule(STOP_RUN, only_before_success=True),
    FailureClass.GONE: RetryRule(STOP_RUN, disables_key=True),
    FailureClass.BAD_KEY: RetryRule(STOP_RUN, disables_key=True),
    FailureClass.OUT_OF_MONEY: RetryRule(STOP_RUN, disables_key=True),
}

MAX_ATTEMPTS_NEVER_CONNECTED = 4
"""Attempts while no call of the run has succeeded and the connection fails. The URL is probably wrong or the server is
not running, so the run should stop soon."""
MAX_FAILOVERS = 10
"""How often a call is moved to another endpoint after a refusal that concerns only the previous one. Refusals that
disable the previous one do not count, because they end when no endpoint is left."""
BACKOFF_BASE_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 60.0


def decide(failure: FailedAttempt, attempts: int, *, any_success: bool) -> FailureAction:
    """Return the action for a failed attempt.

    Args:
        failure: the failure.
        attempts: how often the call has failed under the same rule, including this failure.
        any_success: whether a call of this run, or of an earlier run of the same output, has succeeded.
    """
    rule = RULES[failure.failure_class]
    if failure.adapted or (failure.has_alternative and (attempts <= MAX_FAILOVERS or rule.disables_key)):
        return RETRY
    if rule.max_wait_seconds < (retry_after_seconds(failure.error) or 0.0):
        return RETRY if failure.has_alternative else STOP_RUN
    if rule.action is STOP_RUN:
        return FAIL if rule.only_before_success and any_success else STOP_RUN
    if rule.action is RETRY:
        if isinstance(failure.error, errors.ConnectError) and not any_success:
            return RETRY if attempts < MAX_ATTEMPTS_NEVER_CONNECTED else STOP_RUN
        return RETRY if attempts < rule.max_attempts else FAIL
    return rule.action


def reason_to_stop(failure: FailedAttempt) -> errors.RunStopped:
    """Return why the run stops after this failure."""
    is_quota = failure.failure_class is FailureClass.DAILY_QUOTA
    return (errors.DailyQuotaExhausted if is_quota else errors.RunStopped)(str(failure.error))


def retry_after_seconds(error: errors.CallError) -> float | None:
    """Return how many seconds the server asks the client to wait; None if it does not ask."""
    return error.retry_after if isinstance(error, errors.HttpStatusError) else None


def ends_with_outage(error: errors.CallError) -> bool:
    """Whether the backoff waits for an outage to end, and may end early when any call to the server succeeds."""
    if isinstance(error, errors.HttpStatusError):
        return error.status >= 500 and error.retry_after is None
    return isinstance(error, errors.ConnectError | errors.ConnectionLost | errors.AttemptTimeout)


def backoff_seconds(failure: FailedAttempt, attempts: int, rng: random.Random) -> float:
    """Return the seconds to wait after `attempts` failed attempts: exponential backoff with full jitter.

    The backoff is uniform in [0, min(60, 0.5 · 2^(attempts-1))] ("Exponential Backoff And Jitter", M. Brooker, AWS
    Architecture Blog, 2015). If the server sent Retry-After, the wait is at least that long plus a random time of up
    to 10 % of it + 0.5 s (at most 5 s), so that waiting calls do not all return at once. The longer of the two waits
    applies, because servers that always send "1 s" are overloaded too. A Retry-After of more than one hour counts as
    one hour.
    """
    if failure.adapted or failure.has_alternative or failure.delays_all:
        return 0.0  # control/throttle.py delays all calls, and waiting calls are admitted by priority
    if isinstance(failure.error, errors.ConnectionLost) and attempts == 1:
        return 0.0  # most likely an idle connection that the server closed just before this call
    retry_after = retry_after_seconds(failure.error)
    backoff = rng.uniform(0, min(BACKOFF_MAX_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(attempts - 1, 30)))
    if retry_after is None:
        return backoff
    floor = min(retry_after, MAX_RETRY_AFTER_SECONDS)
    return max(backoff, floor + rng.uniform(0, min(0.1 * floor + 0.5, 5.0)))

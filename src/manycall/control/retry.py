"""Decide what to do about a failed call, and how long to wait before the next attempt.

Each kind of failure has its own maximum number of attempts, because the cost of another attempt differs: a refused
connection costs nothing, but an attempt that timed out may have been billed.
"""

import random
from typing import NamedTuple

from manycall import errors
from manycall.errors import FailureAction

RETRY, FAIL, STOP_RUN = FailureAction.RETRY, FailureAction.GIVE_UP, FailureAction.STOP


class RetryRule(NamedTuple):
    """The reaction to one kind of failure.

    Attributes:
        action: retry the call, fail the row, or stop the run.
        max_attempts: the row fails after this many attempts that failed in this way.
        only_before_success: stop the run only while no call of it has succeeded. Later, the failure concerns only its
            own row, and the row fails.
        disables_key: stop only this endpoint or this key while another one is available.
    """

    action: FailureAction
    max_attempts: int = 1
    only_before_success: bool = False
    disables_key: bool = False


UNREACHABLE = RetryRule(RETRY, 20)  # about six minutes of backoff, because a large server takes minutes to start
# control/exhaustion.py limits the time. The attempts limit a call that is refused while other calls are answered.
THROTTLED_KEY = RetryRule(RETRY, 1000)
OVERLOADED = RetryRule(RETRY, 100)  # nothing was computed or billed, so retry for most of an hour
POSSIBLY_BILLED = RetryRule(RETRY, 4)  # each attempt may be billed
MALFORMED = RetryRule(RETRY, 6)  # may be billed too, but fails fast; if 1 in 20 is malformed, 4 attempts lose rows
NOT_RETRYABLE = RetryRule(FAIL)
BAD_SETUP = RetryRule(STOP_RUN, only_before_success=True)
BAD_KEY = RetryRule(STOP_RUN, disables_key=True)

BY_CLASS: dict[type[errors.CallError], RetryRule] = {
    errors.CertificateError: RetryRule(STOP_RUN),
    errors.ConnectError: UNREACHABLE,
    errors.ConnectionLost: UNREACHABLE,
    errors.AttemptTimeout: POSSIBLY_BILLED,
    errors.IncompleteResponse: MALFORMED,
    errors.ResponseTooLarge: NOT_RETRYABLE,
    errors.EmptyCompletion: POSSIBLY_BILLED,
    errors.MaxTokensReached: NOT_RETRYABLE,
    errors.ContentFiltered: NOT_RETRYABLE,
    errors.Declined: NOT_RETRYABLE,
    errors.InvalidResponse: MALFORMED,
}

BY_STATUS: dict[int, RetryRule] = {
    301: BAD_SETUP,
    302: BAD_SETUP,
    303: BAD_SETUP,
    307: BAD_SETUP,
    308: BAD_SETUP,
    400: NOT_RETRYABLE,
    401: BAD_KEY,
    402: BAD_KEY,  # DeepSeek, OpenRouter: insufficient balance
    403: BAD_SETUP,
    404: BAD_SETUP,  # unknown path or unknown model
    405: BAD_SETUP,
    407: BAD_SETUP,  # proxy authentication required
    408: POSSIBLY_BILLED,
    409: OVERLOADED,
    413: NOT_RETRYABLE,
    422: NOT_RETRYABLE,
    425: OVERLOADED,
    429: OVERLOADED,
    503: OVERLOADED,
    529: OVERLOADED,  # Anthropic: overloaded
}

BY_CODE: dict[str, RetryRule] = {  # a provider's error code is more specific than the status
    "insufficient_quota": BAD_KEY,
    "billing_hard_limit_reached": BAD_KEY,
    "invalid_api_key": BAD_KEY,
    "model_not_found": BAD_SETUP,
    "context_length_exceeded": NOT_RETRYABLE,
    "content_filter": NOT_RETRYABLE,
}

UNKNOWN_REFUSAL = RetryRule(FAIL)
SERVER_FAULT = RetryRule(RETRY, 8)  # bounded, because llama-server returns 500 for some requests that can never succeed


def find_rule(failure: errors.CallError) -> RetryRule:
    """Return the rule for this failure."""
    if isinstance(failure, errors.HttpStatusError):
        if failure.is_throttle:
            return THROTTLED_KEY
        default = SERVER_FAULT if failure.status >= 500 else UNKNOWN_REFUSAL
        return BY_CODE.get(failure.code) or BY_STATUS.get(failure.status) or default
    for kind in type(failure).__mro__:
        if kind in BY_CLASS:
            return BY_CLASS[kind]
    return NOT_RETRYABLE


def may_be_throttle(failure: errors.HttpStatusError) -> bool:
    """Whether this refusal means a throttle on some servers and an exhausted quota on others.

    See control/exhaustion.py.
    """
    if failure.status == 402:
        return failure.retry_after is not None
    return failure.status == 429 and failure.code == "insufficient_quota"


def is_throttle(failure: errors.HttpStatusError) -> bool:
    """Whether the refusal is a request to send fewer calls."""
    return failure.is_throttle or (failure.status == 429 and not find_rule(failure).disables_key)


MAX_ATTEMPTS_NEVER_CONNECTED = 4
"""Attempts while no call of the run has succeeded and the connection fails. The URL is probably wrong or the server is
not running, so the run should stop soon."""


def decide(failure: errors.CallError, attempts: int, *, any_success: bool) -> FailureAction:
    """Return the action for a failed call.

    Args:
        failure: the failure.
        attempts: how often the call has failed under the same rule, including this failure.
        any_success: whether a call of this run, or of an earlier run of the same output, has succeeded.
    """
    rule = find_rule(failure)
    if isinstance(failure, errors.HttpStatusError) and failure.elsewhere and attempts <= MAX_FAILOVERS:
        return RETRY
    if rule.action is STOP_RUN:
        return FAIL if rule.only_before_success and any_success else STOP_RUN
    if rule.action is RETRY:
        if isinstance(failure, errors.ConnectError) and not any_success:
            return RETRY if attempts < MAX_ATTEMPTS_NEVER_CONNECTED else STOP_RUN
        return RETRY if attempts < rule.max_attempts else FAIL
    return rule.action


MAX_FAILOVERS = 10
"""How often a call is moved to another endpoint or key after a refusal that concerns only the previous one."""
BACKOFF_BASE_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 60.0
MAX_RETRY_AFTER_SECONDS = 3600.0
"""A longer Retry-After counts as this one."""


def ends_with_outage(failure: errors.CallError) -> bool:
    """Whether the backoff waits for an outage to end, and may end early when any call to the server succeeds."""
    if isinstance(failure, errors.HttpStatusError):
        return failure.status >= 500 and failure.retry_after is None
    return isinstance(failure, errors.ConnectError | errors.ConnectionLost | errors.AttemptTimeout)


def backoff_seconds(failure: errors.CallError, attempts: int, rng: random.Random) -> float:
    """Return the seconds to wait after `attempts` failed attempts: exponential backoff with full jitter.

    The backoff is uniform in [0, min(60, 0.5 · 2^(attempts-1))] ("Exponential Backoff And Jitter", M. Brooker, AWS
    Architecture Blog, 2015). If the server sent Retry-After, the wait is at least that long plus a random time of up
    to 10 % of it + 0.5 s (at most 5 s), so that waiting calls do not all return at once. The longer of the two waits
    applies, because servers that always send "1 s" are overloaded too. A Retry-After of more than one hour counts as
    one hour.
    """
    if isinstance(failure, errors.HttpStatusError) and (failure.elsewhere or (is_throttle(failure) and failure.of_all)):
        return 0.0  # control/throttle.py delays all calls, and waiting calls are admitted by priority
    if isinstance(failure, errors.ConnectionLost) and attempts == 1:
        return 0.0  # most likely an idle connection that the server closed just before this call
    retry_after = failure.retry_after if isinstance(failure, errors.HttpStatusError) else None
    backoff = rng.uniform(0, min(BACKOFF_MAX_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(attempts - 1, 30)))
    if retry_after is None:
        return backoff
    floor = min(retry_after, MAX_RETRY_AFTER_SECONDS)
    return max(backoff, floor + rng.uniform(0, min(0.1 * floor + 0.5, 5.0)))

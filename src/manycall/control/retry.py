"""What a failed call means (a table), and how long to wait before it is sent again.

Each kind of failure has its own budget of attempts, because they differ in what another one costs: a
refused connection costs nothing, a timed-out answer may have been paid for.
"""

import random
from typing import NamedTuple

from manycall import errors
from manycall.errors import Verdict

RETRY, GIVE_UP, STOP = Verdict.RETRY, Verdict.GIVE_UP, Verdict.STOP


class Rule(NamedTuple):
    """What to do about a kind of failure.

    Attributes:
        attempts: give the row up when this call was sent so often and failed in this way each time.
        only_at_first: STOP only while no call of the run has succeeded; later it is this row's own fault.
        of_key: STOP only this endpoint, or this key, while there is another.
    """

    verdict: Verdict
    attempts: int = 1
    only_at_first: bool = False
    of_key: bool = False


GONE = Rule(RETRY, 20)  # some six minutes of waiting: a large server takes some to start
# Bounded by time, in control/exhaustion.py. The attempts bound a call that is refused while others are answered.
THROTTLED_KEY = Rule(RETRY, 1000)
BUSY = Rule(RETRY, 100)  # nothing was done, nothing is paid: the better part of an hour
DOUBTFUL = Rule(RETRY, 4)  # each attempt may be billed
GARBLED = Rule(RETRY, 6)  # so may these, but it is soon seen; where one in twenty is, 4 would cost rows
POISON = Rule(GIVE_UP)
WRONG_SETUP = Rule(STOP, only_at_first=True)
WRONG_KEY = Rule(STOP, of_key=True)

BY_CLASS: dict[type[errors.CallFailed], Rule] = {
    errors.Untrusted: Rule(STOP),
    errors.NeverSent: GONE,
    errors.ConnectionLost: GONE,
    errors.TimedOut: DOUBTFUL,
    errors.ReplyBroken: GARBLED,
    errors.TooLong: POISON,
    errors.EmptyAnswer: DOUBTFUL,
    errors.OutOfTokens: POISON,
    errors.Filtered: POISON,
    errors.Declined: POISON,
    errors.BadReply: GARBLED,
}

BY_STATUS: dict[int, Rule] = {
    301: WRONG_SETUP,
    302: WRONG_SETUP,
    303: WRONG_SETUP,
    307: WRONG_SETUP,
    308: WRONG_SETUP,
    400: POISON,
    401: WRONG_KEY,
    402: WRONG_KEY,  # DeepSeek, OpenRouter: the balance is used up
    403: WRONG_SETUP,
    404: WRONG_SETUP,  # no such path, or no such model
    405: WRONG_SETUP,
    407: WRONG_SETUP,  # a proxy wants a password
    408: DOUBTFUL,
    409: BUSY,
    413: POISON,
    422: POISON,
    425: BUSY,
    429: BUSY,
    503: BUSY,
    529: BUSY,  # Anthropic: overloaded
}

BY_CODE: dict[str, Rule] = {  # a provider's own code says more than its status
    "insufficient_quota": WRONG_KEY,
    "billing_hard_limit_reached": WRONG_KEY,
    "invalid_api_key": WRONG_KEY,
    "model_not_found": WRONG_SETUP,
    "context_length_exceeded": POISON,
    "content_filter": POISON,
}

UNKNOWN_REFUSAL = Rule(GIVE_UP)
SERVER_FAULT = Rule(RETRY, 8)  # llama-server says 500 to what will never work, so not for ever


def rule(failure: errors.CallFailed) -> Rule:
    """The line of the table for this failure."""
    if isinstance(failure, errors.Refused):
        if failure.is_throttle:
            return THROTTLED_KEY
        default = SERVER_FAULT if failure.status >= 500 else UNKNOWN_REFUSAL
        return BY_CODE.get(failure.code) or BY_STATUS.get(failure.status) or default
    for kind in type(failure).__mro__:
        if kind in BY_CLASS:
            return BY_CLASS[kind]
    return POISON


def may_be_throttle(failure: errors.Refused) -> bool:
    """Whether some servers word a throttle like this, and others a used-up quota (see control/exhaustion.py)."""
    if failure.status == 402:
        return failure.retry_after is not None
    return failure.status == 429 and failure.code == "insufficient_quota"


def is_throttle(failure: errors.Refused) -> bool:
    """Whether the server asks for fewer calls."""
    return failure.is_throttle or (failure.status == 429 and not rule(failure).of_key)


# Nobody answers at all, and nobody ever did: the URL is wrong, or the server is not up. Say so soon.
UNREACHED_ATTEMPTS = 4


def judge(failure: errors.CallFailed, attempts: int, *, any_success: bool) -> Verdict:
    """What this failure of a call means.

    Args:
        attempts: how often the call has failed under this same rule, this time included.
        any_success: some call of this run (or of an earlier run of the same output) has succeeded.
    """
    found = rule(failure)
    if isinstance(failure, errors.Refused) and failure.elsewhere and attempts <= ELSEWHERE_ATTEMPTS:
        return RETRY
    if found.verdict is STOP:
        return GIVE_UP if found.only_at_first and any_success else STOP
    if found.verdict is RETRY:
        if isinstance(failure, errors.NeverSent) and not any_success:
            return RETRY if attempts < UNREACHED_ATTEMPTS else STOP
        return RETRY if attempts < found.attempts else GIVE_UP
    return found.verdict


ELSEWHERE_ATTEMPTS = 10
"""Of a call that one endpoint after the other turns away for reasons of its own."""
BASE_SECONDS = 0.5
CAP_SECONDS = 60.0
LONGEST_HINT_SECONDS = 3600.0


def may_hurry(failure: errors.CallFailed) -> bool:
    """Whether the wait is for the server to come back, and may end as soon as it answers somebody."""
    if isinstance(failure, errors.Refused):
        return failure.status >= 500 and failure.retry_after is None
    return isinstance(failure, errors.NeverSent | errors.ConnectionLost | errors.TimedOut)


def wait(failure: errors.CallFailed, attempts: int, rng: random.Random) -> float:
    """Seconds to wait before the next attempt, after `attempts` that failed: exponential backoff, full jitter.

    Uniform in [0, min(60, 0.5 · 2^(attempts-1))] ("Exponential Backoff And Jitter", M. Brooker, AWS
    Architecture Blog, 2015). Where the server said how long, that is a floor, to which up to a tenth (at most
    5 s, at least half a second) is added, so that the waiting do not come back all at once. The longer of the
    two counts: servers that always say "1 s" are crowded all the same. A hint of more than an hour counts as one.
    """
    if isinstance(failure, errors.Refused) and (failure.elsewhere or (is_throttle(failure) and failure.of_all)):
        return 0.0  # control/throttle.py says when anybody may go again, and who waits has its turn by age
    if isinstance(failure, errors.ConnectionLost) and attempts == 1:
        return 0.0  # most likely an idle connection that the server closed just as we used it
    hint = failure.retry_after if isinstance(failure, errors.Refused) else None
    backoff = rng.uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(attempts - 1, 30)))
    if hint is None:
        return backoff
    floor = min(hint, LONGEST_HINT_SECONDS)
    return max(backoff, floor + rng.uniform(0, min(0.1 * floor + 0.5, 5.0)))

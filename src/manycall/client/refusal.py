"""From a response without an answer to the failure of its attempt: what it means, what to wait for, what to do."""

from manycall import clock, errors
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_limits import SendTime
from manycall.control.retry import MAX_RETRY_AFTER_SECONDS, FailedAttempt, retry_after_seconds
from manycall.errors import FailureClass, HttpStatusError
from manycall.limits import DAY_SECONDS
from manycall.option_flags import option
from manycall.providers import quota_resets, rate_limit_headers
from manycall.providers.error_body import read_error_body
from manycall.providers.error_codes import classify, is_throttle, temporary_class
from manycall.providers.remedies import remedy
from manycall.transport.messages import HttpResponse

OVERLOAD_STATUSES = frozenset({498, 503, 529})
"""Statuses of a server that has too many calls in flight."""
DUE_TO_ROW_OR_OUTAGE = (FailureClass.SERVER_ERROR, FailureClass.BAD_SETUP)
"""What an error status means that may be due to its row."""
SHOULD_RETRY = {"true": True, "false": False}
"""Values of the header x-should-retry, which OpenAI and Anthropic send and their SDKs obey."""


def read_refusal(
    endpoint: Endpoint, response: HttpResponse, body: bytes, kind: type[HttpStatusError] = HttpStatusError
) -> HttpStatusError:
    """Return the error that a response with an error status reports.

    Args:
        body: the response's body, without keys.
        kind: class of the error.
    """
    read = read_error_body(body)
    message = read.message or "no reason given"
    if 300 <= response.status < 400:
        location = (response.header("location") or "").encode("utf-8", "replace")
        target = endpoint.redact(location, fragments=True).decode()
        message = f"the URL redirects to {target!r}. Use that address as {option('base_url')}"
    server_time = rate_limit_headers.server_time(response.header, clock.wall_time())
    return kind(
        f"{endpoint.url} returned status {response.status}: {message}",
        status=response.status,
        code=next(iter(read.codes), ""),
        retry_after=quota_resets.requested_wait(response.header, read, endpoint.provider.name, server_time),
        should_retry=SHOULD_RETRY.get((response.header("x-should-retry") or "").lower()),
        body=body,
    )


def assess_failure(endpoint: Endpoint, error: errors.CallError, sent: SendTime, now: float) -> FailedAttempt:
    """Return the failure of an attempt that was answered with an error, and inform the endpoint's limiters.

    Args:
        error: an error status, or the error in a response with status 200.
        sent: when the call was sent.
        now: when the response arrived.
    """
    failure_class = classify(error, endpoint.provider)
    if type(error) is errors.InvalidResponse:
        endpoint.record_no_completion(failure_class, now)
    if isinstance(error, HttpStatusError) and (temporary := temporary_class(error, failure_class)) is not None:
        is_bad_key = failure_class is FailureClass.BAD_KEY
        says_when = error.retry_after is not None and not is_bad_key
        if endpoint.exhaustion.is_temporary(now, says_when=says_when):
            failure_class = temporary
        else:
            failure_class = FailureClass.BAD_KEY if is_bad_key else FailureClass.OUT_OF_MONEY
            if (seconds := endpoint.exhaustion.seconds(now)) > 0:
                error = error.replace(f"{error} (no call with this key has succeeded for {seconds:.0f} s)")
    elif isinstance(error, HttpStatusError) and failure_class in DUE_TO_ROW_OR_OUTAGE and not error.possibly_billed:
        failure_class = endpoint.outage.judge(failure_class, endpoint.answers, now)
        if failure_class is FailureClass.GONE:
            error = error.replace(f"{error} (the last {endpoint.outage.refusals:,} attempts were all refused)")
    if failure_class is FailureClass.DAILY_QUOTA:
        return _out_of_quota(endpoint, error, now)
    delays_all = False
    if is_throttle(error, failure_class):
        wait = retry_after_seconds(error)
        wait = None if wait is None else min(wait, MAX_RETRY_AFTER_SECONDS)
        delays_all = endpoint.record_429(
            sent, now, wait, names_concurrency=failure_class is FailureClass.CONCURRENCY_LIMITED
        )
    elif isinstance(error, HttpStatusError) and error.status in OVERLOAD_STATUSES:
        endpoint.record_overload(now)
    key_source = endpoint.key_source if endpoint.key is not None else None
    advice = remedy(failure_class, endpoint.provider, key_source)
    return FailedAttempt(_advise(error, advice), failure_class, delays_all=delays_all)


def _out_of_quota(endpoint: Endpoint, error: errors.CallError, now: float) -> FailedAttempt:
    """Return the failure of an attempt for which a daily quota has no room, and pause the endpoint until its reset."""
    wall, name = clock.wall_time(), endpoint.provider.name
    wait = retry_after_seconds(error)
    wait = quota_resets.seconds_until_daily_reset(name, wall) if wait is None else min(wait, DAY_SECONDS)
    until = quota_resets.utc_minute(wall + wait)
    endpoint.pause(now + wait, f"the quota of its key is used up until {until}")
    error = error.replace(retry_after=wait) if isinstance(error, HttpStatusError) else error
    advice = remedy(FailureClass.DAILY_QUOTA, endpoint.provider, endpoint.key_source, until=until)
    return FailedAttempt(_advise(error, advice), FailureClass.DAILY_QUOTA, delays_all=True)


def _advise(error: errors.CallError, advice: str) -> errors.CallError:
    """Return the error with a sentence about what to do."""
    return error.replace(f"{str(error).rstrip('.。')}. {advice}") if advice else error

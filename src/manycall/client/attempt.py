"""One attempt: a single HTTP exchange with one endpoint. Send, redact, classify."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from manycall import clock
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint import Endpoint
from manycall.client.permit_group import PermitGroup
from manycall.control.retry import MAX_RETRY_AFTER_SECONDS, FailedAttempt
from manycall.errors import FailureClass, HttpStatusError, TransportError
from manycall.option_flags import option
from manycall.providers import rate_limit_headers
from manycall.providers.error_codes import classify, is_throttle, may_be_rate_limit, parse_error_body
from manycall.transport.messages import HttpRequest, HttpResponse, Transport


class Answered(NamedTuple):
    """A response with status 200: its body without keys, the endpoint that sent it, and the duration in seconds."""

    body: bytes
    endpoint: Endpoint
    seconds: float


class CallOwner(Protocol):
    """The job that a call belongs to: its permits and counters."""

    permits: PermitGroup
    counters: CallCounters


class Sender(Protocol):
    """Makes one attempt (`AttemptSender`), or also a second one if the first stalls (client/hedging.py)."""

    async def send(self, endpoint: Endpoint, call: EncodedCall, owner: CallOwner) -> Answered | FailedAttempt:
        """Send a call to an endpoint and wait for the response. The caller holds a permit for it."""
        ...


class AttemptSender:
    """Makes single attempts.

    Args:
        timeout: seconds for one attempt.
        on_recovery: called when an outage of an endpoint is over.
    """

    def __init__(self, transport: Transport, timeout: float, on_recovery: Callable[[], None]) -> None:
        self._transport, self._timeout, self._on_recovery = transport, timeout, on_recovery

    async def send(self, endpoint: Endpoint, call: EncodedCall, owner: CallOwner) -> Answered | FailedAttempt:
        """Send a call to an endpoint, and inform its limiters of the response."""
        owner.counters.record_attempt()
        sent = clock.now()
        try:
            response = await self._transport.send(
                HttpRequest(endpoint.api_url(call.api), call.body, endpoint.key, self._timeout)
            )
        except TransportError as error:
            endpoint.record_no_response(error, clock.now())
            return FailedAttempt(error.replace(f"{endpoint.url}: {error}"), classify(error))
        body = endpoint.redact(response.body, fragments=response.status != 200)  # it is written to disk
        now = clock.now()
        if endpoint.record_response(response, sent, now):
            self._on_recovery()
        if response.status != 200:
            return _refused(endpoint, response, body, sent, now)
        endpoint.record_success(now - sent)
        return Answered(body, endpoint, now - sent)


def _refused(endpoint: Endpoint, response: HttpResponse, body: bytes, sent: float, now: float) -> FailedAttempt:
    """Return the failure of an attempt whose response has another status than 200, and inform the limiters."""
    error = _status_error(endpoint, response, body)
    failure_class = classify(error)
    if may_be_rate_limit(error):
        if endpoint.exhaustion.is_throttle(now):
            failure_class = FailureClass.KEY_RATE_LIMITED
        elif (seconds := endpoint.exhaustion.seconds(now)) > 0:
            error = error.replace(f"{error} (no call with this key has succeeded for {seconds:.0f} s)")
    delays_all = False
    if is_throttle(error, failure_class):
        wait = None if error.retry_after is None else min(error.retry_after, MAX_RETRY_AFTER_SECONDS)
        delays_all = endpoint.record_429(sent, now, wait)
    elif response.status in (503, 529):
        endpoint.record_overload(now)
    return FailedAttempt(error, failure_class, delays_all=delays_all)


def _status_error(endpoint: Endpoint, response: HttpResponse, body: bytes) -> HttpStatusError:
    code, message = parse_error_body(body)
    message = message or "no reason given"
    if response.status == 401 and endpoint.key is None:
        message = f"{message.rstrip('.')}. No API key was sent; set OPENAI_API_KEY"
    if 300 <= response.status < 400:
        location = (response.header("location") or "").encode("utf-8", "replace")
        target = endpoint.redact(location, fragments=True).decode()
        message = f"the URL redirects to {target!r}. Use that address as {option('base_url')}"
    server_time = rate_limit_headers.server_time(response.header, clock.wall_time())
    return HttpStatusError(
        f"{endpoint.url} returned status {response.status}: {message}",
        status=response.status,
        code=code,
        retry_after=rate_limit_headers.parse_retry_after(response.header, server_time),
        body=body,
    )

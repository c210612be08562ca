"""One attempt: a single HTTP exchange with one endpoint. Send, redact, classify."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from manycall import clock
from manycall.client.call_counters import CallCounters
from manycall.client.call_history import EarlierAttempts
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_limits import SendTime
from manycall.client.permit_group import PermitGroup
from manycall.client.refusal import assess_failure, read_refusal
from manycall.client.stream_reader import StreamReader
from manycall.control.retry import FailedAttempt
from manycall.errors import (
    CallError,
    ErrorInStream,
    FailureClass,
    HttpStatusError,
    InvalidResponse,
    TransportError,
    UsageError,
)
from manycall.providers.error_codes import classify
from manycall.transport.messages import HttpResponse, Transport, no_header


class Answered(msgspec.Struct, frozen=True, gc=False):
    """A response with status 200.

    Attributes:
        body: the chat completion, without keys.
        endpoint: the endpoint that sent it.
        seconds: duration of the attempt.
        in_flight: number of calls in flight at the endpoint when the response arrived, including this one.
        ttft: seconds until the first event of a stream; None if the response was not streamed.
        earlier: the failed attempts of the call before this one; None if there were none.
    """

    body: bytes
    endpoint: Endpoint
    seconds: float
    in_flight: int
    ttft: float | None = None
    earlier: EarlierAttempts | None = None


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
        now: returns the time.
    """

    def __init__(
        self,
        transport: Transport,
        timeout: float,
        on_recovery: Callable[[], None],
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._transport, self._timeout, self._on_recovery, self._now = transport, timeout, on_recovery, now

    async def send(self, endpoint: Endpoint, call: EncodedCall, owner: CallOwner) -> Answered | FailedAttempt:
        """Send a call to an endpoint, and inform its limiters of the response."""
        try:
            prepared = endpoint.api.prepare(call, self._timeout)
        except UsageError as why:  # the API of this endpoint cannot express the call
            return FailedAttempt(CallError(str(why)), FailureClass.BAD_REQUEST)
        owner.counters.record_attempt()
        if endpoint.listener is not None:
            endpoint.listener.record_sent(call, prepared.reader, owner.counters)
        sent_at, others = self._now(), endpoint.in_flight - 1
        try:
            response = await self._transport.send(prepared.request)
            if prepared.translate is not None and response.status == 200:
                response = HttpResponse(200, prepared.translate(response.body), response.header)
        except TransportError as lost:
            endpoint.record_no_response(lost, self._now())
            return FailedAttempt(lost.replace(f"{endpoint.url}: {lost}"), classify(lost))
        except HttpStatusError as reported:  # in the body of a response with status 200
            response = HttpResponse(reported.status, reported.body, no_header)
        except InvalidResponse as invalid:
            return assess_failure(endpoint, _redacted(endpoint, invalid), SendTime(sent_at, others), self._now())
        reader, status = prepared.reader, response.status
        body = endpoint.redact(response.body, status != 200)  # it is written to disk
        now = self._now()
        if endpoint.record_response(response, sent_at, now):
            self._on_recovery()
        if status != 200:
            has_begun = reader is not None and reader.events > 0
            error = read_refusal(endpoint, response, body, ErrorInStream if has_begun else HttpStatusError)
            failure = assess_failure(endpoint, error, SendTime(sent_at, others), now)
            return failure._replace(adapted=_learn(endpoint, error, call, prepared.version))
        seconds = now - sent_at
        ttft = None if reader is None else _ttft(endpoint, reader, sent_at, seconds)
        return Answered(body, endpoint, seconds, endpoint.in_flight, ttft)


def _ttft(endpoint: Endpoint, reader: StreamReader, sent_at: float, seconds: float) -> float | None:
    """Return the seconds until the first event of a streamed response; None if it was not streamed."""
    if reader.first_event_at is None:
        return None
    ttft = reader.first_event_at - sent_at
    if endpoint.listener is not None:
        endpoint.listener.record_stream(ttft, seconds)
    return ttft


def _learn(endpoint: Endpoint, error: HttpStatusError, call: EncodedCall, version: int) -> bool:
    """Learn from a refusal which body the endpoint accepts. Return whether the call should be sent again at once."""
    adapter = endpoint.api.adapter
    before = adapter.version
    is_useful = adapter.learn(error, call, version)
    for change in adapter.changes[before:]:
        endpoint.note(clock.now(), change)
    return is_useful


def _redacted(endpoint: Endpoint, error: InvalidResponse) -> InvalidResponse:
    message = endpoint.redact(str(error).encode("utf-8", "replace"), fragments=True).decode("utf-8", "replace")
    body = endpoint.redact(error.body, fragments=True)
    return error.with_traceback(None).replace(message, body=body)

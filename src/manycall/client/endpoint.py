"""One endpoint: a server, a key, their limits and their health."""

from typing import Protocol

from manycall import clock
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint_api import EndpointApi
from manycall.client.endpoint_limits import EndpointLimits, WindowRange
from manycall.client.endpoint_settings import EndpointSettings
from manycall.client.stream_reader import StreamReader
from manycall.control.circuit_breaker import CircuitBreaker
from manycall.control.exhaustion import Exhaustion
from manycall.control.load_balance import MeanDuration
from manycall.control.outage import Outage
from manycall.control.retry import MAX_RETRY_AFTER_SECONDS
from manycall.control.window_opening import HOSTED, SELF_HOSTED, UNKNOWN_HOST, OpeningRule
from manycall.errors import AttemptTimeout, FailureClass, TransportError
from manycall.limits import CallCost, RateLimits
from manycall.providers import address
from manycall.providers.catalog import GENERIC
from manycall.providers.redact import redact_all
from manycall.providers.urls import is_loopback
from manycall.transport.messages import HttpResponse

HEALTHY_STATUSES = frozenset({400, 408, 409, 413, 422, 425, 429})
"""Error statuses that do not count as a failure of the server."""
SERVER_FAILURES = frozenset({FailureClass.MALFORMED, FailureClass.SERVER_ERROR, FailureClass.OVERLOADED})
"""Meanings of a response with status 200 but without a completion that count as a failure of the server."""
LOCAL_CANARY_SECONDS, CANARY_SECONDS, HOSTED_CANARY_SECONDS = 0.03, 0.1, 2.0
"""How long to wait for the first answer before more calls are sent: on this machine, in the local network, and for a
hosted API. An error response usually arrives sooner, and a round of calls takes longer than that."""
QUANTILE_STEP = 0.1


class FirstTokenListener(Protocol):
    """Finds out which calls the server has begun, while the window opens (client/opening_listener.py)."""

    def record_sent(self, call: EncodedCall, reader: StreamReader | None, counters: CallCounters) -> None:
        """Record that a call is sent. `reader` receives its response if it is streamed."""

    def record_stream(self, first_event_seconds: float, seconds: float) -> None:
        """Record when the first event of a streamed response arrived, and how long the response took."""

    def close(self) -> None:
        """Observe no more calls."""


class Endpoint(EndpointLimits):
    """One server and one key, with everything that limits the calls to them (see also `EndpointLimits`).

    Args:
        settings: the server and key as the user configured them. Endpoints without a key always allow hedging.
        api: how the endpoint is called.
        window: range of the concurrency window; None if the user fixed the concurrency (-j).

    Attributes:
        url: the base URL, which usually ends in /v1.
        name: the user's name for it, or its URL.
        key_source: what its key was read from.
        api: how the endpoint is called.
        provider: what is known about the server's API.
        redact: removes the key from a text (providers/redact.py).
        may_hedge: whether a stalled call may also be sent to another endpoint.
        mean_duration: of its calls; measured only if there are several endpoints.
        latency_p99: estimated 99th percentile of the duration in seconds; None before the first answer.
        health: the circuit breaker.
        exhaustion: whether a refusal of the key is final, for refusals that may also be temporary.
        outage: whether all calls are refused.
        listener: observes first tokens while the window opens; None afterwards.
        answers, errors: number of completions, with or without a usable answer, and of attempts without one.
        queue: calls in the server's queue when its metrics were last read; None if it publishes none.
    """

    def __init__(self, settings: EndpointSettings, api: EndpointApi, window: WindowRange | None = None) -> None:
        self.url, self.name, self.key = settings.url, settings.shown_name, settings.key
        self.key_source = settings.key_source
        self.api, self.provider = api, api.provider
        self.redact = redact_all([self.key, *api.secrets])
        self.may_hedge = settings.hedge or self.key is None
        self.answers = self.errors = 0
        self.queue: int | None = None
        self.mean_duration = MeanDuration()
        self.latency_p99: float | None = None
        self.listener: FirstTokenListener | None = None
        super().__init__(settings.limits, address.parse(self.url).host, window, self._opening_rule)
        self.health = CircuitBreaker(self.note)
        self.exhaustion = Exhaustion()
        self.outage = Outage()

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}, {self.in_flight} in flight>"

    def observe_with(self, listener: FirstTokenListener | None) -> None:
        """Let a listener observe the calls from now on; None: no listener."""
        self.listener = listener

    def mean_seconds(self, now: float) -> float | None:
        """Return the mean duration of a call in seconds, including the calls in flight; None if it is unknown."""
        return self.mean_duration.seconds(now)

    @property
    def looks_self_hosted(self) -> bool:
        """Whether the server seems to be self-hosted: it has no key, and no limits are configured or advertised."""
        return self.key is None and self.quota.limits == RateLimits()

    @property
    def is_hosted(self) -> bool:
        """Whether the endpoint seems to be a hosted API: it has a key and is called over https."""
        return self.key is not None and self.url.startswith("https:")

    @property
    def _opening_rule(self) -> OpeningRule:
        """How the window opens if no limit is configured."""
        if not self.is_hosted:
            return SELF_HOSTED
        return UNKNOWN_HOST if self.provider is GENERIC else HOSTED

    @property
    def canary_seconds(self) -> float:
        """Return how many seconds the first few calls are sent ahead of the others."""
        if is_loopback(self.url):
            return LOCAL_CANARY_SECONDS
        return HOSTED_CANARY_SECONDS if self.is_hosted else CANARY_SECONDS

    def may_count_tokens(self) -> bool:
        """Return whether the quota counts tokens, or may turn out to: hosted APIs advertise it with first answers."""
        return self.quota.counts_tokens or (self.key is not None and self._headers.may_still_appear)

    def is_ejected(self, now: float) -> bool:
        """Whether the endpoint is closed or ejected, so that calls should go to another endpoint."""
        return self.is_closed or self.health.is_ejected(now)

    def reserve(self, cost: CallCost, now: float) -> None:
        """Reserve capacity for a call, at a time that `earliest` permitted."""
        self.in_flight += 1
        self._last_cost = cost
        if self.quota.has_limits:
            self.quota.reserve(cost, now)
        self.throttle.record_sent(now)
        self.health.record_sent(now)
        if self.window is not None:
            self.window.record_sent(self.in_flight, now)
            if self.concurrency_limit.is_active:
                self.concurrency_limit.record_sent(self.in_flight, now)

    def cancel(self, cost: CallCost) -> None:
        """Give back what a call that was not sent has reserved in the limits. `release` returns its capacity."""
        self.quota.settle(cost, CallCost(0.0, 0.0))
        self.throttle.cancel()
        self.health.cancel_probe()

    def is_usable(self, now: float) -> bool:
        """Whether a call that another endpoint has refused may wait for this one."""
        return self.disabled_reason is None and self.throttle.earliest(now) <= now + MAX_RETRY_AFTER_SECONDS

    def release(self) -> None:
        """Return the capacity of a call that has ended."""
        self.in_flight -= 1

    def record_no_response(self, error: TransportError, now: float) -> None:
        """Record that an attempt brought no complete response."""
        self.errors += 1
        self.health.record_failure(now)
        if isinstance(error, AttemptTimeout):
            self.record_overload(now)

    def record_response(self, response: HttpResponse, sent: float, now: float) -> bool:
        """Record a response, before its status is judged. Return whether its error status ends an outage.

        If the status is 200, `record_success` or `record_no_completion` follows, once the body was read.
        """
        recovered, status = False, response.status
        if status != 200:
            self.errors += 1
            if status >= 500:
                self.health.record_failure(now)
            elif status in HEALTHY_STATUSES:
                recovered = self.health.record_success(sent, now)
        if self._headers.is_due(response, now):
            self._apply_advertised(response, sent, now)
        if self.refusals and self.concurrency_limit.is_active and self.concurrency_limit.update(self.in_flight, now):
            self._apply_concurrency_limit(now)
        return recovered

    def record_queue(self, calls: float) -> None:
        """Record how many calls wait in the server's queue."""
        self.queue = round(calls)

    def record_no_completion(self, meaning: FailureClass, now: float) -> None:
        """Record a response with status 200 that is not a completion: a web page, an error, a part of a response."""
        self.errors += 1
        if meaning in SERVER_FAILURES:
            self.health.record_failure(now)

    def record_success(self, seconds: float) -> bool:
        """Record a completion that arrived just now. Return whether it ends an outage.

        The estimate of the 99th percentile of the duration moves by one step (stochastic approximation: Robbins and
        Monro, 1951). The steps up and down balance when 1 % of the durations exceed the estimate.
        """
        self.answers += 1
        self.exhaustion.record_success()
        self.mean_duration.record_answer()
        if self.latency_p99 is None:
            self.latency_p99 = max(seconds, 0.001)
        else:
            self.latency_p99 *= 1 + QUANTILE_STEP * (0.99 if seconds > self.latency_p99 else -0.01)
        if not self.health.failure_rate:
            return False
        now = clock.now()
        return self.health.record_success(now - seconds, now)

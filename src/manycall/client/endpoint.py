"""One endpoint: a server, a key, and the limits known for them."""

import math
from collections import deque
from typing import NamedTuple, Protocol

from manycall import clock
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint_api import EndpointApi
from manycall.client.endpoint_settings import EndpointSettings
from manycall.client.limit_headers import AdvertisedLimitReader
from manycall.client.stream_reader import StreamReader
from manycall.control.circuit_breaker import CircuitBreaker
from manycall.control.concurrency_limit import ConcurrencyLimit
from manycall.control.concurrency_window import MIN_UTILIZATION, ConcurrencyWindow
from manycall.control.exhaustion import Exhaustion
from manycall.control.load_balance import MeanDuration
from manycall.control.quota import Quota
from manycall.control.regression import MonitorInterval
from manycall.control.retry import MAX_RETRY_AFTER_SECONDS
from manycall.control.throttle import Throttle
from manycall.control.window_opening import HOSTED, SELF_HOSTED, UNKNOWN_HOST, OpeningRule
from manycall.errors import AttemptTimeout, TransportError
from manycall.limits import CallCost, RateLimits
from manycall.providers import address, rate_limit_headers
from manycall.providers.catalog import GENERIC
from manycall.providers.redact import redact_all
from manycall.providers.urls import is_loopback
from manycall.transport.messages import HttpResponse

HEALTHY_STATUSES = frozenset({200, 400, 408, 409, 413, 422, 425, 429})
"""Statuses that do not count as a failure of the server."""
LOCAL_CANARY_SECONDS, CANARY_SECONDS, HOSTED_CANARY_SECONDS = 0.03, 0.1, 2.0
"""How long to wait for the first answer before more calls are sent: on this machine, in the local network, and for a
hosted API. An error response usually arrives sooner, and a round of calls takes longer than that."""
MAX_RESET_PAUSE_SECONDS = 1.0
"""Longest pause when the headers report 0 remaining calls, unless the server also refuses a call. The reset time in the
headers may be the moment at which the whole quota is available again, which is later than the next permitted call."""
ASSUMED_CALL_SECONDS = 10.0
"""Assumed duration of a call. With a known quota, 10 seconds' worth of calls may be in flight from the start."""
QUANTILE_STEP = 0.1
MAX_OPENING_CONFIGURED, MAX_OPENING_ADVERTISED = 256, 64
"""Upper limits of that number of calls for a configured and for an advertised quota."""
MAX_PACED_SECONDS = 2.0
"""The quota counts as the limiting factor for 2 seconds after a call had to wait for it."""
AT_CAPACITY = "server at capacity"
"""`limiting_factor` of an endpoint whose window has reached the knee."""


class EndpointEvent(NamedTuple):
    """A change of the endpoint's state, with its reason, for the timeline."""

    at: float
    what: str


class SendTime(NamedTuple):
    """When a call was sent, and the number of other calls that were in flight at the endpoint."""

    at: float
    others: int


class WindowRange(NamedTuple):
    """Size of a concurrency window at the start, its maximum, and the knee that an earlier run has found, if any."""

    initial: int
    maximum: int
    cached_knee: int | None = None


class FirstTokenListener(Protocol):
    """Finds out which calls the server has begun, while the window opens (client/opening_listener.py)."""

    def record_sent(self, call: EncodedCall, reader: StreamReader | None, counters: CallCounters) -> None:
        """Record that a call is sent. `reader` receives its response if it is streamed."""

    def record_stream(self, first_event_seconds: float, seconds: float) -> None:
        """Record when the first event of a streamed response arrived, and how long the response took."""

    def close(self) -> None:
        """Observe no more calls."""


class Endpoint:
    """One server and one key, with everything that limits the calls to them.

    Args:
        settings: the server and key as the user configured them. Endpoints without a key always allow hedging.
        api: how the endpoint is called.
        window: range of the concurrency window; None if the user fixed the concurrency (-j).

    Attributes:
        url: the base URL, which usually ends in /v1.
        name: the user's name for it, or its URL.
        api: how the endpoint is called.
        provider: what is known about the server's API.
        redact: removes the key from a text (providers/redact.py).
        may_hedge: whether a stalled call may also be sent to another endpoint.
        in_flight: number of calls in flight.
        mean_duration: of its calls; measured only if there are several endpoints.
        latency_p99: estimated 99th percentile of the duration in seconds; None before the first answer.
        events: changes of state since the timeline was last written.
        quota: configured and advertised limits.
        throttle: the rate limit learned from 429s.
        concurrency_limit: the limit of concurrent calls learned from 429s; not used without a window.
        window: the concurrency window; None if there is none.
        health: the circuit breaker.
        exhaustion: whether the key's quota is used up, for refusals that do not state it.
        disabled_reason: why no more calls are sent to the endpoint; None while it is in use.
        paced_at: when a call last had to wait for the quota or the throttle.
        cached_knee: the knee that an earlier run has found; None if there is none.
        listener: observes first tokens while the window opens; None afterwards.
        answers, errors: number of responses with status 200, and of attempts without one.
        queue: calls in the server's queue when its metrics were last read; None if it publishes none.
    """

    def __init__(self, settings: EndpointSettings, api: EndpointApi, window: WindowRange | None = None) -> None:
        self.url, self.name, self.key = settings.url, settings.name or settings.url, settings.key
        self.api, self.provider = api, api.provider
        self.redact = redact_all([self.key, *api.secrets])
        self.may_hedge = settings.hedge or self.key is None
        self.in_flight = self.answers = self.errors = 0
        self.queue: int | None = None
        self.mean_duration = MeanDuration()
        self.latency_p99: float | None = None
        self.events: deque[EndpointEvent] = deque(maxlen=1000)
        self.quota = Quota(settings.limits)
        self.throttle = Throttle(self.note)
        self.concurrency_limit = ConcurrencyLimit(self.note)
        self.window = None
        self.listener: FirstTokenListener | None = None
        self.cached_knee = None if window is None else window.cached_knee
        if window is not None:
            rule = None if settings.limits != RateLimits() else self._opening_rule
            self.window = ConcurrencyWindow(window.initial, window.maximum, self.note, rule)
        self.health = CircuitBreaker(self.note)
        self.exhaustion = Exhaustion()
        self.disabled_reason: str | None = None
        self.paced_at = -math.inf
        self._learned = False
        self._headers = AdvertisedLimitReader(address.parse(self.url).host)
        if self.window is not None:
            self.open_window_to_quota(clock.now(), MAX_OPENING_CONFIGURED)

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}, {self.in_flight} in flight>"

    def note(self, now: float, what: str) -> None:
        """Record a change of state."""
        self.events.append(EndpointEvent(now, what))

    def observe_with(self, listener: FirstTokenListener | None) -> None:
        """Let a listener observe the calls from now on; None: no listener."""
        self.listener = listener

    @property
    def load(self) -> float:
        """Calls in flight per permitted call; without a window, the number of calls in flight."""
        return self.in_flight / self.window.size if self.window is not None else self.in_flight

    def mean_seconds(self, now: float) -> float | None:
        """Return the mean duration of a call in seconds, including the calls in flight; None if it is unknown."""
        return self.mean_duration.seconds(now)

    @property
    def knee(self) -> int | None:
        """Return the concurrency at which the server saturates; None until it is found."""
        return self.window.size if self.window is not None and self.window.knee_found else None

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

    @property
    def reserves_max_tokens(self) -> bool:
        """Whether max_tokens counts against the quota: it does at OpenAI. It is also the safe assumption by default."""
        return self._headers.reserves_max_tokens

    @property
    def may_count_tokens(self) -> bool:
        """Whether the quota counts tokens, or may turn out to: hosted APIs advertise it with their first answers."""
        return self.quota.counts_tokens or (self.key is not None and self._headers.may_still_appear)

    def is_ejected(self, now: float) -> bool:
        """Whether the endpoint is disabled or ejected, so that calls should go to another endpoint."""
        return self.disabled_reason is not None or self.health.is_ejected(now)

    def earliest(self, cost: CallCost, now: float) -> float:
        """Return the earliest time at which a call may be sent; inf if another call must finish first."""
        room = self.window.earliest(self.in_flight, now) if self.window is not None else -math.inf
        if room == math.inf or self.disabled_reason is not None:
            return math.inf
        if self.concurrency_limit.size is not None:
            room = max(room, self.concurrency_limit.earliest(self.in_flight))
        quota = self.quota.earliest(cost) if self.quota.has_limits else -math.inf
        throttle = self.throttle.earliest(now)
        if max(quota, throttle) > max(now, room):
            self.paced_at, self._learned = now, throttle > quota
            if self.window is not None and self._learned and self.throttle.rate is not None:
                self.window.step_aside(now)
        return max(room, quota, throttle)

    def reserve(self, cost: CallCost, now: float) -> None:
        """Reserve capacity for a call, at a time that `earliest` permitted."""
        self.in_flight += 1
        if self.quota.has_limits:
            self.quota.reserve(cost, now)
        self.throttle.record_sent(now)
        self.health.record_sent(now)
        if self.window is not None:
            self.window.record_sent(self.in_flight, now)
            if self.concurrency_limit.is_active:
                self.concurrency_limit.record_sent(self.in_flight, now)

    def open_window_to_quota(self, now: float, max_calls: int) -> None:
        """Open the window at once, so that a known quota paces the calls instead of a window that opens gradually.

        Args:
            max_calls: upper limit for the window, because a small server may have a generous quota.
        """
        if self.window is not None and (calls := self.quota.calls_within(ASSUMED_CALL_SECONDS)) < math.inf:
            self.window.open_to(min(calls, max_calls), now)

    def cancel(self, cost: CallCost) -> None:
        """Give back what a call that was not sent has reserved in the limits. `release` returns its capacity."""
        self.quota.settle(cost, CallCost(0.0, 0.0))
        self.throttle.cancel()
        self.health.cancel_probe()

    def disable(self, why: str) -> None:
        """Send no more calls to the endpoint, because its key was refused or its balance is used up."""
        self.disabled_reason = why
        self.note(clock.now(), f"no more calls: {why}")

    def pause(self, until: float, why: str) -> None:
        """Send no calls to the endpoint until then, because a quota of its key is used up."""
        if self.throttle.earliest(clock.now()) < until - 1.0:  # not one line for each call in flight
            self.note(clock.now(), f"no calls: {why}")
        self.throttle.pause_until(until)

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
        """Record a response, before its status is judged. Return whether it ends an outage."""
        recovered = False
        if response.status != 200:
            self.errors += 1
        if response.status >= 500:
            self.health.record_failure(now)
        elif response.status in HEALTHY_STATUSES:
            recovered = self.health.record_success(sent, now)
        if self._headers.is_due(response, now):
            self._apply_advertised(response, now)
        if self.concurrency_limit.is_active and self.concurrency_limit.update(self.in_flight, now):
            self._apply_concurrency_limit(now)
        return recovered

    def record_success(self, seconds: float) -> None:
        """Record a response with status 200.

        The estimate of the 99th percentile of the duration moves by one step (stochastic approximation: Robbins and
        Monro, 1951). The steps up and down balance when 1 % of the durations exceed the estimate.
        """
        self.answers += 1
        self.exhaustion.succeeded()
        self.mean_duration.record_answer()
        if self.latency_p99 is None:
            self.latency_p99 = max(seconds, 0.001)
        else:
            self.latency_p99 *= 1 + QUANTILE_STEP * (0.99 if seconds > self.latency_p99 else -0.01)

    def record_429(self, sent: SendTime, now: float, wait: float | None, *, names_concurrency: bool = False) -> bool:
        """Record a request to send fewer calls. Return whether it delays all calls to the endpoint.

        Args:
            sent: when the refused call was sent.
            now: current time.
            wait: seconds that the server asks the client to wait; None if it does not say.
            names_concurrency: the server says that too many calls are in flight.
        """
        limit = self.concurrency_limit
        if limit.size is None:
            delays_all = self.throttle.record_429(sent.at, now, wait, has_limit=self.quota.limits != RateLimits())
            if self.throttle.rate is None or self.window is None:
                return delays_all
        limit.record_429(sent.others, self.in_flight - 1, sent.at, now, names_concurrency=names_concurrency)
        self._apply_concurrency_limit(now)
        return limit.size is None

    def _apply_concurrency_limit(self, now: float) -> None:
        """Make a learned concurrency limit the window; without one, let the window step aside for the learned rate."""
        assert self.window is not None
        limit = self.concurrency_limit.size
        self.window.set_limit(limit, now)
        if limit is None:
            self.window.step_aside(now)
        else:
            self.throttle.reset()

    def record_answer(self, interval: MonitorInterval, seconds: float, tokens: int) -> bool:
        """Record a decoded answer to a call of this interval. Return whether the window may have grown."""
        assert self.window is not None
        size, is_opening = self.window.size, self.window.opening is not None
        self.window.record_answer(interval, seconds, tokens, clock.now(), self.in_flight)
        return is_opening or self.window.size > size

    def record_overload(self, now: float) -> None:
        """Record that the server has too many calls in flight."""
        if self.window is not None:
            self.window.record_overload(now)

    def _apply_advertised(self, response: HttpResponse, now: float) -> None:
        """Apply the limits in the response headers to the quota and the throttle."""
        limits = self._headers.read(response, now)
        if limits is None:
            return
        if (change := self.quota.apply_advertised(limits, now)) is not None:
            self.note(now, change)
            self.open_window_to_quota(now, MAX_OPENING_ADVERTISED)
        if (seconds := rate_limit_headers.reset_seconds(limits)) is not None:
            self.throttle.pause_until(now + min(seconds, MAX_RESET_PAUSE_SECONDS))

    def record_queue(self, calls: float) -> None:
        """Record how many calls wait in the server's queue."""
        self.queue = round(calls)

    def limiting_factor(self, now: float) -> str:
        """Return what limits the throughput: the server's capacity, a quota, 429s; "" if none of them does."""
        limit = self.concurrency_limit.size
        if limit is not None and self.in_flight >= MIN_UTILIZATION * limit:
            return f"concurrency limit {limit} (learned from 429)"
        if self.window is not None and self.in_flight >= MIN_UTILIZATION * self.window.size:
            return "" if self.knee is None else AT_CAPACITY
        if now - self.paced_at >= MAX_PACED_SECONDS:
            return ""
        if not self._learned:
            return f"quota {self.quota.limits}"
        rate = self.throttle.rate
        return "refusals (429)" if rate is None else f"learned quota {60 * rate:.0f} rpm"

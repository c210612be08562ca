"""One endpoint: a server, a key, and the limits known for them."""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from manycall import clock
from manycall.control import retry
from manycall.control.circuit_breaker import CircuitBreaker
from manycall.control.concurrency_window import MIN_UTILIZATION, ConcurrencyWindow
from manycall.control.exhaustion import Exhaustion
from manycall.control.quota import Quota
from manycall.control.throttle import Throttle
from manycall.errors import AttemptTimeout, HttpStatusError, ManycallError, TransportError
from manycall.limits import CallCost, RateLimits
from manycall.option_flags import option
from manycall.providers import address, openai, rate_limit_headers, server_metrics
from manycall.providers.error_codes import parse_error_body
from manycall.providers.rate_limit_dialects import find_dialect
from manycall.providers.redact import make_redactor
from manycall.providers.urls import is_loopback, normalize_base_url
from manycall.records import Api, Secret
from manycall.transport.messages import HttpRequest, HttpResponse, Transport

HEALTHY_STATUSES = frozenset({200, 400, 408, 409, 413, 422, 425, 429})
"""Statuses that do not count as a failure of the server."""
LOCAL_CANARY_SECONDS, CANARY_SECONDS, HOSTED_CANARY_SECONDS = 0.03, 0.1, 2.0
"""How long to wait for the first answer before more calls are sent: on this machine, in the local network, and for a
hosted API. An error response usually arrives sooner, and a round of calls takes longer than that."""
HEADER_CHECK_SECONDS, MAX_HEADER_CHECKS = 0.25, 8
"""Seconds between two checks of the response headers for limits. After 8 checks without limits, there are none."""
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
MAX_METRICS_FAILURES, METRICS_RETRY_SECONDS = 3, 60.0
"""After 3 polls of /metrics without usable metrics, wait 60 seconds before the next poll."""
AT_CAPACITY = "server at capacity"
"""`limiting_factor` of an endpoint whose window has reached the knee."""


class EndpointEvent(NamedTuple):
    """A change of the endpoint's state, with its reason, for the timeline."""

    at: float
    what: str


class AttemptResult(NamedTuple):
    """A response with status 200: its body, the endpoint that sent it, and the duration in seconds."""

    body: bytes
    by: "Endpoint"
    seconds: float


class Endpoint:
    """One server and one key.

    Args:
        hedge: a stalled call may also be sent to another endpoint, although both calls may be billed. Endpoints without
            a key always allow it.

    Attributes:
        url: the base URL, which usually ends in /v1.
        redact: removes the key from a text (providers/redact.py).
        may_hedge: whether a stalled call may also be sent to another endpoint.
        in_flight: number of calls in flight.
        latency_p99: estimated 99th percentile of the duration in seconds; None before the first answer.
        events: changes of state since the timeline was last written.
        quota: configured and advertised limits.
        throttle: the limit learned from 429s.
        window: the concurrency window; None if the user fixed the concurrency (-j).
        health: the circuit breaker.
        exhaustion: whether the key's quota is used up, for refusals that do not state it.
        disabled_reason: why no more calls are sent to the endpoint; None while it is in use.
        on_recovery: called when an outage is over.
        paced_at: when a call last had to wait for the quota or the throttle.
    """

    def __init__(
        self, url: str, key: Secret | None = None, limits: RateLimits | None = None, *, hedge: bool = False
    ) -> None:
        self.url = normalize_base_url(url)
        self.key = key
        self.redact = make_redactor(key)
        self.may_hedge = hedge or key is None
        self.in_flight = 0
        self.latency_p99: float | None = None
        self.events: deque[EndpointEvent] = deque(maxlen=1000)
        self.quota = Quota(limits or RateLimits())
        self.throttle = Throttle(self.note)
        self.window: ConcurrencyWindow | None = None
        self.health = CircuitBreaker(self.note)
        self.exhaustion = Exhaustion()
        self.disabled_reason: str | None = None
        self.on_recovery: Callable[[], None] = lambda: None
        self.paced_at = -math.inf
        self._learned = False
        self._urls: dict[Api, str] = {api: self.url + path for api, path in openai.API_PATHS.items()}
        parts = address.parse(self.url)
        self._host = parts.host
        # Only self-hosted servers publish their metrics without authentication. The key is never sent to /metrics.
        self._metrics_url = f"{parts.origin}/metrics" if parts.scheme == "http" or key is None else None
        self._dialect: rate_limit_headers.HeaderDialect | None = None
        self._checks_without_limits = 0
        self._advertises_limits = False  # limits that appear only in error responses may be made up
        self._next_header_check = self._next_metrics_poll = -math.inf
        self._metrics_failures = 0

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}, {self.in_flight} in flight>"

    def note(self, now: float, what: str) -> None:
        """Record a change of state."""
        self.events.append(EndpointEvent(now, what))

    @property
    def load(self) -> float:
        """Calls in flight per permitted call; without a window, the number of calls in flight."""
        return self.in_flight / self.window.size if self.window is not None else self.in_flight

    @property
    def knee(self) -> int | None:
        """Return the concurrency at which the server saturates; None until it is found."""
        return self.window.size if self.window is not None and self.window.knee_found else None

    @property
    def looks_self_hosted(self) -> bool:
        """Whether the server seems to be self-hosted: it has no key, and no limits are configured or advertised."""
        return self.key is None and self.quota.limits == RateLimits()

    @property
    def canary_seconds(self) -> float:
        """Return how many seconds the first few calls are sent ahead of the others."""
        if is_loopback(self.url):
            return LOCAL_CANARY_SECONDS
        hosted = self.key is not None and self.url.startswith("https:")
        return HOSTED_CANARY_SECONDS if hosted else CANARY_SECONDS

    @property
    def reserves_max_tokens(self) -> bool:
        """Whether max_tokens counts against the quota: it does at OpenAI. It is also the safe assumption by default."""
        return self._dialect is None or self._dialect.reserves_max_tokens

    @property
    def may_count_tokens(self) -> bool:
        """Whether the quota counts tokens, or may turn out to: hosted APIs advertise it with their first answers."""
        return self.quota.counts_tokens or (self.key is not None and self._checks_without_limits < MAX_HEADER_CHECKS)

    def rests(self, now: float) -> bool:
        """Whether the endpoint is disabled or ejected, so that calls should go to another endpoint."""
        return self.disabled_reason is not None or self.health.is_ejected(now)

    def earliest(self, cost: CallCost, now: float) -> float:
        """Return the earliest time at which a call may be sent; inf if another call must finish first."""
        room = self.window.earliest(self.in_flight, now) if self.window is not None else -math.inf
        if room == math.inf or self.disabled_reason is not None:
            return math.inf
        quota, throttle = self.quota.earliest(cost), self.throttle.earliest(now)
        if max(quota, throttle) > max(now, room):
            self.paced_at, self._learned = now, throttle > quota
        return max(room, quota, throttle)

    def reserve(self, cost: CallCost, now: float) -> None:
        """Reserve capacity for a call, at a time that `earliest` permitted."""
        self.in_flight += 1
        self.quota.reserve(cost, now)
        self.throttle.record_sent(now)
        self.health.record_sent(now)
        if self.window is not None:
            self.window.record_sent(self.in_flight, now)

    def open_window_to_quota(self, now: float, max_calls: int) -> None:
        """Open the window at once, so that a known quota paces the calls instead of a window that opens gradually.

        Args:
            max_calls: upper limit for the window, because a small server may have a generous quota.
        """
        if self.window is not None and (calls := self.quota.calls_within(ASSUMED_CALL_SECONDS)) < math.inf:
            self.window.open_to(min(calls, max_calls), now)

    def cancel(self, cost: CallCost) -> None:
        """Release the reservation of a call that was not sent."""
        self.in_flight -= 1
        self.quota.settle(cost, CallCost(0.0, 0.0))
        self.throttle.cancel()
        self.health.cancel_probe()

    def disable(self, why: str) -> None:
        """Send no more calls to the endpoint, because its key was refused or its balance is used up."""
        self.disabled_reason = why
        self.note(clock.now(), f"no more calls: {why}")

    async def send(self, transport: Transport, api: Api, body: bytes, timeout: float) -> AttemptResult:
        """Send one attempt.

        Raises:
            TransportError: there was no complete response.
            HttpStatusError: the response has a status other than 200.
        """
        sent = clock.now()
        try:
            reply = await transport.send(HttpRequest(self._urls[api], body, self.key, timeout))
        except TransportError as error:
            error.args = (f"{self.url}: {error}",)
            self.health.record_failure(now := clock.now())
            if isinstance(error, AttemptTimeout):
                self._record_overload(now)
            raise
        if (clean := self.redact(reply.body, fragments=reply.status != 200)) is not reply.body:  # it is written to disk
            reply = HttpResponse(reply.status, clean, reply.header)
        now = clock.now()
        if reply.status >= 500:
            self.health.record_failure(now)
        elif reply.status in HEALTHY_STATUSES and self.health.record_success(sent, now):
            self.on_recovery()
        if now >= self._next_header_check or reply.status == 429:
            self._read_limit_headers(reply, now)
        if reply.status != 200:
            raise self._status_error(reply, sent, now)
        self.exhaustion.succeeded()
        self._update_latency(now - sent)
        return AttemptResult(reply.body, self, now - sent)

    def _update_latency(self, seconds: float) -> None:
        """Move the estimate of the 99th percentile one step (stochastic approximation: Robbins and Monro, 1951).

        The steps up and down balance when 1 % of the durations exceed the estimate.
        """
        if self.latency_p99 is None:
            self.latency_p99 = max(seconds, 0.001)
        else:
            self.latency_p99 *= 1 + QUANTILE_STEP * (0.99 if seconds > self.latency_p99 else -0.01)

    def _record_overload(self, now: float) -> None:
        if self.window is not None:
            self.window.record_overload(now)

    def _status_error(self, reply: HttpResponse, sent: float, now: float) -> HttpStatusError:
        """Return the error of a response with a status other than 200, after informing the limiters."""
        code, message = parse_error_body(reply.body)
        message = message or "no reason given"
        if reply.status == 401 and self.key is None:
            message = f"{message.rstrip('.')}. No API key was sent; set OPENAI_API_KEY"
        if 300 <= reply.status < 400:
            target = self.redact((reply.header("location") or "").encode("utf-8", "replace"), fragments=True).decode()
            message = f"the URL redirects to {target!r}. Use that address as {option('base_url')}"
        wait = rate_limit_headers.parse_retry_after(
            reply.header, rate_limit_headers.server_time(reply.header, clock.wall_time())
        )
        error = HttpStatusError(
            f"{self.url} returned status {reply.status}: {message}",
            status=reply.status,
            code=code,
            retry_after=wait,
            body=reply.body,
        )
        if retry.may_be_throttle(error):
            self._classify_quota_error(error, now)
        if retry.is_throttle(error):
            wait = None if wait is None else min(wait, retry.MAX_RETRY_AFTER_SECONDS)
            error.of_all = self.throttle.record_429(sent, now, wait, has_limit=self.quota.limits != RateLimits())
        elif reply.status in (503, 529):
            self._record_overload(now)
        return error

    def _classify_quota_error(self, error: HttpStatusError, now: float) -> None:
        """Decide whether an error that may mean a rate limit or a used-up quota means a rate limit."""
        error.is_throttle = self.exhaustion.is_throttle(now)
        if not error.is_throttle and (seconds := self.exhaustion.seconds(now)) > 0:
            error.args = (f"{error} (no call with this key has succeeded for {seconds:.0f} s)",)

    def _read_limit_headers(self, reply: HttpResponse, now: float) -> None:
        """Apply the limits in the response headers to the quota and the throttle."""
        self._next_header_check = now + HEADER_CHECK_SECONDS
        if self._dialect is None:
            self._dialect = find_dialect(self._host, reply.header)
            if self._dialect is None:
                self._checks_without_limits += 1
                return
        limits = self._dialect.parse(reply.header, rate_limit_headers.server_time(reply.header, clock.wall_time()))
        self._advertises_limits = self._advertises_limits or (bool(limits) and reply.status != 429)
        if not self._advertises_limits:
            return
        if (change := self.quota.apply_advertised(limits, now)) is not None:
            self.note(now, change)
            self.open_window_to_quota(now, MAX_OPENING_ADVERTISED)
        if (seconds := rate_limit_headers.reset_seconds(limits)) is not None:
            self.throttle.pause_until(now + min(seconds, MAX_RESET_PAUSE_SECONDS))

    async def poll_metrics(self, transport: Transport, model: str) -> None:
        """Read the server's queue metrics, if it publishes any. Errors are ignored: the metrics are optional."""
        now = clock.now()
        if self.window is None or self._metrics_url is None or now < self._next_metrics_poll:
            return
        try:
            reply = await transport.send(HttpRequest(self._metrics_url, timeout=1.0, method="GET"))
            metrics = (
                server_metrics.parse_metrics(reply.body.decode("utf-8", "replace"), model)
                if reply.status == 200
                else None
            )
        except ManycallError:
            metrics = None
        now = clock.now()
        if metrics is not None:
            self._metrics_failures = 0
            self.window.update_from_metrics(metrics, self.in_flight, now)
            return
        self._metrics_failures += 1
        self.window.metrics_lost(now)
        if self._metrics_failures >= MAX_METRICS_FAILURES:
            self._next_metrics_poll = now + METRICS_RETRY_SECONDS

    def limiting_factor(self, now: float) -> str:
        """Return what limits the throughput: the server's capacity, a quota, 429s; "" if none of them does."""
        if self.window is not None and self.in_flight >= MIN_UTILIZATION * self.window.size:
            return "" if self.knee is None else AT_CAPACITY
        if now - self.paced_at >= MAX_PACED_SECONDS:
            return ""
        if not self._learned:
            return f"quota {self.quota.limits}"
        rate = self.throttle.rate
        return "refusals (429)" if rate is None else f"learned quota {60 * rate:.0f} rpm"

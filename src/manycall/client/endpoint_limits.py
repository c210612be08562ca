"""What limits the calls to one endpoint: its quotas, what 429s have taught, and its concurrency window."""

import math
from collections import deque
from typing import NamedTuple

import msgspec

from manycall import clock
from manycall.client.limit_headers import AdvertisedLimitReader
from manycall.control.concurrency_limit import ConcurrencyLimit
from manycall.control.concurrency_window import MIN_UTILIZATION, ConcurrencyWindow
from manycall.control.quota import Quota
from manycall.control.regression import MonitorInterval
from manycall.control.throttle import Throttle
from manycall.control.window_opening import OpeningRule
from manycall.limits import CallCost, RateLimits
from manycall.providers import rate_limit_headers
from manycall.transport.messages import HttpResponse

MAX_RESET_PAUSE_SECONDS = 1.0
"""Longest pause when the headers report 0 remaining calls, unless the server also refuses a call. The reset time in the
headers may be the moment at which the whole quota is available again, which is later than the next permitted call."""
ASSUMED_CALL_SECONDS = 10.0
"""Assumed duration of a call. With a known quota, 10 seconds' worth of calls may be in flight from the start."""
MAX_OPENING_CONFIGURED, MAX_OPENING_ADVERTISED = 256, 64
"""Upper limits of that number of calls for a configured and for an advertised quota."""
MAX_PACED_SECONDS = 2.0
"""The quota counts as the limiting factor for 2 seconds after a call had to wait for it."""
GROWN_SHARE = 1.5
"""If the share of a quota has grown by this factor since a rate was learned, the rate is learned anew."""
_NOW, _NEVER = -math.inf, math.inf
AT_CAPACITY = "server at capacity"
"""`limiting_factor` of an endpoint whose window has reached the knee."""


class EndpointEvent(NamedTuple):
    """A change of the endpoint's state, with its reason, for the timeline."""

    at: float
    what: str


class SendTime(msgspec.Struct, frozen=True, gc=False):
    """When a call was sent, and the number of other calls that were in flight at the endpoint."""

    at: float
    others: int


class WindowRange(NamedTuple):
    """Size of a concurrency window at the start (None: that of the endpoint's rule), its maximum, and the knee that an
    earlier run has found, if any."""

    initial: int | None
    maximum: int
    cached_knee: int | None = None


class EndpointLimits:
    """The limits of one endpoint: configured, advertised and learned.

    Args:
        limits: the limits that the user configured.
        host: host of the server, which determines how its rate-limit headers are read.
        window: range of the concurrency window; None if the user fixed the concurrency (-j).
        rule: how the window opens if no limit is configured.

    Attributes:
        in_flight: number of calls in flight.
        events: changes of state since the timeline was last written.
        quota: configured and advertised limits.
        throttle: the rate limit learned from 429s.
        concurrency_limit: the limit of concurrent calls learned from 429s; not used without a window.
        window: the concurrency window; None if there is none.
        disabled_reason: why no more calls are sent to the endpoint; None while it is in use.
        is_closed: whether this process sends no calls to it: it is disabled, or other processes use all of its limits.
        refusals: number of calls that the server has refused with 429.
        paced_at: when a call last had to wait for the quota or the throttle.
        cached_knee: the knee that an earlier run has found; None if there is none.
    """

    def __init__(self, limits: RateLimits, host: str, window: WindowRange | None, rule: OpeningRule) -> None:
        self.in_flight = 0
        self.events: deque[EndpointEvent] = deque(maxlen=1000)
        self.quota = Quota(limits)
        self.throttle = Throttle(self.note)
        self.concurrency_limit = ConcurrencyLimit(self.note)
        self.window = None
        self.disabled_reason: str | None = None
        self.is_closed = False
        self.refusals = 0
        self._measured_share = 1.0
        self.paced_at = -math.inf
        self.cached_knee = None if window is None else window.cached_knee
        self._learned = False
        self._last_cost = CallCost()
        self._hosted_cap = rule.cap if rule.is_hosted else 0
        self._headers = AdvertisedLimitReader(host)
        if window is not None:
            used_rule = None if limits != RateLimits() else rule
            self.window = ConcurrencyWindow(window.initial or rule.start, window.maximum, self.note, used_rule)
            self.open_window_to_quota(clock.now(), MAX_OPENING_CONFIGURED)

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
    def reserves_max_tokens(self) -> bool:
        """Whether max_tokens counts against the quota: it does at OpenAI. It is also the safe assumption by default."""
        return self._headers.reserves_max_tokens

    def earliest(self, cost: CallCost, now: float) -> float:
        """Return the earliest time at which a call may be sent; inf if another call must finish first."""
        room = self.window.earliest(self.in_flight, now) if self.window is not None else _NOW
        if room == _NEVER or self.is_closed:
            return _NEVER
        if self.concurrency_limit.size is not None:
            room = max(room, self.concurrency_limit.earliest(self.in_flight))
        quota = self.quota.earliest(cost) if self.quota.has_limits else _NOW
        throttle = self.throttle.earliest(now)
        paced = throttle if throttle > quota else quota
        if paced <= room:
            return room
        if paced > now:
            self.paced_at, self._learned = now, throttle > quota
            if self.window is not None and self._learned and self.throttle.rate is not None:
                self.window.step_aside(now)
        return paced

    def open_window_to_quota(self, now: float, max_calls: int) -> None:
        """Open the window at once, so that a known quota paces the calls instead of a window that opens gradually.

        Args:
            max_calls: upper limit for the window, because a small server may have a generous quota. At a hosted
                endpoint with a known number of calls per minute, it is that of an opening by the clock.
        """
        if self.window is not None and (calls := self.quota.calls_within(ASSUMED_CALL_SECONDS)) < math.inf:
            if self.quota.limits.rpm is not None:
                max_calls = max(max_calls, self._hosted_cap)
            self.window.open_to(min(calls, max_calls), now)

    def disable(self, why: str) -> None:
        """Send no more calls to the endpoint, because its key was refused or its balance is used up."""
        self.disabled_reason, self.is_closed = why, True
        self.note(clock.now(), f"no more calls: {why}")

    def set_share(self, share: float, now: float) -> None:
        """Use only this share of the quota; other processes use the rest. Send no calls while it is 0."""
        self.is_closed = self.disabled_reason is not None or share <= 0
        if share > 0:
            self.quota.set_share(share, now)
        if not self._measured_share <= share < GROWN_SHARE * self._measured_share:
            if share > self._measured_share:
                self.throttle.measure_again(now)
            self._measured_share = share

    def pause(self, until: float, why: str) -> None:
        """Send no calls to the endpoint until then, because a quota of its key is used up."""
        if self.throttle.earliest(clock.now()) < until - 1.0:  # not one line for each call in flight
            self.note(clock.now(), f"no calls: {why}")
        self.throttle.pause_until(until)

    def record_429(self, sent: SendTime, now: float, wait: float | None, *, names_concurrency: bool = False) -> bool:
        """Record a request to send fewer calls. Return whether it delays all calls to the endpoint.

        Args:
            sent: when the refused call was sent.
            now: current time.
            wait: seconds that the server asks the client to wait; None if it does not say.
            names_concurrency: the server says that too many calls are in flight.
        """
        self.refusals += 1
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

    def record_answer(self, interval: MonitorInterval, seconds: float, tokens: int, in_flight: int) -> bool:
        """Record a decoded answer to a call of this interval. Return whether the window may have grown.

        Args:
            in_flight: number of calls that were in flight when the answer arrived, including this one.
        """
        assert self.window is not None
        size, is_opening = self.window.size, self.window.opening is not None
        self.window.record_answer(interval, seconds, tokens, clock.now(), in_flight)
        return is_opening or self.window.size > size

    def record_overload(self, now: float) -> None:
        """Record that the server has too many calls in flight."""
        if self.window is not None:
            self.window.record_overload(now)

    def _apply_advertised(self, response: HttpResponse, sent: float, now: float) -> None:
        """Apply the limits in the response headers to the quota and the throttle."""
        limits = self._headers.read(response, now)
        if limits is None:
            return
        calls = self.throttle.sent_since(sent, now)
        later = CallCost(calls, calls * self._last_cost.tokens)
        change = self.quota.apply_advertised(limits, now, sent, later)
        if response.status == 429:
            change = self.quota.record_refusal(limits, now) or change
        if change is not None:
            self.note(now, change)
            if not self.quota.permits_bursts:
                self.open_window_to_quota(now, MAX_OPENING_ADVERTISED)
        if (seconds := rate_limit_headers.reset_seconds(limits)) is not None:
            self.throttle.pause_until(now + min(seconds, MAX_RESET_PAUSE_SECONDS))

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

"""Find the best number of concurrent calls for a server that never refuses a call.

Up to the server's saturation point (the knee), more concurrent calls give more answers per second. Beyond it, the calls
only wait for each other. Therefore the window doubles while throughput grows, and then stays there, with an occasional
step up or down to find out whether the knee has moved. Two quantities are estimated from the answers of one monitor
interval (the calls started since the last change of the window):

* The throughput. By Little's law, N calls in flight that take L seconds each give N / L answers per second. L is the
  latency of an answer of average length. It is read from a line fitted through the latencies (seconds against output
  tokens), because the first answers of an interval are the short ones.
* The queue. At zero tokens, the line gives the time that a call waits before its first token. The excess over the
  smallest value ever measured is the time in the server's queue. Its share of L is the share of the calls that queue.

If the server publishes metrics (providers/server_metrics.py), they report the queue directly and without noise.

This module keeps the state and the timing. What an interval means for the size is decided in control/knee_search.py.
"""

import math
from collections.abc import Callable

from manycall.control import knee_search
from manycall.control.knee_search import Observation, Phase, Resize
from manycall.control.regression import LatencyFit, MonitorInterval
from manycall.limits import ServerLoad

NoteChange = Callable[[float, str], None]
"""Callback that takes the time and the description of a change."""

INITIAL_WINDOW = 8
MAX_WINDOW = 8192
MIN_UTILIZATION = 0.8
"""Share of the window that must have been in use before it is evaluated. Below it, the number of rows, a quota or this
machine is the limit."""
OPENING_SECONDS = 1.0
"""Time over which an enlarged window opens gradually, so that an unknown quota refuses only a few calls."""
MIN_ANSWERS, MIN_ANSWERS_SLOW_START = 64, 16
"""Answers needed to estimate the latency; fewer in slow start, so that the window does not overshoot."""
OVERLOAD_SHARE, OVERLOAD_FACTOR, COOLDOWN_SECONDS = 0.02, 0.7, 15.0
"""If more than this share of the calls fails because of overload, the window is multiplied by the factor and then left
unchanged for the cooldown."""


class ConcurrencyWindow:
    """The concurrency window of one endpoint.

    Args:
        size: initial size. If the size of an earlier run is known, half of it.
        max_size: largest size permitted (by file descriptors and memory).
        note: called with the time and a description of every change.

    Attributes:
        size: number of calls that may be in flight.
        max_size: the largest size.
        interval: monitor interval of a call that starts now; it must be passed to `record_answer`.
        knee_found: whether the knee has been found.
        client_bound: whether this machine limits the calls; the window is then not evaluated.
    """

    def __init__(
        self, size: int = INITIAL_WINDOW, max_size: int = MAX_WINDOW, note: NoteChange = lambda now, why: None
    ) -> None:
        self.size = max(1, min(size, max_size))
        self.max_size = max_size
        self.knee_found = False
        self.client_bound = False
        self._note = note
        self._opening = (0.0, 0.0, 0)  # start time, duration, size before
        self._tokens, self._answers = 0.0, 0  # moving average of the answer length, number of answers
        self._min_intercept: float | None = None  # seconds before the first token, without a queue
        self._previous: tuple[int, LatencyFit] | None = None  # the window to compare with, and its latencies
        self._phase = Phase.SLOW_START
        self._intervals_waited, self._probe_interval, self._direction = 0, 1, 1
        self._last_queue = 0.0
        self._queue_streak = 0  # consecutive metrics with a long queue; negative: with none
        self._finished, self._overloads, self._overload_counted_from, self._cooldown_until = 0, 0, 0.0, float("-inf")
        self._growth_paused_until = -math.inf
        self._settled_at = math.inf  # after a probe, calls count from this time on
        self.interval = MonitorInterval(0.0)

    def __repr__(self) -> str:
        return f"<ConcurrencyWindow {self.size}, {self._phase.value}>"

    def set_client_bound(self, is_bound: bool) -> None:
        """Record whether this machine limits the calls."""
        self.client_bound = is_bound

    def earliest(self, in_flight: int, now: float) -> float:
        """Return the earliest time at which another call may start; inf if a call must finish first."""
        if in_flight >= self.size:
            return math.inf
        start, seconds, old_size = self._opening
        if in_flight < old_size or now >= start + seconds:
            return -math.inf
        return start + seconds * (in_flight + 1 - old_size) / (self.size - old_size)

    def record_sent(self, in_flight: int, now: float) -> None:
        """Record that a call starts; `in_flight` includes it."""
        if now >= self._settled_at:
            self._settled_at = math.inf
            self._begin(now)
        self.interval.record_in_flight(in_flight)

    def record_answer(self, interval: MonitorInterval, seconds: float, tokens: int, now: float) -> None:
        """Record the latency and the output tokens of a call that started in the given interval."""
        self._answers += 1
        self._tokens += max(0.002, 1 / self._answers) * (tokens - self._tokens)
        self._finished += 1
        if interval is not self.interval or self._settled_at < math.inf:
            return
        interval.add(tokens, seconds)
        if interval.count < self._needed or interval.count & 7 or now < self._cooldown_until:
            return
        if interval.peak < MIN_UTILIZATION * self.size or self.client_bound:
            self._begin(now)
            return
        line = interval.fit()
        if line.seconds_per_token == 0.0 and interval.count < 1.2 * self.size:
            return  # answers of equal length arrive in waves, and the first wave did not queue
        seen = self._observe(line)
        if interval.count < max(400, 4 * self.size) and not knee_search.is_conclusive(seen):
            return
        if self._phase is Phase.DOUBLING:
            self._grow(2 * self.size, line, now)  # between two updates from metrics
        elif self._phase is not Phase.METRICS_DRIVEN:  # else the next metrics contain the effect of these answers
            self._evaluate(line, now)

    @property
    def _needed(self) -> float:
        """Number of answers after which an interval is evaluated."""
        if self._starting:
            return max(16.0, self.size / 3)
        return max(min(64.0, 8.0 + 8.0 * self.size), 0.7 * self.size)

    @property
    def _starting(self) -> bool:
        return self._phase in (Phase.SLOW_START, Phase.DOUBLING)

    def _observe(self, line: LatencyFit, queue: float | None = None) -> Observation:
        seen = Observation(
            self.size, self.max_size, self._phase, self._probe_interval, self._intervals_waited, self._direction,
            queue=queue,
        )  # fmt: skip
        if self._previous is None or self._previous[0] == self.size:
            return seen
        compared = self.size, line, self._previous, self._tokens
        return seen._replace(
            previous_size=self._previous[0],
            elasticity=knee_search.elasticity(*compared),
            elasticity_stderr=knee_search.elasticity_stderr(*compared),
        )

    def _evaluate(self, line: LatencyFit, now: float) -> None:
        """Resize the window, or keep it, at the end of an interval with these latencies."""
        queue = self._queue(line) if self._phase is not Phase.STEPPED_DOWN else None  # there, only throughput counts
        if self._phase is Phase.STEADY:
            self._previous = (self.size, line)
            self._intervals_waited += 1
            if queue == 0.0 and self._last_queue > knee_search.MIN_QUEUE_SHARE:
                self._probe_interval = 1  # the server has become faster
            self._last_queue = queue or 0.0
        resize = knee_search.after_interval(self._observe(line, queue))
        if resize is None:
            self._begin(now)
            return
        if self._phase is Phase.STEADY and queue is None:
            self._direction = 1 if resize.phase is Phase.STEPPED_UP else -1
        self._apply(resize, line, now)

    def _apply(self, resize: Resize, line: LatencyFit, now: float) -> None:
        if resize.phase is Phase.STEADY:
            self.knee_found = True
            self._intervals_waited = 0
        else:
            self._previous = (self.size, line)
        self._phase, self._probe_interval = resize.phase, resize.probe_interval
        self._resize(resize.size, resize.reason, now)
        self._begin(now)
        if resize.phase in (Phase.STEPPED_UP, Phase.STEPPED_DOWN):
            self._settled_at = now + line.predict(self._tokens)  # until then, calls of the old size are in flight

    def _queue(self, line: LatencyFit) -> float | None:
        """Return the share of the calls that queue at the server; None if all answers are about equally long."""
        if line.seconds_per_token == 0.0:
            return None
        if self._min_intercept is None or line.intercept < self._min_intercept:
            self._min_intercept = line.intercept
        return knee_search.queue_share(line, self._min_intercept, self._tokens)

    def _resize(self, size: float, why: str, now: float) -> None:
        new, old = max(1, min(self.max_size, round(size))), self.size
        if new == old:
            return
        quarter_latency = self.interval.fit().predict(self._tokens) / 4 if self.interval.count else OPENING_SECONDS
        self._opening = (now, min(OPENING_SECONDS, quarter_latency) if new > old else 0.0, old)
        self.size = new
        self._note(now, f"window {old} → {new}" + (f": {why}" if why else ""))

    def _begin(self, now: float) -> None:
        """Start a new interval. Calls already in flight belong to the previous one."""
        self.interval = MonitorInterval(now)

    def open_to(self, calls: float, now: float) -> None:
        """Enlarge the window in one step, to the number of calls that a known quota permits during one call."""
        if not self.knee_found and calls > self.size:
            self._resize(calls, "rate limit known", now)
            self._begin(now)

    def record_overload(self, now: float) -> None:
        """Record a call that failed because of overload: status 503 or 529, or a timeout."""
        if now - self._overload_counted_from > 10:
            self._finished, self._overloads, self._overload_counted_from = 0, 0, now
        self._overloads += 1
        if not self._finished or now < self._cooldown_until:
            return  # the server answers no call at all: an outage, which does not show how much it can handle
        if self._overloads >= 3 and self._overloads > OVERLOAD_SHARE * self._finished:
            self._cooldown_until = now + COOLDOWN_SECONDS
            self._finished, self._overloads = 0, 0
            self._resize(OVERLOAD_FACTOR * self.size, "server overloaded", now)
            self._restart(now)

    def _restart(self, now: float) -> None:
        """Search for the knee again, starting at the current size."""
        self._phase, self._previous, self._probe_interval = Phase.SLOW_START, None, 1
        self._settled_at = math.inf
        self._begin(now)

    def metrics_lost(self, now: float) -> None:
        """Return to estimating from latencies, because the server's metrics are no longer available."""
        if self._phase is Phase.DOUBLING:
            self._restart(now)
        elif self._phase is Phase.METRICS_DRIVEN:
            self._phase, self._previous, self._intervals_waited = Phase.STEADY, None, 0
            self._begin(now)

    def update_from_metrics(self, load: ServerLoad, in_flight: int, now: float) -> None:
        """Update the window from the server's metrics, once every one or two seconds.

        After the first call, only the metrics control the window.
        """
        starting = self._starting
        self._phase = Phase.DOUBLING if starting else Phase.METRICS_DRIVEN
        if in_flight < MIN_UTILIZATION * self.size or now < self._cooldown_until or self.client_bound:
            return
        if load.waiting <= 0:
            self._queue_streak = min(0, self._queue_streak) - 1
            if not starting or now - self.interval.began >= 1.0:
                factor = knee_search.growth_factor(starting, -self._queue_streak)
                self._grow(factor * self.size + 1, self.interval.fit(), now)
            return
        self._phase, self._previous = Phase.METRICS_DRIVEN, None
        self.knee_found = True
        self._queue_streak = max(0, self._queue_streak) + 1 if knee_search.has_long_queue(load) else 0
        if self._queue_streak >= (1 if starting else 2):
            self._queue_streak = 0
            resize = knee_search.after_queue(load, in_flight)
            self._resize(resize.size, resize.reason, now)

    def _grow(self, size: float, line: LatencyFit, now: float) -> None:
        """Enlarge the window, because no call queues at the server; reduce it if that did not increase throughput."""
        if now < self._growth_paused_until:
            return
        is_measured = line.answers >= (MIN_ANSWERS_SLOW_START if self._phase is Phase.DOUBLING else MIN_ANSWERS)
        seen = self._observe(line)
        resize = knee_search.after_no_queue(seen, size, is_measured)
        if resize.size < self.size:
            self._growth_paused_until = now + resize.probe_interval
            self._queue_streak, self._previous = 0, None
        elif self._previous is None or self._previous[0] > self.size:
            self._previous = (self.size, line) if is_measured else None
        elif is_measured and knee_search.is_comparable(seen):
            self._previous = (self.size, line)
        self._phase, self._probe_interval = resize.phase, resize.probe_interval
        self._resize(resize.size, resize.reason, now)
        self._begin(now)

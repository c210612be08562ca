"""Find the best number of concurrent calls for a server that never refuses a call.

Up to the server's saturation point (the knee), more concurrent calls give more answers per second. Beyond it, the calls
only wait for each other. A window opens by the clock and by first tokens (control/window_opening.py). It then stays at
the knee, with an occasional step up or down to find out whether the knee has moved. If the opening ends without a knee,
or if the user configured a rate limit, the window doubles while throughput grows. Two quantities are estimated from the
answers of one monitor interval (the calls started since the last change of the window):

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
from manycall.control.window_opening import HOSTED, INITIAL_WINDOW, OpeningEnd, OpeningRule, WindowOpening
from manycall.limits import ServerLoad

NoteChange = Callable[[float, str], None]
"""Callback that takes the time and the description of a change."""

MAX_WINDOW = 8192
MIN_UTILIZATION = 0.8
"""Share of the window that must have been in use before it is evaluated. Below it, the number of rows, a quota or this
machine is the limit."""
ASIDE_SECONDS = 2.0
"""Time without a delay by a learned rate limit after which the knee is searched again."""
RAMP_SECONDS = 1.0
"""Time over which an enlarged window opens gradually, so that an unknown quota refuses only a few calls."""
MIN_ANSWERS = 64
"""Answers needed to find out whether throughput has grown since the window was enlarged."""
MAX_QUEUE_SECONDS = 0.5
"""Time for which metrics must report a long queue before it ends the opening. Prompts that arrive together queue for a
moment."""
OVERLOAD_SHARE, OVERLOAD_FACTOR, COOLDOWN_SECONDS = 0.02, 0.7, 15.0
"""If more than this share of the calls fails because of overload, the window is multiplied by the factor and then left
unchanged for the cooldown."""


class ConcurrencyWindow:
    """The concurrency window of one endpoint.

    Args:
        size: initial size.
        max_size: largest size permitted (by file descriptors and memory).
        note: called with the time and a description of every change.
        rule: how the window opens; None: it doubles for each round of answers (slow start).

    Attributes:
        size: number of calls that may be in flight.
        max_size: the largest size.
        interval: monitor interval of a call that starts now; it must be passed to `record_answer`.
        knee_found: whether the knee has been found.
        client_bound: whether this machine limits the calls; the window is then not evaluated.
        opening: the opening; None once it has ended.
    """

    def __init__(
        self,
        size: int = INITIAL_WINDOW,
        max_size: int = MAX_WINDOW,
        note: NoteChange = lambda now, why: None,
        rule: OpeningRule | None = None,
    ) -> None:
        self.size = max(1, min(size, max_size))
        self.max_size = max_size
        self.opening = None if rule is None else WindowOpening(rule, self.size, max_size)
        self.knee_found = False
        self.client_bound = False
        self._note = note
        self._limit: int | None = None  # known from refusals
        self._aside_until = math.inf  # a rate limit has delayed a call; until then, the window opens by the clock
        self._ramp = (0.0, 0.0, 0)  # start time, duration, size before
        self._tokens, self._answers = 0.0, 0  # moving average of the answer length, number of answers
        self._min_intercept: float | None = None  # seconds before the first token, without a queue
        self._previous: tuple[int, LatencyFit] | None = None  # the window to compare with, and its latencies
        self._phase = Phase.SLOW_START if rule is None else Phase.OPENING
        self._intervals_waited, self._probe_interval, self._direction = 0, 1, 1
        self._last_queue = 0.0
        self._queue_streak = 0  # consecutive metrics with a long queue; negative: with none
        self._noted_size = self.size  # in the opening
        self._queue_since = math.inf  # metrics have reported a long queue since then, in the opening
        self._finished, self._overloads, self._overload_counted_from, self._cooldown_until = 0, 0, 0.0, float("-inf")
        self._growth_paused_until = -math.inf
        self._settled_at = math.inf  # after a probe, calls count from this time on
        self.interval = MonitorInterval()

    def __repr__(self) -> str:
        return f"<ConcurrencyWindow {self.size}, {self._phase.value}>"

    def set_client_bound(self, is_bound: bool) -> None:
        """Record whether this machine limits the calls."""
        self.client_bound = is_bound

    def earliest(self, in_flight: int, now: float) -> float:
        """Return the earliest time at which another call may start; inf if a call must finish first."""
        if self.opening is not None and not (self.client_bound and in_flight >= self.size):
            return self.opening.earliest(in_flight)
        if in_flight >= self.size:
            return math.inf
        start, seconds, old_size = self._ramp
        if in_flight < old_size or now >= start + seconds:
            return -math.inf
        return start + seconds * (in_flight + 1 - old_size) / (self.size - old_size)

    def record_sent(self, in_flight: int, now: float) -> None:
        """Record that a call starts; `in_flight` includes it."""
        if self.opening is not None:
            self.opening.record_sent(in_flight, now)
            self._follow_opening(now)
        if now >= self._settled_at:
            self._settled_at = math.inf
            self._begin()
        self.interval.record_in_flight(in_flight)

    def record_answer(
        self, interval: MonitorInterval, seconds: float, tokens: int, now: float, in_flight: int = 0
    ) -> None:
        """Record the latency and the output tokens of a call that started in the given interval.

        Args:
            in_flight: number of calls that were in flight when the answer arrived, including this one.
        """
        self._answers += 1
        self._tokens += max(0.002, 1 / self._answers) * (tokens - self._tokens)
        self._finished += 1
        if self.opening is not None:
            self._end_opening(self.opening.record_answer(seconds, in_flight, now), now)
            if self.opening is not None and now >= self._aside_until:
                self._aside_until = math.inf
                self.skip_opening(now)
            return
        if self._limit is not None or interval is not self.interval or self._settled_at < math.inf:
            return
        interval.add(tokens, seconds)
        if interval.count < self._needed or interval.count & 7 or now < self._cooldown_until:
            return
        if interval.peak < MIN_UTILIZATION * self.size or self.client_bound:
            self._begin()
            return
        line = interval.fit()
        if line.seconds_per_token == 0.0 and interval.count < 1.2 * self.size:
            return  # answers of equal length arrive in waves, and the first wave did not queue
        seen = self._observe(line)
        if interval.count < max(400, 4 * self.size) and not knee_search.is_conclusive(seen):
            return
        if self._phase is not Phase.METRICS_DRIVEN:  # else the next metrics contain the effect of these answers
            self._evaluate(line, now)

    @property
    def _needed(self) -> float:
        """Number of answers after which an interval is evaluated."""
        if self._phase is Phase.SLOW_START:
            return max(16.0, self.size / 3)
        return max(min(64.0, 8.0 + 8.0 * self.size), 0.7 * self.size)

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
            self._begin()
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
        self._begin()
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
        quarter_latency = self.interval.fit().predict(self._tokens) / 4 if self.interval.count else RAMP_SECONDS
        self._ramp = (now, min(RAMP_SECONDS, quarter_latency) if new > old else 0.0, old)
        self.size = new
        self._note(now, f"window {old} → {new}" + (f": {why}" if why else ""))

    def _begin(self) -> None:
        """Start a new interval. Calls already in flight belong to the previous one."""
        self.interval = MonitorInterval()

    def open_to(self, calls: float, now: float) -> None:
        """Enlarge the window in one step, to the number of calls that a known quota permits during one call."""
        self.skip_opening(now)
        if not self.knee_found and calls > self.size:
            self._resize(calls, "rate limit known", now)
            self._begin()

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
            self._restart()

    def _restart(self) -> None:
        """Search for the knee again, starting at the current size."""
        self.opening = None
        self._phase, self._previous, self._probe_interval = Phase.SLOW_START, None, 1
        self._settled_at = math.inf
        self._begin()

    def record_metrics_lost(self) -> None:
        """Return to estimating from latencies, because the server's metrics are no longer available."""
        if self._phase is Phase.METRICS_DRIVEN:
            self._phase, self._previous, self._intervals_waited = Phase.STEADY, None, 0
            self._begin()

    def update_from_metrics(self, load: ServerLoad, in_flight: int, now: float, started: int = 0) -> None:
        """Update the window from the server's metrics.

        After the first call, only the metrics control the window.

        Args:
            started: the opening's number of calls when the metrics were requested.
        """
        if self.opening is not None:
            self._open_from_metrics(self.opening, load, in_flight, now, started)
            return
        if self._limit is not None:
            return  # the server refuses more calls, whether or not any queue
        self._phase = Phase.METRICS_DRIVEN
        if in_flight < MIN_UTILIZATION * self.size or now < self._cooldown_until or self.client_bound:
            return
        if load.waiting <= 0:
            self._queue_streak = min(0, self._queue_streak) - 1
            self._grow(knee_search.growth_factor(-self._queue_streak) * self.size + 1, self.interval.fit(), now)
            return
        self._previous, self.knee_found = None, True
        self._queue_streak = max(0, self._queue_streak) + 1 if knee_search.has_long_queue(load) else 0
        if self._queue_streak >= 2:
            self._queue_streak = 0
            resize = knee_search.after_queue(load, in_flight)
            self._resize(resize.size, resize.reason, now)

    def _grow(self, size: float, line: LatencyFit, now: float) -> None:
        """Enlarge the window, because no call queues at the server; reduce it if that did not increase throughput."""
        if now < self._growth_paused_until:
            return
        is_measured = line.answers >= MIN_ANSWERS
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
        self._begin()

    def record_begun(self, place: int, in_flight: int, now: float) -> None:
        """Record that the server has begun the call at this place of the opening, and so all before it."""
        if self.opening is not None:
            self._end_opening(self.opening.record_begun(place, in_flight, now), now)

    def _open_from_metrics(
        self, opening: WindowOpening, load: ServerLoad, in_flight: int, now: float, started: int
    ) -> None:
        """Record which calls have begun according to the metrics, or end the opening because of a queue."""
        if load.waiting <= 0:
            self._queue_since = math.inf
            ended = opening.started - in_flight
            self.record_begun(min(started, ended + round(load.running)), in_flight, now)
        elif knee_search.has_long_queue(load):
            self._queue_since = min(self._queue_since, now)
            if now - self._queue_since >= MAX_QUEUE_SECONDS:
                self._end_opening(OpeningEnd(*knee_search.after_queue(load, in_flight)[:3], is_knee=True), now)

    def _follow_opening(self, now: float) -> None:
        """Take over the size of the opening; note it each time it has doubled."""
        assert self.opening is not None
        self.size = self.opening.size
        if self.size >= 2 * self._noted_size:
            self._note(now, f"window {self._noted_size} → {self.size}")
            self._noted_size = self.size

    def _end_opening(self, end: OpeningEnd | None, now: float) -> None:
        if self.opening is None:
            return
        self.size = self.opening.size
        if end is None:
            return
        self.opening, self._phase = None, end.phase
        self.knee_found = end.is_knee
        self._min_intercept = end.first_token_seconds
        self._resize(end.size, end.reason, now)
        self._begin()

    def skip_opening(self, now: float) -> None:
        """Double the window for each round of answers from now on (slow start)."""
        if self.opening is not None:
            self._end_opening(OpeningEnd(self.size, "", Phase.SLOW_START), now)

    def expect_rows(self, rows: int) -> None:
        """Record the number of rows of the run, which bounds the growth at a hosted endpoint."""
        if self.opening is not None:
            self.opening.expect_rows(rows)

    def step_aside(self, now: float) -> None:
        """Open by the clock, because a rate limit delays a call. Until 2 s after the last one, no knee is searched."""
        self._aside_until = now + ASIDE_SECONDS
        if self.opening is None:
            self.opening, self._phase = WindowOpening(HOSTED, self.size, self.max_size), Phase.OPENING
        self.opening.step_aside()

    def set_limit(self, limit: int | None, now: float) -> None:
        """Permit this many calls in flight, because the server refuses more. None: search for the knee again."""
        if limit == self._limit:
            return
        self._limit = limit
        self._restart()
        if limit is not None:
            self._resize(limit, "limit of concurrent calls", now)
            self._ramp = (now, 0.0, self.size)  # the server permits them at once

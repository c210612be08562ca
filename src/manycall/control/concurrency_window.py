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

Doubling, and stopping when the delivered rate stops growing, is the startup phase of BBR (N. Cardwell et al., ACM
Queue, 2016). Judging by how throughput responds to concurrency is the idea of Cinnamon (Uber Engineering Blog, 2023).
Comparing latency with the smallest latency ever seen, as in Vegas or Gradient2, does not work here, because the
fastest answer is simply the shortest one.
"""

import math
from collections.abc import Callable

from manycall.control.regression import LatencyFit, MonitorInterval
from manycall.limits import ServerLoad

Resize = Callable[[float, str], None]
"""Callback that takes the time and the description of a change."""

INITIAL_WINDOW = 8
MAX_WINDOW = 8192
MIN_UTILIZATION = 0.8
"""Share of the window that must have been in use before it is evaluated. Below it, the number of rows, a quota or this
machine is the limit."""
PROBE_FACTOR = 1.4
"""Factor by which the window is increased or decreased to measure the effect."""
GROW_ELASTICITY, SHRINK_ELASTICITY = 0.10, 0.06
"""Thresholds for the elasticity, d ln(rate) / d ln(calls in flight). An increase is kept above the first one, a
decrease below the second one."""
MIN_QUEUE_SHARE, MAX_QUEUE_SHARE = 0.02, 0.20
"""Share of the calls that wait in the server's queue. Below the first value the server may have too little to do; above
the second it has too much."""
QUEUE_HEADROOM = 1.06
"""Calls in flight per call that the server can process: a short queue, so that the server is never idle."""
OPENING_SECONDS = 1.0
"""Time over which an enlarged window opens gradually, so that an unknown quota refuses only a few calls."""
MAX_PROBE_INTERVAL = 16
"""Most intervals between two probes without effect; with server metrics, most seconds."""
MIN_ANSWERS, MIN_ANSWERS_SLOW_START = 64, 16
"""Answers needed to estimate the latency; fewer in starting start, so that the window does not overshoot."""
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
        client_bound: whether this machine limits the calls. Set by the caller; the window is then not evaluated.
    """

    def __init__(
        self, size: int = INITIAL_WINDOW, max_size: int = MAX_WINDOW, note: Resize = lambda now, why: None
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
        self._phase = self._slow_start
        self._intervals_waited, self._probe_interval, self._direction = 0, 1, 1
        self._last_queue = 0.0
        self._queue_streak = 0  # consecutive metrics with a long queue; negative: with none
        self._finished, self._overloads, self._overload_counted_from, self._cooldown_until = 0, 0, 0.0, float("-inf")
        self._growth_paused_until = -math.inf
        self._settled_at = math.inf  # after a probe, calls count from this time on
        self.interval = MonitorInterval(0.0)

    def __repr__(self) -> str:
        return f"<ConcurrencyWindow {self.size}, {self._phase.__name__.strip('_').replace('_', ' ')}>"

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
        self.interval.peak = max(self.interval.peak, in_flight)

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
        if interval.count >= max(400, 4 * self.size) or self._is_clear(line):
            self._phase(line, now)

    @property
    def _needed(self) -> float:
        """Number of answers after which an interval is evaluated."""
        if self._starting:
            return max(16.0, self.size / 3)
        return max(min(64.0, 8.0 + 8.0 * self.size), 0.7 * self.size)

    @property
    def _starting(self) -> bool:
        return self._phase in (self._slow_start, self._doubling)

    def _is_clear(self, line: LatencyFit) -> bool:
        """Return whether the standard error of the elasticity is below 0.1, or the elasticity is clearly large."""
        gain = self._elasticity(line)
        if gain is None:
            return True
        error = self._elasticity_stderr(line)
        return error < 0.1 or (self._phase == self._slow_start and gain - 2 * error > GROW_ELASTICITY)

    def _elasticity_stderr(self, line: LatencyFit) -> float:
        """Return the standard error of the elasticity."""
        assert self._previous is not None
        before, then = self._previous
        t = self._tokens
        error = math.hypot(
            line.predict_stderr(t) / max(line.predict(t), 1e-9), then.predict_stderr(t) / max(then.predict(t), 1e-9)
        )
        return error / abs(math.log(self.size / before))

    def _elasticity(self, line: LatencyFit) -> float | None:
        """Return the elasticity of the rate since the previous window; None if there is none or its size is equal."""
        if self._previous is None or self._previous[0] == self.size:
            return None
        before, then = self._previous
        rates = self.size / max(line.predict(self._tokens), 1e-9), before / max(then.predict(self._tokens), 1e-9)
        return math.log(rates[0] / rates[1]) / math.log(self.size / before)

    def _queue(self, line: LatencyFit) -> float | None:
        """Return the share of the calls that queue at the server; None if all answers are about equally long."""
        if line.seconds_per_token == 0.0:
            return None
        if self._min_intercept is None or line.intercept < self._min_intercept:
            self._min_intercept = line.intercept
        excess = line.intercept - self._min_intercept - 1.5 * line.predict_stderr(0.0)
        return min(0.95, max(0.0, excess / max(line.predict(self._tokens), 1e-9)))

    def _slow_start(self, line: LatencyFit, now: float) -> None:
        """Double the window while throughput grows."""
        gain, queue = self._elasticity(line), self._queue(line)
        if gain is not None and queue is not None and (queue > 0.3 or (queue > 0.15 and gain < 0.5)):
            assert self._previous is not None
            self._hold(max(self._previous[0], self._size_without_queue(queue)), now, _queue_text(queue))
        elif gain is not None and gain < GROW_ELASTICITY:
            self._hold(self.size, now, _growth_text(2, gain))
        elif self.size >= self.max_size:
            self._hold(self.size, now, "limited by file descriptors or memory")
        else:
            self._step(2 * self.size, line, now, "" if gain is None else _growth_text(2, gain))

    def _steady(self, line: LatencyFit, now: float) -> None:
        """Stay at the knee, and probe occasionally whether it has moved."""
        queue = self._queue(line)
        self._previous = (self.size, line)
        self._intervals_waited += 1
        if queue == 0.0 and self._last_queue > MIN_QUEUE_SHARE:
            self._probe_interval = 1  # the server has become faster
        self._last_queue = queue or 0.0
        if queue is None:
            if self._intervals_waited > self._probe_interval:
                self._direction = -self._direction
                size = max(self.size + 1, self.size * PROBE_FACTOR) if self._direction > 0 else self.size / PROBE_FACTOR
                self._probe(size, line, now, "probe")
        elif queue > MAX_QUEUE_SHARE and self._intervals_waited >= self._probe_interval // 2:
            self._probe(max(0.7 * self.size, self._size_without_queue(queue)), line, now, _queue_text(queue))
        elif self._intervals_waited >= self._probe_interval * (1 if queue < MIN_QUEUE_SHARE else 4):
            self._probe(
                self.size * PROBE_FACTOR + 1,
                line,
                now,
                "almost no call queues" if queue < MIN_QUEUE_SHARE else "probe",
            )
        if self._phase == self._steady:
            self._begin(now)

    def _probe(self, size: float, line: LatencyFit, now: float, why: str) -> None:
        up = size > self.size
        self._step(size, line, now, why)
        self._settled_at = now + line.predict(self._tokens)  # the first new calls starting down those in flight
        self._phase = self._stepped_up if up else self._stepped_down

    def _stepped_up(self, line: LatencyFit, now: float) -> None:
        gain, queue = self._elasticity(line), self._queue(line)
        assert self._previous is not None
        if gain is None:
            self._hold(self.size, now, "limited by file descriptors or memory")
        elif queue is not None and queue > 0.15:  # the knee is between both sizes; keep a short queue to see it move
            self._probe_interval = min(MAX_PROBE_INTERVAL, 2 * self._probe_interval)
            size = max(QUEUE_HEADROOM * self._previous[0], self._size_without_queue(queue))
            self._hold(size, now, _queue_text(queue))
        elif gain <= GROW_ELASTICITY:
            self._probe_interval = min(MAX_PROBE_INTERVAL, 2 * self._probe_interval)
            self._hold(self._previous[0], now, _growth_text(PROBE_FACTOR, gain))
        else:
            self._probe_interval = 1
            self._probe(
                PROBE_FACTOR * self.size,
                line,
                now,
                _growth_text(PROBE_FACTOR, gain),
            )

    def _stepped_down(self, line: LatencyFit, now: float) -> None:
        loss = self._elasticity(line)
        assert self._previous is not None
        if loss is None or loss < SHRINK_ELASTICITY:
            self._probe_interval = 1
            self._hold(self.size, now, "same throughput with fewer calls")
        else:
            self._probe_interval = min(MAX_PROBE_INTERVAL, 2 * self._probe_interval)
            self._hold(self._previous[0], now, "lower throughput with fewer calls")

    def _size_without_queue(self, queue: float) -> float:
        return self.size * (1 - queue) * QUEUE_HEADROOM + 1

    def _hold(self, size: float, now: float, why: str) -> None:
        self.knee_found = True
        self._intervals_waited = 0
        self._phase = self._steady
        self._resize(size, now, why)
        self._begin(now)

    def _step(self, size: float, line: LatencyFit, now: float, why: str) -> None:
        self._previous = (self.size, line)
        self._resize(size, now, why)
        self._begin(now)

    def _resize(self, size: float, now: float, why: str) -> None:
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
            self._resize(calls, now, "rate limit known")
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
            self._resize(OVERLOAD_FACTOR * self.size, now, "server overloaded")
            self._restart(now)

    def _restart(self, now: float) -> None:
        """Search for the knee again, starting at the current size."""
        self._phase, self._previous, self._probe_interval = self._slow_start, None, 1
        self._settled_at = math.inf
        self._begin(now)

    def metrics_lost(self, now: float) -> None:
        """Return to estimating from latencies, because the server's metrics are no longer available."""
        if self._phase == self._doubling:
            self._restart(now)
        elif self._phase == self._metrics_driven:
            self._phase, self._previous, self._intervals_waited = self._steady, None, 0
            self._begin(now)

    def update_from_metrics(self, load: ServerLoad, in_flight: int, now: float) -> None:
        """Update the window from the server's metrics, once every one or two seconds.

        After the first call, only the metrics control the window.
        """
        starting = self._starting
        self._phase = self._doubling if starting else self._metrics_driven
        if in_flight < MIN_UTILIZATION * self.size or now < self._cooldown_until or self.client_bound:
            return
        if load.waiting <= 0:
            self._queue_streak = min(0, self._queue_streak) - 1
            if not starting or now - self.interval.began >= 1.0:
                growth = 1.5 if starting else min(1.5, 1 + 0.05 * 2.0 ** min(10, -self._queue_streak - 1))
                self._grow(growth * self.size + 1, self.interval.fit(), now)
            return
        self._phase, self._previous = self._metrics_driven, None
        self.knee_found = True
        if load.waiting <= max(2.0, 0.08 * load.running):
            self._queue_streak = 0
            return
        self._queue_streak = max(0, self._queue_streak) + 1
        if starting or self._queue_streak >= 2:
            self._queue_streak = 0
            ours = in_flight * load.running / (load.running + load.waiting)  # other clients may use it too
            self._resize(1.04 * ours + 2, now, f"{load.waiting:.0f} calls queue at the server")

    def _doubling(self, line: LatencyFit, now: float) -> None:
        """Continue slow start between two updates from metrics."""
        self._grow(2 * self.size, line, now)

    def _grow(self, size: float, line: LatencyFit, now: float) -> None:
        """Enlarge the window, because no call queues at the server.

        If a larger window still does not increase throughput, calls wait before they reach the server's queue: on this
        machine, in the network or in a proxy. Then return to the previous size for a while.
        """
        if now < self._growth_paused_until:
            return
        is_known = line.answers >= (MIN_ANSWERS_SLOW_START if self._phase == self._doubling else MIN_ANSWERS)
        if self._previous is None or self._previous[0] > self.size:
            self._previous = (self.size, line) if is_known else None
        elif self.size >= PROBE_FACTOR * self._previous[0] and is_known:
            gain = self._elasticity(line)
            if gain is not None and gain + self._elasticity_stderr(line) < SHRINK_ELASTICITY:
                self._probe_interval = min(MAX_PROBE_INTERVAL, 2 * self._probe_interval)
                self._growth_paused_until = now + self._probe_interval
                self._queue_streak, self._phase, size = 0, self._metrics_driven, self._previous[0]
                self._previous = None
                self._resize(size, now, "throughput did not grow, although no call queues at the server")
                self._begin(now)
                return
            self._probe_interval = 1
            self._previous = (self.size, line)
        self._resize(size, now, "no call queues at the server")
        self._begin(now)

    def _metrics_driven(self, line: LatencyFit, now: float) -> None:
        """Do nothing: the next metrics already contain the effect of these answers."""


def _queue_text(queue: float) -> str:
    return f"{queue:.0%} of the calls queue"


def _growth_text(factor: float, elasticity: float) -> str:
    """Describe the growth of throughput after the window was multiplied by `factor`."""
    return f"throughput grew {factor**elasticity:.2f}×"

"""Search for the best number of concurrent calls: slow start and probing, from latencies or from server metrics.

Pure functions. Each receives what one monitor interval has shown and returns a `Resize`: the size of the window, the
reason for it, and how the search continues. control/concurrency_window.py keeps the state and the timing.

Doubling, and stopping when the delivered rate stops growing, is the startup phase of BBR (N. Cardwell et al., ACM
Queue, 2016). Judging by how throughput responds to concurrency is the idea of Cinnamon (Uber Engineering Blog, 2023).
Comparing latency with the smallest latency ever seen, as in Vegas or Gradient2, does not work here, because the
fastest answer is simply the shortest one.
"""

import enum
import math
from collections.abc import Callable
from typing import NamedTuple

from manycall.control.regression import LatencyFit
from manycall.limits import ServerLoad

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
MAX_PROBE_INTERVAL = 16
"""Most intervals between two probes without effect; with server metrics, most seconds."""
_AT_LIMIT = "limited by file descriptors or memory"
_NO_QUEUE = "no call queues at the server"


class Phase(enum.Enum):
    """State of the search. The value is its name in `repr`."""

    OPENING = "opening"  # see control/window_opening.py
    SLOW_START = "slow start"
    STEADY = "steady"
    STEPPED_UP = "stepped up"
    STEPPED_DOWN = "stepped down"
    METRICS_DRIVEN = "metrics driven"


class Observation(NamedTuple):
    """What is known at the end of a monitor interval.

    Attributes:
        size: size of the window.
        max_size: largest size permitted.
        phase: the phase of the search.
        probe_interval: number of intervals between two probes.
        intervals_waited: number of intervals since the last change.
        last_direction: 1 if the last probe without a known queue was upwards, -1 if it was downwards.
        previous_size: size of the window that this one is compared with; None if there is none.
        elasticity: elasticity of the rate since that window; None if the sizes are equal or there is none.
        elasticity_stderr: standard error of the elasticity; 0.0 if that is None.
        queue: share of the calls that wait in the server's queue; None if it is unknown.
    """

    size: int
    max_size: int
    phase: Phase
    probe_interval: int = 1
    intervals_waited: int = 0
    last_direction: int = 1
    previous_size: int | None = None
    elasticity: float | None = None
    elasticity_stderr: float = 0.0
    queue: float | None = None


class Resize(NamedTuple):
    """A decision about the window.

    Attributes:
        size: the new size, which may be equal to the old one. The window rounds it and keeps it within its bounds.
        reason: the reason, for the timeline; may be empty.
        phase: the phase in which the search continues.
        probe_interval: number of intervals between two probes from now on.
    """

    size: float
    reason: str
    phase: Phase = Phase.STEADY
    probe_interval: int = 1


def elasticity(size: int, line: LatencyFit, previous: tuple[int, LatencyFit], tokens: float) -> float:
    """Return the elasticity of the rate between two windows of different size.

    Args:
        size: the size of the window.
        line: its latencies.
        previous: size and latencies of the window to compare with.
        tokens: length of an average answer.
    """
    before, then = previous
    rates = size / max(line.predict(tokens), 1e-9), before / max(then.predict(tokens), 1e-9)
    return math.log(rates[0] / rates[1]) / math.log(size / before)


def elasticity_stderr(size: int, line: LatencyFit, previous: tuple[int, LatencyFit], tokens: float) -> float:
    """Return the standard error of the elasticity; the arguments are the same."""
    before, then = previous
    error = math.hypot(
        line.predict_stderr(tokens) / max(line.predict(tokens), 1e-9),
        then.predict_stderr(tokens) / max(then.predict(tokens), 1e-9),
    )
    return error / abs(math.log(size / before))


def queue_share(line: LatencyFit, min_intercept: float, tokens: float) -> float:
    """Return the share of the calls that queue at the server.

    Args:
        line: the latencies.
        min_intercept: smallest latency at zero tokens that was ever measured, in seconds.
        tokens: length of an average answer.
    """
    excess = line.intercept - min_intercept - 1.5 * line.predict_stderr(0.0)
    return min(0.95, max(0.0, excess / max(line.predict(tokens), 1e-9)))


def is_conclusive(seen: Observation) -> bool:
    """Return whether the standard error of the elasticity is below 0.1, or the elasticity is clearly large."""
    if seen.elasticity is None:
        return True
    is_large = seen.phase is Phase.SLOW_START and seen.elasticity - 2 * seen.elasticity_stderr > GROW_ELASTICITY
    return seen.elasticity_stderr < 0.1 or is_large


def after_interval(seen: Observation) -> Resize | None:
    """Return the decision at the end of an interval in which latencies were measured; None leaves the window as it is.

    In the phases that server metrics control, it is None: their decisions are `after_no_queue` and `after_queue`.
    """
    rule = _RULES.get(seen.phase)
    return rule(seen) if rule is not None else None


def _slow_start(seen: Observation) -> Resize:
    """Double the window while throughput grows."""
    gain, queue = seen.elasticity, seen.queue
    if gain is not None and queue is not None and (queue > 0.3 or (queue > 0.15 and gain < 0.5)):
        return _hold(seen, max(_previous_size(seen), _size_without_queue(seen, queue)), _queue_text(queue))
    if gain is not None and gain < GROW_ELASTICITY:
        return _hold(seen, seen.size, _growth_text(2, gain))
    if seen.size >= seen.max_size:
        return _hold(seen, seen.size, _AT_LIMIT)
    reason = "" if gain is None else _growth_text(2, gain)
    return Resize(2 * seen.size, reason, Phase.SLOW_START, seen.probe_interval)


def _steady(seen: Observation) -> Resize | None:
    """Stay at the knee, and probe occasionally whether it has moved."""
    waited, queue = seen.intervals_waited, seen.queue
    if queue is None:
        if waited <= seen.probe_interval:
            return None
        up = seen.last_direction < 0
        return _probe(seen, max(seen.size + 1, seen.size * PROBE_FACTOR) if up else seen.size / PROBE_FACTOR, "probe")
    if queue > MAX_QUEUE_SHARE and waited >= seen.probe_interval // 2:
        return _probe(seen, max(0.7 * seen.size, _size_without_queue(seen, queue)), _queue_text(queue))
    is_short = queue < MIN_QUEUE_SHARE
    if waited >= seen.probe_interval * (1 if is_short else 4):
        return _probe(seen, seen.size * PROBE_FACTOR + 1, "almost no call queues" if is_short else "probe")
    return None


def _stepped_up(seen: Observation) -> Resize:
    """Keep the larger window if throughput grew."""
    gain, queue = seen.elasticity, seen.queue
    if gain is None:
        return _hold(seen, seen.size, _AT_LIMIT)
    if queue is not None and queue > 0.15:  # the knee is between both sizes; keep a short queue to see it move
        size = max(QUEUE_HEADROOM * _previous_size(seen), _size_without_queue(seen, queue))
        return _back_off(seen, size, _queue_text(queue))
    if gain <= GROW_ELASTICITY:
        return _back_off(seen, _previous_size(seen), _growth_text(PROBE_FACTOR, gain))
    return _probe(seen, PROBE_FACTOR * seen.size, _growth_text(PROBE_FACTOR, gain))._replace(probe_interval=1)


def _stepped_down(seen: Observation) -> Resize:
    """Keep the smaller window if throughput is the same."""
    if seen.elasticity is None or seen.elasticity < SHRINK_ELASTICITY:
        return Resize(seen.size, "same throughput with fewer calls")
    return _back_off(seen, _previous_size(seen), "lower throughput with fewer calls")


_RULES: dict[Phase, Callable[[Observation], Resize | None]] = {
    Phase.SLOW_START: _slow_start,
    Phase.STEADY: _steady,
    Phase.STEPPED_UP: _stepped_up,
    Phase.STEPPED_DOWN: _stepped_down,
}


def growth_factor(samples: int) -> float:
    """Return the factor by which the window grows after this number of consecutive metrics without a queue."""
    return min(1.5, 1 + 0.05 * 2.0 ** min(10, samples - 1))


def is_comparable(seen: Observation) -> bool:
    """Return whether the window is at least PROBE_FACTOR times the previous one, so that throughput can be compared."""
    return seen.previous_size is not None and seen.size >= PROBE_FACTOR * seen.previous_size


def after_no_queue(seen: Observation, size: float, is_measured: bool) -> Resize:
    """Enlarge the window to `size`, because no call queues at the server.

    If a larger window did not increase throughput, calls wait before they reach the server's queue: on this machine,
    in the network or in a proxy. Then the window returns to its previous size for `probe_interval` seconds.

    Args:
        is_measured: the interval has enough answers to be compared.
    """
    if not is_measured or not is_comparable(seen):
        return Resize(size, _NO_QUEUE, seen.phase, seen.probe_interval)
    if seen.elasticity is not None and seen.elasticity + seen.elasticity_stderr < SHRINK_ELASTICITY:
        reason = f"throughput did not grow, although {_NO_QUEUE}"
        return _back_off(seen, _previous_size(seen), reason)._replace(phase=Phase.METRICS_DRIVEN)
    return Resize(size, _NO_QUEUE, seen.phase)


def has_long_queue(load: ServerLoad) -> bool:
    """Return whether more calls queue at the server than are needed to keep it busy."""
    return load.waiting > max(2.0, 0.08 * load.running)


def after_queue(load: ServerLoad, in_flight: int) -> Resize:
    """Reduce the window to this client's share of the calls that the server processes; other clients may use it too."""
    ours = in_flight * load.running / (load.running + load.waiting)
    return Resize(1.04 * ours + 2, f"{load.waiting:.0f} calls queue at the server", Phase.METRICS_DRIVEN)


def _hold(seen: Observation, size: float, reason: str) -> Resize:
    return Resize(size, reason, Phase.STEADY, seen.probe_interval)


def _back_off(seen: Observation, size: float, reason: str) -> Resize:
    """Hold this size and wait twice as long until the next probe."""
    return Resize(size, reason, Phase.STEADY, min(MAX_PROBE_INTERVAL, 2 * seen.probe_interval))


def _probe(seen: Observation, size: float, reason: str) -> Resize:
    phase = Phase.STEPPED_UP if size > seen.size else Phase.STEPPED_DOWN
    return Resize(size, reason, phase, seen.probe_interval)


def _size_without_queue(seen: Observation, queue: float) -> float:
    return seen.size * (1 - queue) * QUEUE_HEADROOM + 1


def _previous_size(seen: Observation) -> int:
    assert seen.previous_size is not None  # an elasticity is known
    return seen.previous_size


def _queue_text(queue: float) -> str:
    return f"{queue:.0%} of the calls queue"


def _growth_text(factor: float, gain: float) -> str:
    """Describe the growth of throughput after the window was multiplied by `factor`."""
    return f"throughput grew {factor**gain:.2f}×"

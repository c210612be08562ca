"""How many calls may one endpoint be given at once? Finds the knee of a server that never says "too many".

Up to the knee, more calls at once give more answers a second; beyond it they only wait for each other. So the
window doubles while that pays, and then holds, with a step up or down now and then to see whether the knee has
moved. Two things are read from the answers of an epoch (the calls begun since the window last changed):

* The rate: Little's law says that N calls in flight, each of which takes L seconds, are N / L answers a second. L is
  that of an answer of average length, read from a line through the latencies (seconds against tokens of output),
  because the answers that happen to come first in an epoch are the short ones.
* The queue: where that line meets zero tokens is what a call waits before its first token. What is there beyond the
  least that was ever seen is time spent in the server's queue, and its share of L the share of the calls that queue.

If the server's own gauges can be had (control/gauges.py), they say the same at once and without noise.

Growing by doubling and judging by the growth of the delivered rate is how BBR starts (N. Cardwell et al., ACM Queue,
2016); judging by how throughput answers to concurrency is Cinnamon's idea (Uber Engineering Blog, 2023). Latency
against the smallest ever seen, as in Vegas or Gradient2, fails here: the fastest answer is only the shortest.
"""

import math
from collections.abc import Callable

from manycall.control.epoch import Epoch, Line
from manycall.control.gauges import Gauges

Note = Callable[[float, str], None]
"""Takes the moment of a change, and its reason."""

START = 8
MOST = 8192
FULL = 0.8
"""Of the window must have been used before it is judged; else the rows, a quota or this machine are the limit."""
STEP = 1.4
"""By how much it steps up or down to see what that does."""
PAYS, DOUBTFUL = 0.10, 0.06
"""Elasticity, d ln(rate) / d ln(calls in flight): from the first on a step up is kept, below the second one down."""
SHORT_QUEUE, LONG_QUEUE = 0.02, 0.20
"""Of the calls wait: below, it may be that the server has too little to do; above, it has too much."""
SPARE = 1.06
"""So many calls for each that the server can work on: a short queue, so that it is never idle."""
OPENING_SECONDS = 1.0
"""A wider window opens within this time, so that a quota that stands in the way refuses few."""
MOST_PATIENT = 16
"""Epochs between two steps that came to nothing; seconds, where a server tells its queue."""
ENOUGH, AT_FIRST = 64, 16
"""Answers that tell how long one takes; while the window still doubles, so that it does not overshoot, fewer do."""
OVERLOADED, CUT, COOL_SECONDS = 0.02, 0.7, 15.0
"""Above this share of calls that the server was too busy for, it gets fewer, and then has time to recover."""


class Window:
    """The window of one endpoint.

    Args:
        size: where it starts; half of what it was the last time, if that is known.
        most: it never gets wider (file descriptors, memory).
        note: told of every change.

    Attributes:
        size: how many calls may be in flight.
        epoch: of the call that begins now; `done` wants it back.
        server_bound: it has found the knee.
    """

    def __init__(self, size: int = START, most: int = MOST, note: Note = lambda now, why: None) -> None:
        self.size = max(1, min(size, most))
        self.most = most
        self.server_bound = False
        self.client_bound = False
        self._note = note
        self._opening = (0.0, 0.0, 0)  # from when, for how long, from what size
        self._tokens, self._answers = 0.0, 0  # the average answer of all
        self._floor: float | None = None  # seconds before the first token, without a queue
        self._then: tuple[int, Line] | None = None  # the window that this one is compared to, and its answers
        self._judge = self._slow_start
        self._waited, self._patience, self._direction = 0, 1, 1
        self._last_queue = 0.0
        self._queues = 0  # looks at the gauges in a row that saw a long queue; negative: that saw none
        self._tried, self._busy, self._since, self._cool_until = 0, 0, 0.0, float("-inf")
        self._in_vain_until = -math.inf
        self._settled_at = math.inf  # from when calls count again, after a step
        self.epoch = Epoch(0.0)

    def __repr__(self) -> str:
        return f"<Window {self.size}, {self._judge.__name__.strip('_').replace('_', ' ')}>"

    def when(self, in_flight: int, now: float) -> float:
        """The earliest moment at which there is room for one more; inf if not before a call is done."""
        if in_flight >= self.size:
            return math.inf
        since, seconds, before = self._opening
        if in_flight < before or now >= since + seconds:
            return -math.inf
        return since + seconds * (in_flight + 1 - before) / (self.size - before)

    def sent(self, in_flight: int, now: float) -> None:
        """A call begins; so many are in flight, itself included."""
        if now >= self._settled_at:
            self._settled_at = math.inf
            self._begin(now)
        self.epoch.peak = max(self.epoch.peak, in_flight)

    def done(self, epoch: Epoch, seconds: float, tokens: int, now: float) -> None:
        """A call that began in that epoch was answered after so many seconds, with so many tokens of output."""
        self._answers += 1
        self._tokens += max(0.002, 1 / self._answers) * (tokens - self._tokens)
        self._tried += 1
        if epoch is not self.epoch or self._settled_at < math.inf:
            return
        epoch.add(tokens, seconds)
        if epoch.count < self._needed or epoch.count & 7 or now < self._cool_until:
            return
        if epoch.peak < FULL * self.size or self.client_bound:
            self._begin(now)
            return
        line = epoch.line()
        if line.step == 0.0 and epoch.count < 1.2 * self.size:
            return  # equal answers come in waves, and the first wave has not waited
        if epoch.count >= max(400, 4 * self.size) or self._is_clear(line):
            self._judge(line, now)

    @property
    def _needed(self) -> float:
        """Answers before an epoch is judged."""
        if self._starting:
            return max(16.0, self.size / 3)
        return max(min(64.0, 8.0 + 8.0 * self.size), 0.7 * self.size)

    @property
    def _starting(self) -> bool:
        return self._judge in (self._slow_start, self._doubling)

    def _is_clear(self, line: Line) -> bool:
        """Whether the elasticity is known to 0.1, or large beyond doubt."""
        gain = self._elasticity(line)
        if gain is None:
            return True
        error = self._doubt(line)
        return error < 0.1 or (self._judge == self._slow_start and gain - 2 * error > PAYS)

    def _doubt(self, line: Line) -> float:
        """The standard error of the elasticity."""
        assert self._then is not None
        before, then = self._then
        t = self._tokens
        error = math.hypot(line.error(t) / max(line.at(t), 1e-9), then.error(t) / max(then.at(t), 1e-9))
        return error / abs(math.log(self.size / before))

    def _elasticity(self, line: Line) -> float | None:
        """Of the rate, against the window before; None if there was none, or it was as wide."""
        if self._then is None or self._then[0] == self.size:
            return None
        before, then = self._then
        rates = self.size / max(line.at(self._tokens), 1e-9), before / max(then.at(self._tokens), 1e-9)
        return math.log(rates[0] / rates[1]) / math.log(self.size / before)

    def _queue(self, line: Line) -> float | None:
        """Share of the calls that wait for the server; None if that cannot be told, because all take as long."""
        if line.step == 0.0:
            return None
        if self._floor is None or line.wait < self._floor:
            self._floor = line.wait
        beyond = line.wait - self._floor - 1.5 * line.error(0.0)
        return min(0.95, max(0.0, beyond / max(line.at(self._tokens), 1e-9)))

    def _slow_start(self, line: Line, now: float) -> None:
        """Double, as long as it pays."""
        gain, queue = self._elasticity(line), self._queue(line)
        if gain is not None and queue is not None and (queue > 0.3 or (queue > 0.15 and gain < 0.5)):
            assert self._then is not None
            self._hold(max(self._then[0], self._without(queue)), now, f"{queue:.0%} of the calls only wait")
        elif gain is not None and gain < PAYS:
            self._hold(self.size, now, f"twice the calls give {_more(2, gain)} answers")
        elif self.size >= self.most:
            self._hold(self.size, now, "as wide as files and memory allow")
        else:
            self._step(2 * self.size, line, now, "" if gain is None else f"twice the calls gave {_more(2, gain)}")

    def _holding(self, line: Line, now: float) -> None:
        """The knee is found. See whether it still is there."""
        queue = self._queue(line)
        self._then = (self.size, line)
        self._waited += 1
        if queue == 0.0 and self._last_queue > SHORT_QUEUE:
            self._patience = 1  # it has got faster
        self._last_queue = queue or 0.0
        if queue is None:
            if self._waited > self._patience:
                self._direction = -self._direction
                size = max(self.size + 1, self.size * STEP) if self._direction > 0 else self.size / STEP
                self._try(size, line, now, "a look aside")
        elif queue > LONG_QUEUE and self._waited >= self._patience // 2:
            self._try(max(0.7 * self.size, self._without(queue)), line, now, f"{queue:.0%} of the calls only wait")
        elif self._waited >= self._patience * (1 if queue < SHORT_QUEUE else 4):
            self._try(self.size * STEP + 1, line, now, "hardly a call waits" if queue < SHORT_QUEUE else "a look aside")
        if self._judge == self._holding:
            self._begin(now)

    def _try(self, size: float, line: Line, now: float, why: str) -> None:
        up = size > self.size
        self._step(size, line, now, why)
        self._settled_at = now + line.at(self._tokens)  # the first to come in upset those that are there
        self._judge = self._stepped_up if up else self._stepped_down

    def _stepped_up(self, line: Line, now: float) -> None:
        gain, queue = self._elasticity(line), self._queue(line)
        assert self._then is not None
        if gain is None:
            self._hold(self.size, now, "as wide as files and memory allow")
        elif queue is not None and queue > 0.15:  # the knee is between: a short queue shows when it moves
            self._patience = min(MOST_PATIENT, 2 * self._patience)
            size = max(SPARE * self._then[0], self._without(queue))
            self._hold(size, now, f"{queue:.0%} of the calls only wait")
        elif gain <= PAYS:
            self._patience = min(MOST_PATIENT, 2 * self._patience)
            self._hold(self._then[0], now, f"{STEP:g} times the calls gave {_more(STEP, gain)}")
        else:
            self._patience = 1
            self._try(STEP * self.size, line, now, f"{STEP:g} times the calls gave {_more(STEP, gain)}")

    def _stepped_down(self, line: Line, now: float) -> None:
        loss = self._elasticity(line)
        assert self._then is not None
        if loss is None or loss < DOUBTFUL:
            self._patience = 1
            self._hold(self.size, now, "as many answers with fewer calls")
        else:
            self._patience = min(MOST_PATIENT, 2 * self._patience)
            self._hold(self._then[0], now, "with fewer calls there were fewer answers")

    def _without(self, queue: float) -> float:
        return self.size * (1 - queue) * SPARE + 1

    def _hold(self, size: float, now: float, why: str) -> None:
        self.server_bound = True
        self._waited = 0
        self._judge = self._holding
        self._resize(size, now, why)
        self._begin(now)

    def _step(self, size: float, line: Line, now: float, why: str) -> None:
        self._then = (self.size, line)
        self._resize(size, now, why)
        self._begin(now)

    def _resize(self, size: float, now: float, why: str) -> None:
        new, old = max(1, min(self.most, round(size))), self.size
        if new == old:
            return
        soon = self.epoch.line().at(self._tokens) / 4 if self.epoch.count else OPENING_SECONDS
        self._opening = (now, min(OPENING_SECONDS, soon) if new > old else 0.0, old)
        self.size = new
        self._note(now, f"window {old} -> {new}" + (f": {why}" if why else ""))

    def _begin(self, now: float) -> None:
        """A new epoch: what is in flight already belongs to the last."""
        self.epoch = Epoch(now)

    def paced(self, calls: float, now: float) -> None:
        """A quota paces the calls, to so many in the time that one may take: no need to feel the way up to there."""
        if not self.server_bound and calls > self.size:
            self._resize(calls, now, "the quota is known")
            self._begin(now)

    def busy(self, now: float) -> None:
        """The server had no time for a call: 503, 529, or no answer in time."""
        if now - self._since > 10:
            self._tried, self._busy, self._since = 0, 0, now
        self._busy += 1
        if not self._tried or now < self._cool_until:
            return  # it answers nothing at all: that is no overload, and says nothing of the time when it is back
        if self._busy >= 3 and self._busy > OVERLOADED * self._tried:
            self._cool_until = now + COOL_SECONDS
            self._tried, self._busy = 0, 0
            self._resize(CUT * self.size, now, "the server is too busy for what it has")
            self._restart(now)

    def _restart(self, now: float) -> None:
        """Find the knee anew, from where it stands."""
        self._judge, self._then, self._patience = self._slow_start, None, 1
        self._settled_at = math.inf
        self._begin(now)

    def deaf(self, now: float) -> None:
        """Its gauges can no longer be had: back to what the answers tell."""
        if self._judge == self._doubling:
            self._restart(now)
        elif self._judge == self._by_gauges:
            self._judge, self._then, self._waited = self._holding, None, 0
            self._begin(now)

    def read(self, gauges: Gauges, in_flight: int, now: float) -> None:
        """What the server says of its queue; once a second or two. From then on its word counts."""
        slow = self._starting
        self._judge = self._doubling if slow else self._by_gauges
        if in_flight < FULL * self.size or now < self._cool_until or self.client_bound:
            return
        if gauges.waiting <= 0:
            self._queues = min(0, self._queues) - 1
            if not slow or now - self.epoch.began >= 1.0:
                growth = 1.5 if slow else min(1.5, 1 + 0.05 * 2.0 ** min(10, -self._queues - 1))
                self._grow(growth * self.size + 1, self.epoch.line(), now)
            return
        self._judge, self._then = self._by_gauges, None
        self.server_bound = True
        if gauges.waiting <= max(2.0, 0.08 * gauges.running):
            self._queues = 0
            return
        self._queues = max(0, self._queues) + 1
        if slow or self._queues >= 2:
            self._queues = 0
            ours = in_flight * gauges.running / (gauges.running + gauges.waiting)  # somebody else may call it too
            self._resize(1.04 * ours + 2, now, f"{gauges.waiting:.0f} calls wait at the server")

    def _doubling(self, line: Line, now: float) -> None:
        """Slow start between two looks at the gauges."""
        self._grow(2 * self.size, line, now)

    def _grow(self, size: float, line: Line, now: float) -> None:
        """Nothing waits at the server. If more calls bring no more answers all the same, they wait on their way to it:
        here, in the network, or in front of what the gauges count. Then back to where they did, for a while."""
        if now < self._in_vain_until:
            return
        is_known = line.answers >= (AT_FIRST if self._judge == self._doubling else ENOUGH)
        if self._then is None or self._then[0] > self.size:
            self._then = (self.size, line) if is_known else None
        elif self.size >= STEP * self._then[0] and is_known:
            gain = self._elasticity(line)
            if gain is not None and gain + self._doubt(line) < DOUBTFUL:
                self._patience = min(MOST_PATIENT, 2 * self._patience)
                self._in_vain_until = now + self._patience
                self._queues, self._judge, size = 0, self._by_gauges, self._then[0]
                self._then = None
                self._resize(size, now, "more calls brought no more answers, though none waits at the server")
                self._begin(now)
                return
            self._patience = 1
            self._then = (self.size, line)
        self._resize(size, now, "nothing waits at the server")
        self._begin(now)

    def _by_gauges(self, line: Line, now: float) -> None:
        """The next look at the gauges will see what the answers say."""


def _more(times: float, elasticity: float) -> str:
    """ "1.3 times the answers", of which so many times the calls are the cause."""
    return f"{times**elasticity:.2f} times the answers"

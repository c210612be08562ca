"""Open a concurrency window: the state machine of the first seconds, until the server's capacity is known.

The window grows by one call at a time, on demand. Three things bound the growth:

* The clock. The window doubles at most once per `doubling_seconds`. At a hosted endpoint the calls that are sent while
  a refusal is on its way are refused together if they exceed a quota. Therefore the window grows more slowly there the
  longer a refusal takes, which is measured with a request that needs no model (client/opening_listener.py).
* The calls that the server works on. A server with a queue begins calls in the order of arrival. If the first token of
  a call has arrived, the server has begun every call that was sent before it, and it works on those that have not
  ended. At most `reach` times their largest number may be in flight. The first tokens are those of marks: of probes
  (client/opening_listener.py) or of calls that stream. Metrics report the same.
* The order of the first answers, if no first token can be observed. If m calls were sent and the answers are only those
  of the first S, the server works on S calls. The highest place of k answers is then about S · k / (k + 1) (the German
  tank problem: R. Ruggles and H. Brodie, JASA, 1947). While a batch fills, its early calls are faster. So this estimate
  may stop the growth, but it never sets the size.

The opening ends when a mark is not begun in time, although answers arrive. The window is then reduced to the calls that
the server works on. The exact number is known when this mark is begun: each call before it has begun or ended.

Pure: `now` is an argument. control/concurrency_window.py owns the opening and continues after it.
"""

import math
from bisect import bisect_right
from statistics import median
from typing import NamedTuple

from manycall.control.knee_search import QUEUE_HEADROOM, Phase
from manycall.control.pace_growth import REFUSALS_PER_DOUBLING


class OpeningRule(NamedTuple):
    """How a window opens.

    Attributes:
        start: calls in flight at the start.
        doubling_seconds: shortest time in which the window doubles; None: three times the time that a refusal takes
            or more, and the growth per second is limited too. After a wait, one doubling needs no time.
        reach: maximum calls in flight per call that the server works on; inf: first tokens cannot be observed.
        cap: size at which the opening ends, or at which the order of the answers is judged.
        next_cap: the cap after the order of the answers showed no queue.
        next_phase: how the search for the knee continues at the cap.
    """

    start: int
    doubling_seconds: float | None
    reach: float
    cap: int
    next_cap: int
    next_phase: Phase

    @property
    def is_hosted(self) -> bool:
        """Whether the rule is for an endpoint that refuses the calls that are too many."""
        return self.doubling_seconds is None


INITIAL_WINDOW, HOSTED_START = 8, 3
"""Calls in flight at the start. A hosted endpoint that permits one call per second refuses the others."""
SELF_HOSTED = OpeningRule(INITIAL_WINDOW, 0.02, 2.0, 1024, 1024, Phase.STEADY)
"""A self-hosted server whose first tokens can be observed."""
SELF_HOSTED_BLIND = OpeningRule(INITIAL_WINDOW, 0.25, math.inf, 128, 1024, Phase.STEADY)
"""A self-hosted server whose first tokens cannot be observed. It queues calls instead of refusing them."""
HOSTED = OpeningRule(HOSTED_START, None, math.inf, 8192, 8192, Phase.SLOW_START)
"""A hosted endpoint. It refuses the calls that are too many."""
UNKNOWN_HOST = HOSTED._replace(cap=2048)
"""An endpoint with a key that may be a self-hosted server behind https."""
HOSTED_STREAMED = OpeningRule(HOSTED_START, None, 4.0, 8192, 8192, Phase.SLOW_START)
"""An endpoint with a key whose calls are streamed: a hosted one, or a self-hosted server behind https."""

MAX_WAVE_SHARE, MIN_WAVE_CALLS = 0.02, 2.5
"""At a hosted endpoint, the calls that begin while a refusal is on its way: at most this share of the rows of the run,
or 2.5 if that is more."""
ASSUMED_REFUSAL_SECONDS, MIN_REFUSAL_SECONDS, MAX_REFUSAL_SECONDS = 0.05, 0.05, 0.1
"""How long a refusal takes: before it is measured, and the bounds within which the measured time counts. A run without
a quota should not wait longer than the upper one lets it."""
UNANSWERED_DOUBLING_SECONDS = 0.25
"""Until the first answer, whose headers may announce a limit, a hosted window doubles in this time or more."""
ASSUMED_ROWS = 1000
"""Assumed number of rows if it is unknown."""
MAX_BLIND_START = 16
"""A larger initial size does not grow before the server is known to work on more than that."""
MARK_STEP = 1.2
"""The next mark is at this multiple of the place of the last one."""
MIN_STALL_SECONDS, STALL_FACTOR = 0.5, 4.0
"""A mark is late after this time, and after this multiple of the median time to the first token."""
MAX_ANSWERS_PER_CALL = 8
"""Answers per call of the window after which the opening ends in any case, because the window was not used up."""
STALL_HEADROOM = 1.22
"""Calls in flight per call that the server works on, until the late mark is begun: one step between two marks."""
MAX_REPEATS, MIN_FULL_SHARE = 3, 0.9
"""If 3 consecutive marks show no more calls being worked on, although the window is full, the others queue. A
server with short answers begins each call before it is late. The window is full at this share of its size."""
MIN_ORDERED_ANSWERS, MAX_QUEUED_RATIO = 16, 0.6
"""Answers needed to judge their order, and the estimate of the calls that the server works on, per call sent, below
which the others queue. Without a queue, the chance of a smaller ratio is below one in a thousand (0.6 to the 16th)."""
MAX_JUDGED_CALLS = 8 * 8192
"""Calls whose times of sending are kept, in order to judge the order of the answers. An opening in which calls are
answered ends before there are more, unless most of them fail."""


class OpeningEnd(NamedTuple):
    """The end of an opening.

    Attributes:
        size: size of the window from now on.
        reason: the reason, for the timeline.
        phase: the phase in which the search for the knee continues.
        is_knee: whether the size is that of the server's capacity.
        first_token_seconds: median time to the first token without a queue; None if it was not observed.
    """

    size: float
    reason: str
    phase: Phase
    is_knee: bool = False
    first_token_seconds: float | None = None


class WindowOpening:
    """The opening of one window.

    Args:
        rule: how it opens.
        size: the size with which it starts.
        max_size: largest size permitted.

    Attributes:
        size: number of calls that may be in flight; grows when a call is sent at the time that `earliest` permits.
        started: number of calls that were put on the wire since the opening began. A call's place is its number.
        rule: how the window opens. It changes when it turns out what can be observed.
    """

    def __init__(self, rule: OpeningRule, size: int, max_size: int) -> None:
        self.rule, self.size = rule, size
        self.started = 0
        self._sent = 0  # including those that are about to be put on the wire
        self._start, self._max_size, self._rows = size, max_size, ASSUMED_ROWS
        self._cap = rule.cap
        self._working = 0  # largest number of calls that the server has worked on at once
        self._repeats = 0  # consecutive marks in a full window that showed no more calls being worked on
        self._grown_at = -math.inf  # when that number has grown
        self._answers = 0
        self._growth_due = -math.inf
        self._refusal_seconds = ASSUMED_REFUSAL_SECONDS
        self._marks: dict[int, float] = {}  # place → when it was sent, for calls that are not known to have begun
        self._last_mark = size
        self._first_tokens: list[float] = []
        self._late: int | None = None  # place of the late mark
        self._is_paced = False
        self._sent_at: list[float] = []
        self._answered: list[tuple[float, int]] = []  # (seconds, place)

    def __repr__(self) -> str:
        return f"<WindowOpening {self.size}, the server works on {self._working}>"

    def expect_rows(self, rows: int) -> None:
        """Record the number of rows of the run."""
        self._rows = rows

    def expect_refusals_after(self, seconds: float) -> None:
        """Record how long a refusal probably takes."""
        self._refusal_seconds = min(MAX_REFUSAL_SECONDS, max(MIN_REFUSAL_SECONDS, seconds))

    def follow(self, rule: OpeningRule, cap: int | None = None) -> None:
        """Continue with another rule, for example because first tokens cannot be observed.

        Args:
            cap: cap instead of that of the rule.
        """
        if rule != self.rule:
            self.rule, self._cap = rule, cap or rule.cap
            self._marks.clear()
            self._late = None

    def step_aside(self) -> None:
        """Continue by the clock alone, because a rate limit bounds the calls. No answer is judged any more."""
        if self._is_paced:
            return
        self.follow(HOSTED)
        self._is_paced, self._cap = True, HOSTED.next_cap
        self._sent_at.clear()
        self._answered.clear()

    @property
    def _limit(self) -> float:
        """Largest size at the moment."""
        if self._late is not None:
            return self.size
        return min(self._max_size, self._cap, self._reach)

    @property
    def _reach(self) -> float:
        return max(self._start, self.rule.reach * max(min(self._start, MAX_BLIND_START), self._working))

    def is_blocked(self, in_flight: int) -> bool:
        """Return whether the window is full and cannot grow before more calls have begun."""
        return in_flight >= self.size and self.size >= self._limit

    def earliest(self, in_flight: int) -> float:
        """Return the earliest time at which another call may start; inf if something must be observed first."""
        if in_flight < self.size:
            return -math.inf
        return math.inf if self.size >= self._limit else self._growth_due

    def record_sent(self, in_flight: int, now: float) -> None:
        """Record that a call may be sent now; `in_flight` includes it."""
        if self.rule.is_hosted and not self._sent:
            self._growth_due = now + self._step_seconds  # the time before the first call does not count as a wait
        self._sent += 1
        if self._sent <= MAX_JUDGED_CALLS and not self._is_paced:
            self._sent_at.append(now)
        if in_flight > self.size:
            step = self._step_seconds
            self.size = in_flight
            self._growth_due = max(self._growth_due, now - self._doubling_seconds) + step

    @property
    def _doubling_seconds(self) -> float:
        if self.rule.doubling_seconds is not None:
            return self.rule.doubling_seconds
        least = 0.0 if self._answers else UNANSWERED_DOUBLING_SECONDS
        return max(least, REFUSALS_PER_DOUBLING * self._refusal_seconds)

    @property
    def _step_seconds(self) -> float:
        """Shortest time in which the window grows by one call."""
        step = self._doubling_seconds * math.log2((self.size + 1) / self.size)
        if self.rule.is_hosted:
            step = max(step, self._refusal_seconds / max(MIN_WAVE_CALLS, MAX_WAVE_SHARE * self._rows))
        return step

    def record_started(self) -> None:
        """Record that a call is put on the wire. Calls that may be sent at the same moment do so in any order."""
        self.started += 1

    @property
    def is_beyond_start(self) -> bool:
        """Whether more calls were started than the initial size permits at once."""
        return self.started > self._start

    @property
    def is_mark_due(self) -> bool:
        """Whether the last call started should be marked. The first mark is the first call beyond the initial size."""
        if self.rule.reach == math.inf or self._late is not None or self.started <= self._last_mark:
            return False
        return self.started <= 10 or self.started >= MARK_STEP * self._last_mark

    def take_mark(self, now: float) -> int | None:
        """Return the place of the last call started if it should be marked, so that its first token is reported."""
        if not self.is_mark_due:
            return None
        place = self._last_mark = self.started
        self._marks[place] = now
        return place

    @property
    def has_fast_answers(self) -> bool:
        """Whether a whole round of calls was answered."""
        return self._answers >= self._start

    def record_begun(self, place: int, in_flight: int, now: float) -> OpeningEnd | None:
        """Record that the server has begun the call at this place, and so all before it."""
        sent_at = self._marks.get(place)
        if sent_at is not None:
            self._first_tokens.append(now - sent_at)
        for mark in [mark for mark in self._marks if mark <= place]:
            del self._marks[mark]
        working = place - (self._sent - in_flight)  # the others have ended
        if working > QUEUE_HEADROOM * self._working:
            self._repeats, self._grown_at = 0, now
        elif sent_at is not None and sent_at > self._grown_at and self._is_held(in_flight):
            self._repeats += 1
        self._working = max(self._working, working)
        is_found = self._repeats >= MAX_REPEATS if self._late is None else place >= self._late
        if not is_found:
            return self._after_cap()
        if self._working < 1:  # first tokens take as long as answers
            return OpeningEnd(max(self.size, self._start), "first tokens are late", Phase.SLOW_START)
        reason = f"the server works on {self._working} calls, others queue"
        size = QUEUE_HEADROOM * self._working + 1
        return OpeningEnd(size, reason, Phase.STEADY, is_knee=True, first_token_seconds=self._usual_wait)

    def _is_held(self, in_flight: int) -> bool:
        """Return whether only the number of calls that the server works on keeps the window from growing."""
        return in_flight >= MIN_FULL_SHARE * self.size and self.size >= self._reach

    def record_answer(self, seconds: float, in_flight: int, now: float) -> OpeningEnd | None:
        """Record an answer, and the seconds that its call took; `in_flight` includes it."""
        self._answers += 1
        if self._is_paced:
            return None
        if self._answers > MAX_ANSWERS_PER_CALL * max(MIN_ORDERED_ANSWERS, self.size):
            return OpeningEnd(self.size, "", Phase.SLOW_START)
        if self.rule.reach == math.inf:
            return self._record_order(seconds, now)
        if self._late is not None:
            return self._after_late_mark(in_flight)
        if self._marks and self._is_late(next(iter(self._marks)), now):
            self._late = next(iter(self._marks))
            self.size = min(self.size, max(1, round(STALL_HEADROOM * self._working)))
            return None
        return self._after_cap()

    def _is_late(self, mark: int, now: float) -> bool:
        return now - self._marks[mark] > max(MIN_STALL_SECONDS, STALL_FACTOR * (self._usual_wait or 0.0))

    @property
    def _usual_wait(self) -> float | None:
        return median(self._first_tokens) if self._first_tokens else None

    def _after_late_mark(self, in_flight: int) -> OpeningEnd | None:
        """Give up if the late mark must have begun long ago: its first token cannot be observed."""
        assert self._late is not None
        if self._late - (self._sent - in_flight) >= self._working / 2:
            return None
        return OpeningEnd(max(self.size, self._start), "a first token is missing", Phase.SLOW_START)

    def _after_cap(self) -> OpeningEnd | None:
        """End at the cap, once all calls have begun and some were answered."""
        is_open = self.size >= min(self._cap, self._max_size) and self._answers > 0 and not self._marks
        if not is_open or self.rule.reach == math.inf:
            return None
        return OpeningEnd(self.size, "the opening is complete", self.rule.next_phase)

    def _record_order(self, seconds: float, now: float) -> OpeningEnd | None:
        """Judge the order of the answers from time to time."""
        place = bisect_right(self._sent_at, now - seconds)
        self._answered.append((seconds, place))
        if len(self._answered) % MIN_ORDERED_ANSWERS:
            return None
        usual = median(seconds for seconds, _ in self._answered)
        old_enough = bisect_right(self._sent_at, now - usual)  # these calls had as much time as the fast answers took
        places = [place for seconds, place in self._answered if seconds <= usual and place <= old_enough]
        if len(places) < MIN_ORDERED_ANSWERS:
            return None
        works_on = max(places) * (len(places) + 1) / len(places)
        if works_on < MAX_QUEUED_RATIO * old_enough:
            return OpeningEnd(self.size, f"only the first {works_on:.0f} calls are answered", Phase.STEADY)
        if self.size < min(self._cap, self._max_size) or old_enough < MAX_QUEUED_RATIO * self.size:
            return None
        if self._cap < self.rule.next_cap and self._cap < self._max_size:
            self._cap = self.rule.next_cap
            return None
        return OpeningEnd(self.size, "the opening is complete", self.rule.next_phase)

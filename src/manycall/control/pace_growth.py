"""The pace of a learned rate limit: the rate after a refusal, and how it grows from there (control/throttle.py).

Four stages follow each other:

* RAMP, until the second wave of refusals. Servers permit bursts, of a second's or of a minute's calls, and the calls
  accepted before the first refusal do not show which. The ramp starts near the rate of a server that permits a minute's
  and doubles until it is near that of one that permits a second's. How often it doubles depends on the time that a
  refusal takes, because the calls of that time are refused together.
* SEARCH, until enough calls were accepted between two waves to know the rate.
* FIRST, after the first measurement, which may be too low. If it is not (control/throttle.py), LATER follows at once.
* LATER. The rate grows slowly, and faster the longer no call is refused, so that a raised quota is discovered.
"""

import math
from enum import Enum

RAMP_START, MIN_RAMP_RATE = 1 / 32, 4.0
"""The ramp ends at the calls accepted in the last second before the refusal. It starts at this share of them, or at 4
calls per second if that is more. The opening has more than doubled in that second, so a server that permits a burst of
a second has accepted some 1.5 times its rate, and one that permits a minute's some 50 times."""
REFUSALS_PER_DOUBLING, MIN_DOUBLING_SECONDS, MAX_DOUBLING_SECONDS = 3.0, 0.1, 0.35
"""The ramp doubles in three times the time that a refusal takes, within these bounds."""
SLOW_DOUBLING_SECONDS, SLOW_DOUBLING_CALLS, MAX_SLOW_SECONDS = 2.0, 8, 20.0
"""Time in which the rate doubles beyond the ramp and in the search, for up to 20 s. In the search a doubling also takes
8 calls, because a slow quota would otherwise be exceeded every few calls."""
FIRST_GROWTH_SECONDS, GROWTH_SECONDS = 40.0, 200.0
"""Time in which the linear growth would double the rate after the first measurement, and later."""


class GrowthStage(Enum):
    """How a learned rate grows."""

    RAMP = "ramp"
    SEARCH = "search"
    FIRST = "first"
    LATER = "later"


class PaceGrowth:
    """The rate of one endpoint, in calls per second.

    Args:
        lowest: the rate is never lower.

    Attributes:
        stage: how it grows.
        base_rate: the rate after the last refusal.
        starts_at: when it begins to grow from there.
    """

    def __init__(self, lowest: float) -> None:
        self._lowest = lowest
        self.stage = GrowthStage.FIRST
        self.base_rate = self.starts_at = 0.0
        self._calls = 0  # since the last refusal
        self._doubling_seconds = self._ramp_seconds = 0.0  # of the ramp: to double, and altogether

    def __repr__(self) -> str:
        return f"<PaceGrowth {self.stage.value}, {self.base_rate:.3g}/s>"

    @property
    def is_measuring(self) -> bool:
        """Whether too few calls were accepted since the first refusal to know the rate."""
        return self.stage in (GrowthStage.RAMP, GrowthStage.SEARCH)

    def begin_ramp(self, accepted: int, refusal_seconds: float) -> None:
        """Set the rate after the first refusal.

        Args:
            accepted: calls accepted in the last second before it.
            refusal_seconds: time from sending the call to its refusal.
        """
        start = max(RAMP_START * accepted, min(accepted, MIN_RAMP_RATE))
        self.set_rate(start, GrowthStage.RAMP)
        seconds = REFUSALS_PER_DOUBLING * refusal_seconds
        self._doubling_seconds = min(MAX_DOUBLING_SECONDS, max(MIN_DOUBLING_SECONDS, seconds))
        self._ramp_seconds = self._doubling_seconds * math.log2(max(1.0, accepted / self.base_rate))

    def set_rate(self, rate: float, stage: GrowthStage) -> None:
        """Set the rate from which it grows."""
        self.base_rate, self.stage = max(self._lowest, rate), stage

    def start(self, at: float) -> None:
        """Grow from this time on."""
        self.starts_at, self._calls = at, 0

    def record_sent(self) -> None:
        """Count a call."""
        self._calls += 1

    def rate(self, now: float) -> float:
        """Return the rate now.

        In the stage FIRST it is the rate after the refusal times 1 + t / 40 s + (t / 60 s)³, later times 1 + t / 200 s
        + (t / 60 s)³. The cubic term is the curve of CUBIC's window (RFC 9438). Later, t advances by at most 0.1 s per
        call that is sent, so that a slow quota is not exceeded too often.
        """
        t = max(0.0, now - self.starts_at)
        match self.stage:
            case GrowthStage.RAMP:
                fast = min(t, self._ramp_seconds)
                return self.base_rate * math.pow(2.0, fast / self._doubling_seconds + _slow_doublings(t - fast))
            case GrowthStage.SEARCH:
                doublings = min(_slow_doublings(t), self._calls / SLOW_DOUBLING_CALLS)
                return self.base_rate * math.pow(2.0, doublings)
            case GrowthStage.FIRST:
                linear = t / FIRST_GROWTH_SECONDS
            case GrowthStage.LATER:
                t = min(t, self._calls / 10)
                linear = t / GROWTH_SECONDS
        return self.base_rate * (1 + linear + (t / 60) ** 3)

    def cost(self, now: float) -> float:
        """Return as how many calls one counts now. On the ramp the next one is due sooner, because the rate grows."""
        if self.stage is not GrowthStage.RAMP or max(0.0, now - self.starts_at) >= self._ramp_seconds:
            return 1.0
        calls = self.rate(now) * self._doubling_seconds / math.log(2)
        return calls * math.log1p(1 / calls)


def _slow_doublings(seconds: float) -> float:
    return min(seconds, MAX_SLOW_SECONDS) / SLOW_DOUBLING_SECONDS

"""Decide whether refusals (429) are random or caused by the call rate.

A rate limit refuses the calls above it. At half the rate it refuses far fewer, and soon none. A server that refuses one
call in ten at random (because of a fault, or because of many other clients) refuses one in ten at any rate, so a client
that slows down for it never stops slowing down. Therefore the share of refused calls is compared each time the rate has
been reduced by a fifth. control/throttle.py measures the rate before that, so already the first of these rates is low
enough for a rate limit to refuse hardly any call.

A client that keeps to a rate limit sees some refusals too, about one in a hundred calls. Therefore the calls that were
really sent must have become fewer, unlike at a limit of tokens, where only the measured rate varies. And the rate must
still be falling, unlike after a limit was reduced.
"""

import math

MIN_CALLS, MIN_REFUSALS = 30, 5
"""Minimum number of calls and of refusals from which a share is computed."""
CALLS_PER_CHECK = 100
"""Calls between two checks whether the refusals are still random."""
MAX_RANDOM_SHARE = 0.5
"""If a server refuses more than this share of the calls, the refusals are not treated as random."""
MIN_IMPROVEMENT = 0.5
"""A reduction helps only if it reduces the share of refusals to less than this factor of the previous share."""
MIN_REDUCTION = 1.25
"""The share is compared each time the rate has been divided by this factor."""
MIN_MEAN_REDUCTION = 1.1
"""The calls sent per second must have become fewer by this factor, and the rate must be lower by it than they are."""
MIN_SECONDS = 0.1
"""Shortest time over which calls per second are computed."""
WORSE, MORE = 2.0, 0.1
"""The refusals are no longer only random once their share exceeds WORSE times the random share plus MORE."""
SMOOTHING, PACE_DRIFT = 0.2, 1.5
"""Weight of a new check in the random share, and the largest ratio of that share to its first measured value."""


class RandomRefusals:
    """The refusals of one endpoint.

    Attributes:
        refusal_rate: share of the calls that are refused at random; None while refusals seem to depend on the rate.
    """

    __slots__ = (
        "_began_at", "_first_rate", "_last_at", "_previous_mean", "_previous_share", "_refused", "_sent",
        "_starting_pace", "refusal_rate",
    )  # fmt: skip

    def __init__(self) -> None:
        self.refusal_rate: float | None = None
        self._first_rate = 0.0
        self._previous_share: float | None = None
        self._previous_mean = math.inf  # calls per second
        self._starting_pace = 0.0
        self._sent = self._refused = 0
        self._began_at = self._last_at = 0.0

    def __repr__(self) -> str:
        if self.refusal_rate is None:
            return "<RandomRefusals: none>"
        return f"<RandomRefusals: {self.refusal_rate:.0%} at any rate>"

    def record_sent(self, now: float) -> None:
        """Count a call that is sent."""
        if not self._sent:
            self._began_at = now
        self._last_at = now
        self._sent += 1

    def record_429(self) -> None:
        """Count a call that was refused."""
        self._refused += 1

    def record_slowdown(self, pace: float, lowest: float) -> bool:
        """Record that the rate was reduced, and return whether the reductions have proved useless.

        Args:
            pace: the new rate, in calls per second.
            lowest: the lowest rate ever used. A reduction to this rate counts as another reduction.
        """
        if not self._starting_pace:
            self._begin(pace)
            return False
        enough = self._sent >= MIN_CALLS and self._refused >= MIN_REFUSALS
        if pace > max(self._starting_pace / MIN_REDUCTION, lowest) or not enough:
            return False
        share, mean = self._refused / self._sent, self._sent / max(self._last_at - self._began_at, MIN_SECONDS)
        useless = (
            self._previous_share is not None
            and (pace <= lowest or MIN_MEAN_REDUCTION * pace <= mean <= self._previous_mean / MIN_MEAN_REDUCTION)
            and MIN_IMPROVEMENT * self._previous_share <= share <= MAX_RANDOM_SHARE >= self._previous_share
        )
        if useless:
            self.refusal_rate = self._first_rate = share
        self._previous_share, self._previous_mean = share, mean
        self._begin(0.0 if useless else pace)
        return useless

    def is_informative(self) -> bool:
        """Whether the last refusal may have been caused by the rate, because a limit exists in addition to chance."""
        if self.refusal_rate is None:
            return True
        if self._sent < CALLS_PER_CHECK:
            return False
        share = self._refused / self._sent
        self._begin(self._starting_pace)
        if share > min(WORSE * self.refusal_rate + MORE, MAX_RANDOM_SHARE):
            return True
        self.refusal_rate = min(
            self.refusal_rate + SMOOTHING * (share - self.refusal_rate), PACE_DRIFT * self._first_rate
        )
        return False

    def restart(self) -> None:
        """Forget the calls so far, because the rate is being measured and says nothing yet about chance."""
        self._previous_share = None
        self._begin(0.0)

    def _begin(self, pace: float) -> None:
        self._starting_pace, self._sent, self._refused = pace, 0, 0

"""Are calls refused by chance, or because they are too many?

A limit refuses what is above it: of calls at half the pace it refuses far fewer, and soon none. A server that refuses
one call in ten at random (a fault, a crowd of others) refuses one in ten at any pace; whoever slows down for it slows
down for ever. So the share that is refused is compared, each time that the pace has been halved.
"""

FEWEST_CALLS, FEWEST_REFUSED = 30, 5
"""That a share is reckoned from."""
BLOCK = 100
"""Calls, between two looks whether it is still chance alone."""
MOST = 0.5
"""A server that refuses more than half is not met by chance."""
RARER = 0.5
"""Halving the pace must make refusals rarer by this factor at least, if it is to be their remedy."""
WORSE, MORE = 2.0, 0.1
"""Refusals become so many times as frequent, and by so much of the calls: then it is not chance alone."""
SMOOTHING, CREEP = 0.2, 1.5
"""Of what is known of the share, with each look at it; and times what it was found to be, at most."""


class Chance:
    """The refusals of one endpoint.

    Attributes:
        share: of the calls that are refused by chance; None as long as it seems to depend on the pace.
    """

    __slots__ = ("_before", "_found", "_refused", "_sent", "_top", "share")

    def __init__(self) -> None:
        self.share: float | None = None
        self._found = 0.0
        self._before: float | None = None
        self._top = 0.0
        self._sent = self._refused = 0

    def __repr__(self) -> str:
        return f"<Chance: {'depends on the pace' if self.share is None else f'{self.share:.0%} refused at any pace'}>"

    def sent(self) -> None:
        """A call goes."""
        self._sent += 1

    def refused(self) -> None:
        """A call was refused."""
        self._refused += 1

    def slowed(self, pace: float, lowest: float) -> bool:
        """The pace was cut to this, in calls a second. Returns whether that was in vain, as is clear now.

        Args:
            lowest: it is never less; so there it counts as halved again, though it is not.
        """
        if not self._top:
            self._begin(pace)
            return False
        enough = self._sent >= FEWEST_CALLS and self._refused >= FEWEST_REFUSED
        if pace > max(self._top / 2, lowest) or not enough:
            return False
        share = self._refused / self._sent
        in_vain = self._before is not None and RARER * self._before <= share <= MOST >= self._before
        if in_vain:
            self.share = self._found = share
        self._before = share
        self._begin(0.0 if in_vain else pace)
        return in_vain

    def teaches(self) -> bool:
        """Whether the refusal that has just come says something of the pace: there may be a limit besides chance."""
        if self.share is None:
            return True
        if self._sent < BLOCK:
            return False
        share = self._refused / self._sent
        self._begin(self._top)
        if share > min(WORSE * self.share + MORE, MOST):
            return True
        self.share = min(self.share + SMOOTHING * (share - self.share), CREEP * self._found)
        return False

    def _begin(self, pace: float) -> None:
        self._top, self._sent, self._refused = pace, 0, 0

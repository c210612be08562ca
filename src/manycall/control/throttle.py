"""What refusals teach: a gate that shuts for everybody, and a pace at what is let in.

For limits that nobody has told. A 429 shuts one gate for all calls to this endpoint: until the moment that the
server named, else for a tenth of a second, and twice as long each time that it comes again at once; then a single
call, the scout, goes ahead, and the others follow when it was not refused either. Calls that went before the gate
shut teach nothing more: one wave of refusals is one event.

The pace starts from what was lately let in, and climbs slowly, faster the longer nothing is refused, so that a
quota that has grown is found. A refusal is quick and an answer slow, so a call counts as let in unless it is
refused within a few times as long as refusals take.

Where refusals are no rarer at half the pace, and at a quarter, they come by chance (control/chance.py): the pace is
given up, and from then on only what goes beyond chance shuts the gate and teaches one. Any other refusal is the
affair of its own call, which waits as long as it was told to.
"""

import math
from collections import deque
from collections.abc import Callable

from manycall.control.chance import Chance
from manycall.control.quota import Pace

FIRST_WAIT, LONGEST_WAIT = 0.1, 30.0
"""Seconds for which the gate is shut when the server does not say how long."""
AGAIN_SECONDS = 5.0
"""A refusal so soon after the last one is the same trouble, going on."""
SLOWEST = 0.2
"""Calls a second that are always tried."""
RAMP = 1.35
"""Growth a second after the first refusal, when what was let in tells little yet, until the second."""
CUT_RAMP, CUT = 0.75, 0.95
MEASURED_SECONDS = 10.0


class Throttle:
    """What one endpoint has refused one key for one model."""

    def __init__(self, note: Callable[[float, str], None] = lambda now, why: None) -> None:
        self._note = note
        self._pace: Pace | None = None
        self._base = self._since = 0.0
        self._calls = 0
        self._ramping = True
        self._until = self._shut_at = float("-inf")
        self._streak = 0
        self._scout: float | None = None  # when it went
        self._needs_scout = False
        self._patience = 1.0
        self._start: float | None = None
        self._let_in: deque[list[float]] = deque()  # [second, how many]
        self._chance = Chance()

    def __repr__(self) -> str:
        return f"<Throttle {'no pace' if self._pace is None else f'{self._pace.rate:.3g}/s'}>"

    @property
    def rate(self) -> float | None:
        """Calls a second that were learned; None as long as nothing was refused."""
        return None if self._pace is None else self._pace.rate

    def when(self, now: float) -> float:
        """The earliest moment at which a call may go."""
        at = self._until
        if self._scout is not None:
            at = max(at, self._scout + self._patience)
        if self._pace is None:
            return at
        self._pace.rate = self._rate(now)
        return max(at, self._pace.when(1.0))

    def unused(self) -> None:
        """The call that went last did not go after all."""
        if self._scout is not None:
            self._scout, self._needs_scout = None, True

    def hold(self, until: float) -> None:
        """The server has said that nothing is left before then."""
        self._until = max(self._until, until)

    def _rate(self, now: float) -> float:
        """Where the pace has climbed to since the last refusal.

        In the ramp by 35 % a second. Then as 1 + t / 200 s + (t / 60 s)³, the shape that CUBIC gives a window
        (RFC 9438), where a tenth of a second counts only if a call went in it: a slow quota is not to be asked for
        more too often.
        """
        t = max(0.0, now - self._since)
        if self._ramping:
            return self._base * math.pow(RAMP, min(t, 20.0))
        t = min(t, self._calls / 10)
        return self._base * (1 + t / 200 + (t / 60) ** 3)

    def sent(self, now: float) -> None:
        """A call goes, at a moment that `when` allowed."""
        if self._start is None:
            self._start = now
        self._scout, self._needs_scout = (now if self._needs_scout else None), False
        if self._pace is not None:
            self._pace.take(1.0, now)
        self._calls += 1
        self._chance.sent()
        self._count(now, 1)

    def refused(self, sent: float, now: float, wait: float | None, *, known: bool = False) -> bool:
        """A call that went at `sent` got 429, perhaps with a word on how long to wait.

        Returns whether that concerns all calls; if not, it was chance, and this one alone is to wait.

        Args:
            known: the quota is known and kept to, so that a single refusal is no lesson: it may be a call that was
                longer than was guessed. Only if the next is refused too, somebody else must be using it.
        """
        self._count(sent, -1)
        self._chance.refused()
        if not self._chance.teaches():
            return False
        self._patience = min(2.0, max(0.05, 4 * (now - sent)))
        if wait is not None:
            self._until = max(self._until, now + wait)
        if sent < self._shut_at:
            if self._ramping:  # of the first wave much was counted as let in that was only not refused yet
                self._base = min(self._base, max(self._measured(now), SLOWEST))
            return True
        self._streak = self._streak + 1 if now - self._shut_at < AGAIN_SECONDS else 1
        if wait is None:
            self._until = now + min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (self._streak - 1))
        if not known or self._streak > 1:
            self._learn(now)
        self._shut_at, self._scout = now, None
        self._needs_scout = self._streak > 1 or (self._ramping and not known)
        return True

    def _learn(self, now: float) -> None:
        measured = self._measured(now)
        if self._pace is None:
            self._base = max(measured, SLOWEST)
            self._pace = Pace(self._base)
        elif self._calls > 1:  # not only the scout: nothing was let in since, but then nothing was tried either
            cut = self._rate(now) * (CUT_RAMP if self._ramping else CUT)
            self._base = max(SLOWEST, min(cut, max(measured, cut / 2)))
            self._ramping = False
        self._since, self._calls = max(now, self._until), 0
        self._note(now, f"429: on at {self._base:.3g} calls/s, in {max(0.0, self._until - now):.2g} s")
        if self._chance.slowed(self._base, SLOWEST):
            self._pace = None
            self._note(now, f"429: {self._chance.share:.0%} of the calls, at whatever pace: it is given up")

    def _count(self, sent: float, change: int) -> None:
        second = float(int(sent))
        if change > 0 and (not self._let_in or self._let_in[-1][0] != second):
            self._let_in.append([second, 0.0])
            while second - self._let_in[0][0] > MEASURED_SECONDS:
                self._let_in.popleft()
        for entry in reversed(self._let_in):
            if entry[0] == second:
                entry[1] += change
                break

    def _measured(self, now: float) -> float:
        """Calls let in a second, lately."""
        span = min(MEASURED_SECONDS, now - (self._start if self._start is not None else now))
        return max(0.0, sum(count for _, count in self._let_in)) / max(span, 1.0)

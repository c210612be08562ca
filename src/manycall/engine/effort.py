"""How busy this process is itself: nobody shall blame a server for what the client cannot do."""

from manycall import clock
from manycall.engine.bounds import cores

BUSY = 0.9
"""Of a core for the loop's thread, or of all cores for all threads: more calls in flight would only wait for us."""
LATE_SECONDS = 0.2
"""A loop that is so late was held up: by its own work, by a row function that blocks, by others on the machine."""


class Effort:
    """What this process did since the last look.

    Attributes:
        thread, process: seconds of CPU a second, of the loop's thread and of all threads.
        waited: seconds a second that the loop's thread had work and no core: others used it.
        late: seconds that the loop was late.
        bound_seconds: for so long, all in all, it was the process that kept the calls from being faster.
        worst: how that looked when it was at its worst, for people; "" if it never was.
    """

    def __init__(self) -> None:
        self.thread = self.process = self.waited = self.late = 0.0
        self.bound_seconds = 0.0
        self.worst = ""
        self._worst = 0.0
        self._cores = cores()
        self._then: tuple[float, ...] | None = None

    def __repr__(self) -> str:
        return f"<Effort: {self}>"

    def look(self, seconds: float) -> None:
        """Take the figures; `seconds` is when that was due after the last time."""
        now = clock.now(), clock.cpu(), clock.cpu(of_all=True), clock.waited_for_cpu()
        if self._then is not None:
            passed, *used = (new - old for new, old in zip(now, self._then, strict=True))
            self.thread, self.process, self.waited = (each / max(passed, 1e-9) for each in used)
            self.late = max(0.0, passed - seconds)
            if self.bound:
                self.bound_seconds += passed
                if self._strain >= self._worst:
                    self._worst, self.worst = self._strain, str(self)
        self._then = now

    @property
    def bound(self) -> bool:
        """Whether this process keeps the calls from being faster."""
        return self._strain >= 1.0

    @property
    def _strain(self) -> float:
        return max((self.thread + self.waited) / BUSY, self.process / self._cores / BUSY, self.late / LATE_SECONDS)

    def __str__(self) -> str:
        if self.late >= LATE_SECONDS and max(self.thread + self.waited, self.process / self._cores) < BUSY:
            return f"the loop is {self.late:.1f} s late"
        if self.waited >= 1 - BUSY and self.thread + self.waited >= self.process / self._cores:
            return f"{self.thread:.0%} of a core, and no core {self.waited:.0%} of the time"
        if self.thread >= self.process / self._cores:
            return f"{self.thread:.0%} of a core"
        return f"{self.process / self._cores:.0%} of {self._cores} cores"

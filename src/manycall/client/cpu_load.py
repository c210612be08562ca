"""CPU load of this process, to detect when the client is the bottleneck rather than the server."""

from manycall import clock
from manycall.client.system_limits import available_cores

BUSY_SHARE = 0.9
"""Load of one core by the event loop's thread, or of all cores by all threads, from which on more calls in flight would
only wait for this process."""
MAX_LOOP_LAG_SECONDS = 0.2
"""From this delay on, the event loop was blocked: by its own work, a blocking row function, or other processes."""


class CpuLoad:
    """The CPU load of this process since the previous sample.

    Attributes:
        thread, process: CPU seconds per second of the event loop's thread and of all threads.
        cpu_wait: seconds per second in which the loop's thread could have run but other processes used the cores.
        loop_lag: delay of the event loop in seconds.
        bound_seconds: total time in which this process limited the calls.
        worst: description of the worst sample in that time; "" if there is none.
    """

    def __init__(self) -> None:
        self.thread = self.process = self.cpu_wait = self.loop_lag = 0.0
        self.bound_seconds = 0.0
        self.worst = ""
        self._worst = 0.0
        self._cores = available_cores()
        self._previous: tuple[float, ...] | None = None

    def __repr__(self) -> str:
        return f"<CpuLoad: {self}>"

    async def sample_after(self, seconds: float) -> None:
        """Wait for some seconds, then take a sample. The event loop is late by what the wait takes longer."""
        if self._previous is None:
            self._previous = _read_clocks()
        started = clock.now()
        await clock.sleep(seconds)
        self.loop_lag = max(0.0, clock.now() - started - seconds)
        now = _read_clocks()
        passed, *used = (new - old for new, old in zip(now, self._previous, strict=True))
        self.thread, self.process, self.cpu_wait = (each / max(passed, 1e-9) for each in used)
        if self.is_limiting:
            self.bound_seconds += passed
            if self._strain >= self._worst:
                self._worst, self.worst = self._strain, str(self)
        self._previous = now

    @property
    def is_limiting(self) -> bool:
        """Whether this process is the bottleneck."""
        return self._strain >= 1.0

    @property
    def _strain(self) -> float:
        return max(
            (self.thread + self.cpu_wait) / BUSY_SHARE,
            self.process / self._cores / BUSY_SHARE,
            self.loop_lag / MAX_LOOP_LAG_SECONDS,
        )

    def __str__(self) -> str:
        if (
            self.loop_lag >= MAX_LOOP_LAG_SECONDS
            and max(self.thread + self.cpu_wait, self.process / self._cores) < BUSY_SHARE
        ):
            return f"the event loop is {self.loop_lag:.1f} s late"
        if self.cpu_wait >= 1 - BUSY_SHARE and self.thread + self.cpu_wait >= self.process / self._cores:
            return f"{self.thread:.0%} of a core, and waiting for one {self.cpu_wait:.0%} of the time"
        if self.thread >= self.process / self._cores:
            return f"{self.thread:.0%} of a core"
        return f"{self.process / self._cores:.0%} of {self._cores} cores"


def _read_clocks() -> tuple[float, ...]:
    """Return the time, the CPU time of this thread and of all threads, and the time without a core."""
    return clock.now(), clock.cpu_time(), clock.cpu_time(of_all=True), clock.cpu_wait_time()

"""How many workers a run has."""

from collections import deque

BOUND_SECONDS, BOUND_SHARE, MIN_SECONDS_LEFT = 4.0, 0.75, 30.0
"""A worker is added if all workers were the limit for this share of this time, and the rows take so much longer."""


class WorkerCount:
    """Decides when to start a worker.

    Args:
        processes: the number of workers; None: one, and more while they are the limit, up to the number of cores.
        cores: number of cores where the workers run.
    """

    def __init__(self, processes: int | None, cores: int) -> None:
        self._cores = cores
        self._is_fixed = processes is not None
        self._wanted = processes or 1
        self._history: deque[tuple[float, float]] = deque()  # (time, seconds in which the workers were the limit)

    def __repr__(self) -> str:
        return f"<WorkerCount {self._wanted}>"

    def wanted(self, now: float, bound_seconds: float, seconds_left: float) -> int:
        """Return how many workers there should be.

        Args:
            bound_seconds: for how long all workers have been the limit so far.
            seconds_left: how long the rows will take at the present speed; inf if it is unknown.
        """
        if self._is_fixed or self._wanted >= self._cores:
            return self._wanted
        history = self._history
        history.append((now, bound_seconds))
        while len(history) > 1 and now - history[1][0] >= BOUND_SECONDS:
            history.popleft()
        then, bound_then = history[0]
        is_bound = now - then >= BOUND_SECONDS and bound_seconds - bound_then >= BOUND_SHARE * (now - then)
        if is_bound and seconds_left >= MIN_SECONDS_LEFT:
            self._wanted += 1
            history.clear()
        return self._wanted

"""A handle on one session of a job: stops it, and reports that its results were read."""

from manycall.errors import Interrupted
from manycall.run.row_engine import RowEngine


class SessionHandle:
    """Stops a session, also before it has begun, and lets it continue when results were read."""

    def __init__(self) -> None:
        self._engine: RowEngine | None = None
        self._reason: Interrupted | None = None
        self._is_cancelled = False

    def __repr__(self) -> str:
        return f"<SessionHandle of {self._engine!r}>"

    def attach(self, engine: RowEngine) -> None:
        """Connect the handle with the rows of the session, before they begin. If it was stopped, none begins."""
        self._engine = engine
        if self._reason is not None:
            (engine.cancel if self._is_cancelled else engine.stop)(self._reason)

    def raise_if_stopped(self) -> None:
        """Raise the reason, if the session was stopped."""
        if self._reason is not None:
            raise self._reason

    def stop(self, reason: Interrupted) -> None:
        """Start no new call; calls in flight finish."""
        self._reason = reason
        if self._engine is not None:
            self._engine.stop(reason)

    def cancel(self, reason: Interrupted) -> None:
        """Abort calls in flight too. Completed calls are in the journal."""
        self._reason, self._is_cancelled = reason, True
        if self._engine is not None:
            self._engine.cancel(reason)

    def forget_rows(self) -> None:
        """Record no result and no failure from now on. Safe in a signal handler."""
        if self._engine is not None:
            self._engine.forget_rows()

    @property
    def calls_in_flight(self) -> int:
        """Number of calls in flight."""
        return 0 if self._engine is None else self._engine.calls_in_flight

    @property
    def total_window(self) -> int:
        """Number of calls that may be in flight; 1 before the session has begun."""
        return 1 if self._engine is None else self._engine.total_window

    def recheck(self) -> None:
        """Check whether another row may start, because a result was read."""
        if self._engine is not None:
            self._engine.recheck()

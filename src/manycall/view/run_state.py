"""Whether a run is alive, and how it ended, from what is on disk. Its lock is never touched.

Even a short `flock` could refuse a run that starts just then.
"""

from typing import Any, NamedTuple

from manycall.render import _duration
from manycall.store.lock_holder import WritingProcess
from manycall.store.manifest import NOT_FINISHED

SILENT_SECONDS = 5.0
"""A running session writes a line a second. After this time without one, it is silent."""
STATES = ("running", "silent", "killed", "stopped", "partial", "finished", "none")
"""In the order of the list: what needs attention comes first."""
RESUME = "Run the same command again: it goes on where the run stopped."
CHECK_HOST = "If its process has ended there, run the same command again."


class RunState(NamedTuple):
    """The state of a run.

    Attributes:
        state: one of `STATES`.
        state_text: a sentence.
        remedy: what to do; empty if there is nothing to do.
    """

    state: str
    state_text: str
    remedy: str = ""


NO_RUN = RunState("none", "Not written by a run of manycall.")


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        ended: rows that are done, failed or rejected.
        failed: failed rows.
        total: rows of the input; None if unknown.
        updated_at: time of its last figures (Unix time in seconds); 0.0 without any.
    """

    ended: int
    failed: int
    total: int | None
    updated_at: float


def run_state(session: dict[str, Any], progress: Progress, process: WritingProcess, now: float) -> RunState:
    """Return the state of a run.

    Args:
        session: its last session, as in the manifest.
        process: the process that wrote the lock.
        now: Unix time in seconds.
    """
    outcome = str(session.get("outcome", "not started"))
    if outcome == NOT_FINISHED:
        age = max(0.0, now - max(progress.updated_at, float(session.get("started_at") or 0.0)))
        return _unfinished(age, process)
    if outcome != "finished":
        return RunState("stopped", outcome, RESUME)
    left = 0 if progress.total is None else progress.total - progress.ended
    if progress.failed or left > 0:
        missing = f", {left:,} were not started" if left > 0 else ""
        return RunState(
            "partial", f"{progress.failed:,} rows failed{missing}.", f"{RESUME} Failed rows are tried again."
        )
    return RunState("finished", "Finished.")


def _unfinished(age: float, process: WritingProcess) -> RunState:
    """Return the state of a session without an outcome, `age` seconds after its last update."""
    if age <= SILENT_SECONDS:
        return RunState("running", f"Running, last update {age:.0f} s ago.")
    if process.exists is None:
        return RunState("silent", f"No update for {_duration(age)}; it runs on {process.host}.", CHECK_HOST)
    if process.exists:
        return RunState("silent", f"No update for {_duration(age)}, but its process exists.", "Is it suspended?")
    return RunState("killed", f"Its process was killed; the last update was {_duration(age)} ago.", RESUME)

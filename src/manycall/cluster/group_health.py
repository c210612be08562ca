"""The health of the endpoints, as all workers together see it: one line of the timeline for each endpoint."""

from collections.abc import Iterable, Iterator
from typing import Any

Line = dict[str, Any]
"""A line of `run/endpoint_health.py`."""


class GroupHealth:
    """The newest line of each worker about each endpoint, also of workers that have ended."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[int, Line]] = {}
        self._changed: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<GroupHealth of {len(self._lines)} endpoints>"

    def record(self, worker: int, line: Line) -> None:
        """Record what a worker says of an endpoint."""
        self._lines.setdefault(line["endpoint"], {})[worker] = line
        self._changed[line["endpoint"]] = None

    def deactivate(self, worker: int) -> None:
        """Let only the errors of a worker count from now on, because it has ended."""
        for lines in self._lines.values():
            if worker in lines:
                lines[worker] = {**lines[worker], "in_flight": 0, "calls_per_s": 0.0, "has_share": False}

    def new_lines(self) -> Iterator[Line]:
        """Yield a line for each endpoint of which a worker has said something since the last call."""
        changed, self._changed = self._changed, {}
        for endpoint in changed:
            yield _merged([*self._lines[endpoint].values()])


def _merged(lines: Iterable[Line]) -> Line:
    """Return the lines of several workers about one endpoint as one line. Only those with a share know its state."""
    by_time = sorted(lines, key=lambda each: each["time"])
    sharing = [each for each in by_time if each.get("has_share", True)]
    windows = [each["window"] for each in sharing if each["window"] is not None]
    queues = [each["queue"] for each in by_time if each["queue"] is not None]
    return {
        "time": by_time[-1]["time"], "health": True, "endpoint": by_time[-1]["endpoint"],
        "in_flight": sum(each["in_flight"] for each in by_time), "window": sum(windows) if windows else None,
        "calls_per_s": round(sum(each["calls_per_s"] for each in by_time), 2),
        "errors": sum(each["errors"] for each in by_time),
        "ejected_for": min((each["ejected_for"] for each in sharing), default=0.0),
        "is_ejected": bool(sharing) and all(each["is_ejected"] for each in sharing),
        "queue": queues[-1] if queues else None,
        "limited_by": max(sharing or by_time, key=lambda each: each["in_flight"])["limited_by"],
    }  # fmt: skip

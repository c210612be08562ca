"""Summary and details of a run, from its manifest and the ends of its files."""

from pathlib import Path
from typing import Any

import msgspec

from manycall import clock
from manycall.errors import CorruptFile
from manycall.records import DECODE_ERRORS
from manycall.store.lock_holder import lock_holder, writing_process
from manycall.store.manifest import NOT_FINISHED, Manifest
from manycall.view.replies import plain
from manycall.view.run_list import FILES, FoundRun
from manycall.view.run_state import NO_RUN, Progress, RunState, run_state
from manycall.view.tail import last_lines
from manycall.view.time_left import RATE_SECONDS, time_left

LIST_TAIL_BYTES = 8 << 10
"""How much of a timeline is read for the list at first: a line of figures has 1 kB, and 0.1 kB more per endpoint."""
MAX_TAIL_BYTES = 8 << 20
"""The last figures are searched for in this much of a timeline."""
TAIL_BYTES = 1 << 20
"""How much is read for the page of one run: more than five minutes."""
SHOWN_EVENTS, SHOWN_FAILURES = 50, 5


class RunFacts:
    """The manifest and the last lines of the timeline of one run.

    Args:
        tail_bytes: how much of the timeline is read; more if it contains no figures.

    Attributes:
        manifest: None if there is none, or if it is damaged.
        damage: where the manifest is damaged; empty if it is not.
        figures: the last line of figures of the timeline; empty if there is none.
        lines: the decoded lines that were read.
    """

    def __init__(self, found: FoundRun, tail_bytes: int) -> None:
        self._found = found
        self.manifest, self.damage = read_manifest(found)
        self.lines = _end_with_figures(found.file("timeline"), tail_bytes) if found.kind == "run" else []
        self.figures = _last_figures(self.lines)

    @property
    def session(self) -> dict[str, Any]:
        """The last session, as in the manifest; empty if there is none."""
        sessions = self.manifest.sessions if self.manifest is not None else []
        return sessions[-1] if sessions else {}

    @property
    def holder(self) -> str:
        """Text of the lock about the process that writes, or has written, the output."""
        return lock_holder(_content(self._found.folder / "lock"))

    @property
    def total(self) -> int | None:
        """Number of rows of the input; None if it is unknown."""
        count = self.manifest.source.get("count") if self.manifest is not None else None
        total = self.figures.get("total_rows", count)
        return total if isinstance(total, int) else None

    def state(self) -> RunState:
        """Return whether the run is alive, and how it ended."""
        if self.manifest is None:
            return RunState("none", self.damage, f"manycall repair {self._found.argument}") if self.damage else NO_RUN
        figures = self.figures
        progress = Progress(
            figures.get("total_ended", 0), figures.get("failed", 0), self.total, figures.get("time", 0.0)
        )
        is_open = self.session.get("outcome") == NOT_FINISHED
        return run_state(self.session, progress, writing_process(self.holder if is_open else ""), clock.wall_time())

    def summary(self) -> dict[str, Any]:
        """Return what the list says of the run."""
        found, figures, state = self._found, self.figures, self.state()
        settings = self.manifest.settings if self.manifest is not None else {}
        return {
            "id": found.id, "name": found.name, "argument": found.argument, "kind": found.kind,
            "job": settings.get("job", ""), "model": settings.get("model", ""), **state._asdict(),
            "started_at": self.session.get("started_at"),
            "updated_at": figures.get("time") or _modified_at(found.path),
            "total": self.total, "ended": figures.get("total_ended"), "failed": figures.get("failed"),
            "rejected": figures.get("total_rejected"), "truncated": figures.get("total_truncated"),
            "calls_per_s": figures.get("calls_per_s"), "done_at": self._done_at(state.state),
            "cost": figures.get("total_cost"), "currency": figures.get("currency", "USD"),
            "note": figures.get("note", ""), "bytes": size_of(found.path),
        }  # fmt: skip

    def _done_at(self, state: str) -> float | None:
        """Return when the run is done at its rate of the last ten seconds."""
        figures, rate = self.figures, self.figures.get("rows_per_s") or 0.0
        if state != "running" or self.total is None or rate <= 0:
            return None
        return float(figures["time"] + (self.total - figures["total_ended"]) / rate)

    def eta(self) -> dict[str, float] | None:
        """Return the seconds that a running session still needs, with a range; None if that is unknown."""
        begin = float(self.session.get("started_at") or 0.0)
        history = [
            (line["time"], line["total_ended"])
            for line in self.lines
            if "total_ended" in line and line["time"] >= begin and line["time"] >= self.figures["time"] - RATE_SECONDS
        ]
        left = time_left(history, self.total) if self.state().state == "running" else None
        return None if left is None else left._asdict()

    def live_state(self) -> dict[str, Any]:
        """Return what changes while a run is observed, for the event stream."""
        return {
            **self.state()._asdict(),
            "eta": self.eta(),
            "sessions": len(self.manifest.sessions if self.manifest else ()),
        }


def _last_objects(path: Path, max_bytes: int) -> list[dict[str, Any]]:
    return [line for line in map(decoded_object, last_lines(path, max_bytes)) if line is not None]


def _end_with_figures(timeline: Path, max_bytes: int) -> list[dict[str, Any]]:
    """Return the last lines of a timeline; more of them if there are no figures among them."""
    lines = _last_objects(timeline, max_bytes)
    while not _last_figures(lines) and max_bytes < min(size_of(timeline), MAX_TAIL_BYTES):
        max_bytes *= 8
        lines = _last_objects(timeline, max_bytes)
    return lines


def _last_figures(lines: list[dict[str, Any]]) -> dict[str, Any]:
    return next((line for line in reversed(lines) if "total_ended" in line), {})


def run_detail(found: FoundRun) -> dict[str, Any]:
    """Return what the page of one run says of it."""
    facts = RunFacts(found, TAIL_BYTES)
    manifest = facts.manifest
    health = {line["endpoint"]: line for line in facts.lines if line.get("health")}
    events = [line for line in facts.lines if "event" in line]
    files = ["out", *(FILES if found.kind == "run" else ())]
    return {
        **facts.summary(),
        "path": plain(str(found.path)),
        "settings": manifest.settings if manifest is not None else {},
        "source": manifest.source if manifest is not None else {},
        "sessions": manifest.sessions if manifest is not None else [],
        "session": len(manifest.sessions) if manifest is not None else 0,
        "process": facts.holder if found.kind == "run" else "",
        "figures": facts.figures,
        "eta": facts.eta(),
        "endpoints": list(health.values()),
        "oldest": facts.figures.get("oldest", []),
        "events": events[-SHOWN_EVENTS:],
        "failures": _newest_failures(found),
        "files": [_file(found, name) for name in files],
        "damage": [{"file": "manifest", "at": 0, "error": facts.damage, "hint": f"manycall repair {found.argument}"}]
        if facts.damage
        else [],
        "pages": _pages(found, str(manifest.settings.get("job", "")) if manifest is not None else ""),
    }


def _pages(found: FoundRun, job: str) -> list[str]:
    kind = job.partition(" ")[0]
    return [*(["live"] if found.kind == "run" else []), "rows", *(["judge"] if kind == "judge" else []), "data"]


def _newest_failures(found: FoundRun) -> list[dict[str, Any]]:
    failures = _last_objects(found.file("failures"), TAIL_BYTES)[-SHOWN_FAILURES:] if found.kind == "run" else []
    return [{name: each.get(name) for name in ("id", "kind", "error", "status", "attempts")} for each in failures[::-1]]


def _file(found: FoundRun, name: str) -> dict[str, Any]:
    path = found.file(name)
    return {"name": name, "path": plain(path.name), "bytes": size_of(path), "exists": path.exists()}


def read_manifest(found: FoundRun) -> tuple[Manifest | None, str]:
    if found.kind != "run":
        return None, ""
    try:
        return Manifest.load(found.file("manifest")), ""
    except (CorruptFile, OSError) as error:
        return None, plain(str(error))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()[:200]
    except OSError:
        return b""


def size_of(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _modified_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def decoded_object(line: bytes) -> dict[str, Any] | None:
    """Return a line as a JSON object; None if it is not one."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except DECODE_ERRORS:
        return None

"""The status of a run that may belong to another process, read from its files. Nothing is locked or written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from manycall import clock
from manycall.errors import UsageError
from manycall.records import DECODE_ERRORS
from manycall.render import _duration
from manycall.run.status_text import status_text
from manycall.store.lock_holder import is_process_gone, lock_holder
from manycall.store.manifest import NOT_FINISHED, Manifest
from manycall.store.paths import finished_rows_path, run_folder_path
from manycall.store.segment_folder import segment_numbers
from manycall.terminal import cut_to_width, sanitize_line

STALE_SECONDS = 15.0
"""A running session writes its figures once a second. After this time without new ones, it is no longer running."""
GONE_SECONDS = 3.0
"""The same for a session whose process does not exist any more. A container may share the name of its machine and not
its process numbers, so new figures count more than a process that is not found."""
MAX_TAIL_BYTES = 1 << 20
"""How much is read from the end of a file to find its last lines."""
SHOWN_FAILURES = 3
SHOWN_COLUMNS = 160
"""Number of failures, and the width to which they and the sample are cut."""
_TIMELINE, _FAILURES = "timeline.jsonl", "failures.jsonl"


class RunStatus(msgspec.Struct, kw_only=True, frozen=True):
    """The status of a run. `print` shows it as a few lines.

    Attributes:
        job: name of the job.
        out: path of the output.
        state: whether the run is running, has finished, or how it ended.
        is_running: whether a process is working on it.
        updated_at: when its figures were written last (Unix time); None if it has none yet.
        figures: the last figures of the timeline (docs/files.md); empty if there are none yet.
        newest_failures: the last failed rows, the newest last, as in failures.jsonl without the row.
        sample: the last row of the output; None if there is none.
        segments: number of worker processes whose calls, and perhaps rows, are not in the files of the run yet.
    """

    job: str
    out: Path
    state: str
    is_running: bool
    updated_at: float | None = None
    figures: dict[str, Any] = {}
    newest_failures: list[dict[str, Any]] = []
    sample: dict[str, Any] | None = None
    segments: int = 0

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.figures:
            yield status_text(self.job, self.figures)
        yield f"{self.job} {self.out}: {self.state}"
        if self.segments and not self.is_running:
            yield f"The last rows and calls of {self.segments} workers are in segments. The next session adds them."
        for each in self.newest_failures:
            yield _shown(f"failed row {each.get('id')}: {each.get('kind')}: {each.get('error')}")
        if self.sample is not None:
            yield _shown(f"newest row: {msgspec.json.encode(self.sample).decode()}")


def run_status(output: str | Path) -> RunStatus:
    """Return the status of the run that writes this output, or has written it.

    Raises:
        UsageError: it is not the output of a run.
        CorruptFile: the manifest is damaged.
    """
    out = Path(output)
    if out.is_dir():
        raise UsageError(f"{out} is a folder. Pass the output of one run, or open the folder with `manycall view`.")
    folder = run_folder_path(out)
    manifest = Manifest.load(folder / "manifest.json")
    if manifest is None:
        raise UsageError(f"{out} is not the output of a run: there is no {folder / 'manifest.json'}.")
    timeline = [line for line in _last_lines(folder / _TIMELINE) if "total_ended" in line]
    figures = timeline[-1] if timeline else {}
    updated_at = figures.get("time")
    failures = _last_lines(folder / _FAILURES)[-SHOWN_FAILURES:]
    rows = _last_lines(finished_rows_path(out))
    session = manifest.sessions[-1] if manifest.sessions else {}
    is_running, state = _state(session, updated_at, is_process_gone(_lock_holder(folder)))
    return RunStatus(
        job=str(manifest.settings.get("job", "")),
        out=out,
        state=state,
        is_running=is_running,
        updated_at=updated_at,
        figures=figures,
        newest_failures=[{name: value for name, value in line.items() if name != "row"} for line in failures],
        sample=rows[-1] if rows else None,
        segments=len(segment_numbers(folder)),
    )


def _lock_holder(folder: Path) -> str:
    try:
        return lock_holder((folder / "lock").read_bytes())
    except OSError:
        return ""


def _state(session: dict[str, Any], updated_at: float | None, is_gone: bool) -> tuple[bool, str]:
    """Return whether the last session is running, and its state as text.

    Args:
        is_gone: its process does not exist any more.
    """
    if (outcome := session.get("outcome")) != NOT_FINISHED:
        return False, str(outcome or "not started")
    latest = max(updated_at or 0.0, session.get("started_at") or 0.0)
    age = max(0.0, clock.wall_time() - latest)
    if age <= (GONE_SECONDS if is_gone else STALE_SECONDS):
        return True, f"running, last update {age:.0f} s ago"
    what = "killed" if is_gone else "killed or suspended"
    return False, (
        f"not running. Its process was {what}: the last update was {_duration(age)} ago. "
        "To resume, run the same command again."
    )


def _last_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects in the last lines of a file. A line that is being written is left out."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_TAIL_BYTES))
            *lines, _ = file.read(MAX_TAIL_BYTES).split(b"\n")
    except OSError:
        return []
    if size > MAX_TAIL_BYTES:
        del lines[:1]  # its beginning may be missing
    return [line for line in map(_decoded, lines) if line is not None]


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except DECODE_ERRORS:
        return None


def _shown(text: str) -> str:
    return cut_to_width(sanitize_line(text), SHOWN_COLUMNS)

"""Write the files of a run as manycall does, without running it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FINISHED = {"started_at": 1000.0, "ended_at": 1010.0, "outcome": "finished", "seconds": 10.0}


def json_lines(values: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for value in values)


def write_run(
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    settings: Mapping[str, Any] | None = None,
    sessions: Sequence[Mapping[str, Any]] = (FINISHED,),
    total: int | None = None,
    timeline: Iterable[Mapping[str, Any]] = (),
    source: Mapping[str, Any] | None = None,
    **files: Iterable[Mapping[str, Any]],
) -> Path:
    """Write an output and its run folder.

    `calls`, `failures` and `rejected` are the lines of these files; `source` says that the input is a file.
    """
    folder = out.with_name(out.name + ".run")
    folder.mkdir(parents=True)
    out.write_bytes(json_lines(rows))
    count = len(rows) if total is None else total
    manifest = {
        "manycall_version": "0.1.0",
        "settings": {"job": "generate", "model": "m", "output_field": "text", **(settings or {})},
        "source": {"count": count, "input": "rows.jsonl", "is_file": source is not None, **(source or {})},
        "sessions": list(sessions),
        "format": 1,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "lock").write_text("process 1 on elsewhere\n")
    for name in ("calls", "failures", "rejected"):
        (folder / f"{name}.jsonl").write_bytes(json_lines(files.get(name, ())))
    (folder / "timeline.jsonl").write_bytes(json_lines(timeline))
    return out


def figures(time: float, ended: int, total: int, **fields: Any) -> dict[str, Any]:
    """Return a line of figures of a timeline."""
    return {
        "time": time, "calls_per_s": 1.0, "tokens_per_s": 2.0, "rows_per_s": 1.0, "in_flight": 1, "window": 8,
        "limited_by": "window 8", "http_429": 0, "retries": 0, "failed": 0, "total_rows": total, "total_ended": ended,
        "total_cost": None, "note": "", **fields,
    }  # fmt: skip

"""`manycall status`: the state of a run of another process, read from its files."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manycall.errors import UsageError
from manycall.run.run_status import MAX_TAIL_BYTES, run_status
from shell import manycall

COMMAND = [sys.executable, "-m", "manycall", "generate", "-p", "Say {{ n }}", "-m", "any", "--no-progress"]


def test_a_run_of_another_process_is_shown_while_it_runs_and_after_it_was_killed(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(500)))
    endpoint = "sim:latency=0.3,spread=0,error_rate=0"
    process = subprocess.Popen(
        [*COMMAND, str(rows), "-u", endpoint, "-j", "4", "-o", str(out)], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (out.exists() and out.stat().st_size and run_status(out).figures.get("done")):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        status = run_status(out)
        before = {path: path.read_bytes() for path in [out.with_name("out.jsonl.run") / "manifest.json"]}
        assert (status.is_running, status.figures["total_rows"]) == (True, 500)
        assert status.sample is not None
        assert status.sample["text"]
        assert str(status).splitlines()[0].startswith("generate ")
    finally:
        process.kill()
        process.wait()
    assert {path: path.read_bytes() for path in before} == before


def test_a_killed_run_is_not_shown_as_running(tmp_path: Path) -> None:
    out = make_run(tmp_path, "not finished", time.time() - 100)
    status = run_status(out)
    assert not status.is_running
    assert status.state.startswith("not running. Its process was killed or suspended: the last update was 1m4")


@pytest.mark.parametrize(
    ("seconds", "process", "host", "is_running"),
    [(5, "ended", "", False), (1, "ended", "", True), (5, "ended", "-other", True), (5, "alive", "", True)],
)
def test_a_run_is_not_running_soon_after_its_process_has_ended_on_this_machine(
    tmp_path: Path, seconds: float, process: str, host: str, is_running: bool
) -> None:
    out = make_run(tmp_path, "not finished", time.time() - seconds)
    ended = subprocess.Popen(["true"])
    ended.wait()
    number = ended.pid if process == "ended" else os.getpid()
    out.with_name("out.jsonl.run").joinpath("lock").write_text(f"process {number} on {socket.gethostname()}{host}\n")
    status = run_status(out)
    assert status.is_running is is_running
    if not is_running:
        assert status.state.startswith("not running. Its process was killed: the last update was 5")


def test_a_session_that_has_just_begun_is_running_although_the_figures_are_old(tmp_path: Path) -> None:
    out = make_run(tmp_path, "not finished", time.time() - 100, started_at=time.time())
    assert run_status(out).is_running


def test_the_newest_failures_are_shown_without_escape_sequences(tmp_path: Path) -> None:
    out = make_run(tmp_path, "finished", time.time())
    lines = [{"id": n, "kind": "call_error", "error": f"boom \x1b]0;{n}\x07", "row": {"big": "x"}} for n in range(9)]
    (out.with_name("out.jsonl.run") / "failures.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    status = run_status(out)
    assert [failed["id"] for failed in status.newest_failures] == [6, 7, 8]
    assert "failed row 8: call_error: boom" in str(status)
    assert "\x1b" not in str(status)


def test_a_line_that_is_being_written_and_lines_longer_than_the_tail_are_left_out(tmp_path: Path) -> None:
    out = make_run(tmp_path, "finished", time.time())
    out.write_text('{"id": 1}\n{"id": 2}\n{"id": ')
    sample = run_status(out).sample
    assert sample == {"id": 2}
    out.write_text('{"id": 1, "text": "' + "x" * (2 * MAX_TAIL_BYTES) + '"}\n')
    assert run_status(out).sample is None


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match="is not the output of a run"):
        run_status(tmp_path / "rows.jsonl")
    with pytest.raises(UsageError, match="is a folder"):
        run_status(tmp_path)


def test_the_command_prints_the_line_and_json(tmp_path: Path) -> None:
    out = make_run(tmp_path, "finished", time.time())
    shown = manycall("status", str(out))
    assert shown.code == 0
    assert shown.out.startswith("generate 7/10 70% · 3.0 calls/s")
    assert json.loads(manycall("status", str(out), "--json").out)["state"] == "finished"
    assert manycall("status", str(tmp_path / "missing.jsonl")).code == 2


def make_run(folder: Path, outcome: str, updated: float, started_at: float = 0.0) -> Path:
    """Write the files of a run that has ended, or was killed."""
    out, run = folder / "out.jsonl", folder / "out.jsonl.run"
    run.mkdir()
    session = {"outcome": outcome, "started_at": started_at or updated - 10}
    manifest = {"manycall_version": "0", "settings": {"job": "generate"}, "sessions": [session]}
    (run / "manifest.json").write_text(json.dumps(manifest))
    figures: dict[str, object] = {
        "time": updated, "total_rows": 10, "total_ended": 7, "rows_per_s": 0.0, "calls_per_s": 3.0,
        "tokens_per_s": 5.0, "total_cost": None, "currency": "USD", "budget_usage": [], "endpoints": [], "failed": 0,
        "failure_counts": {},
        "in_flight": 2, "limited_by": "window 8", "note": "", "total_truncated": 0, "total_rejected": 0, "retries": 0,
    }  # fmt: skip
    event = {"time": updated, "endpoint": "http://a", "event": "window 4 → 8"}
    (run / "timeline.jsonl").write_text(json.dumps(figures) + "\n" + json.dumps(event) + "\n")
    out.write_text('{"id": 1, "text": "a"}\n')
    return out

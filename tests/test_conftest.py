"""The test suite itself: it runs with an ignored SIGINT, and a failed test leaves no process behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAILS = """
import subprocess
from pathlib import Path


def test_it() -> None:
    Path({pid!r}).write_text(str(subprocess.Popen(["sleep", "300"]).pid))
    raise AssertionError
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run pytest with our conftest, in a process that ignores SIGINT, as after `trap '' INT`."""
    command = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(
        [*command, *map(str, words)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_ctrl_c_reaches_the_processes_of_a_test_though_sigint_was_ignored() -> None:
    done = run("tests/test_kill.py", "-k", "interrupting_a_notebook_twice and asyncio.run")
    assert done.returncode == 0, done.stdout


def test_a_failed_test_leaves_no_process_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    (tmp_path / "test_fails.py").write_text(FAILS.format(pid=str(pid)))
    done = run("-p", "conftest", tmp_path / "test_fails.py")
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    status = Path("/proc") / pid.read_text() / "stat"
    deadline = time.monotonic() + 5
    while status.exists() and ") Z " not in status.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)

"""Runs on a Ray cluster. The trials are in ray_trials/; they start a cluster of their own, on loopback."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from manycall import generate
from manycall.errors import UsageError
from shell import manycall

REQUIRED = "MANYCALL_RAY_TESTS"
"""CI sets this variable to "required": then a missing Ray is a failure, not a skipped test."""
GENERATE = ("generate", "-p", "hi", "-n", "3", "-u", "sim", "-m", "any", "-o", "out.jsonl", "--no-progress")


def need_ray() -> None:
    """Skip the test, or fail in CI, if Ray is missing."""
    if find_spec("ray") is None:
        missing = "Ray is not installed: pip install 'manycall[ray]'."
        pytest.fail(missing) if os.environ.get(REQUIRED) == "required" else pytest.skip(missing)


@pytest.mark.timeout(300)
def test_a_cluster_writes_what_one_process_writes_and_loses_nothing_when_parts_of_it_end() -> None:
    need_ray()
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here)}
    done = subprocess.run(
        [sys.executable, "-m", "ray_trials"], env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cluster_that_does_not_answer_is_named_before_any_call() -> None:
    need_ray()
    ended = manycall(*GENERATE, "--cluster", "127.0.0.1:9")
    assert (ended.code, "No Ray cluster answers at 127.0.0.1:9" in ended.err) == (2, True)
    ended = manycall(*GENERATE, "--cluster", "ray://127.0.0.1:10001")
    assert (ended.code, "Ray Client (ray://) is not supported" in ended.err) == (2, True)


def test_without_ray_the_command_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('no ray here')")
    ended = manycall(*GENERATE, "--cluster", "auto", env={"PYTHONPATH": str(tmp_path)})
    assert (ended.code, "pip install 'manycall[ray]'" in ended.err) == (2, True)


def test_a_key_given_in_python_is_not_sent_to_a_cluster() -> None:
    with pytest.raises(UsageError, match="api_key= is not sent to other machines"):
        generate("hi", samples=3, model="any", base_url="sim", out="out.jsonl", api_key="secret", cluster="auto")

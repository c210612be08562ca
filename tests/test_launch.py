"""The simulated endpoint as a child process: when its URL is printed, and what is said when it dies."""

import sys
from pathlib import Path

import pytest
import uvicorn

from manycall.errors import UsageError
from manycall.sim.asgi import serve
from manycall.sim.process import SimProcess
from manycall.sim.sim_settings import SimSettings


def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> SimProcess:
    """A simulated endpoint whose process is this shell script."""
    program = tmp_path / "child"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return SimProcess("sim")


def test_the_url_is_printed_only_when_the_server_accepts_connections(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def startup(*_: object) -> None:
        raise RuntimeError("the loop cannot be made")

    monkeypatch.setattr(uvicorn.Server, "startup", startup)
    with pytest.raises(RuntimeError, match="cannot be made"):
        serve(SimSettings(), {}, host="127.0.0.1", port=0, until_stdin_closes=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo Traceback >&2; echo 'AttributeError: Config has no get_loop_factory' >&2; exit 1",
            "AttributeError: Con",
        ),
        ("echo Usage:; echo \"Error: Invalid value for '--slots'\"; exit 2", "Invalid value for 'slots'"),
        ("echo 'manycall: 127.0.0.1:80 cannot be listened on'; exit 2", "127.0.0.1:80 cannot be listened on"),
        ("exit 1", "no output"),
    ],
)
def test_a_child_that_does_not_start_is_quoted_once(
    script: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sim = child(monkeypatch, tmp_path, script)
    with pytest.raises(UsageError, match=f"did not start: {reason}"):
        sim.start()
    sim.stop()
    assert capsys.readouterr().err == ""


def test_a_warning_before_the_url_does_not_count_as_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sim = child(monkeypatch, tmp_path, "echo DeprecationWarning >&2; echo http://127.0.0.1:1/v1; cat; echo '{}'")
    assert sim.start() == "http://127.0.0.1:1/v1"
    sim.stop()


def test_a_child_that_dies_later_is_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sim = child(monkeypatch, tmp_path, "echo http://127.0.0.1:1/v1; cat; echo 'MemoryError: too many calls'; exit 1")
    sim.start()
    sim.stop()
    said = "manycall: the simulated endpoint stopped unexpectedly: MemoryError: too many calls\n"
    assert capsys.readouterr().err == said

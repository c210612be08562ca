"""Running manycall as a user would: in its own process, from a shell."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from leaks import holds

COMMAND = [sys.executable, "-W", "error", "-m", "manycall"]
SECONDS = 120


class Ended:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        assert "Traceback" not in err + out, err + out
        if (key := os.environ.get("OPENAI_API_KEY", "")).startswith("CANARY-"):
            assert not holds((err + out).encode(), key), "the key was printed"


def manycall(*words: str | Path, env: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Ended:
    """Run a command to its end."""
    return finish(start(*words, env=env), seconds)


def start(*words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Begin a command."""
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **(env or {})},
    )


def finish(process: subprocess.Popen[str], seconds: float = SECONDS) -> Ended:
    """Wait for a command that was begun."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Ended(process.returncode, out, err)


class Sim:
    """A simulated endpoint in its own process, which outlives the runs that call it."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url, self.process = url, process

    @property
    def stats(self) -> dict[str, Any]:
        with urlopen(self.url.removesuffix("/v1") + "/sim/stats", timeout=10) as reply:
            return dict(json.load(reply))


@contextmanager
def sim(*options: str, port: int = 0, seconds: float = SECONDS) -> Iterator[Sim]:
    """`manycall sim` with these options, for so long at most."""
    process = subprocess.Popen(
        [*COMMAND, "sim", "--port", str(port), "--until-stdin-closes", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        yield Sim(process.stdout.readline().strip(), process)
    finally:
        watchdog.cancel()
        process.communicate(timeout=20)


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]

"""The server is killed and started again in mid-run."""

import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from shell import COMMAND, finish
from torture.trial import Plan, Result
from torture.work import Output, wait_until, works

START = "MANYCALL_VLLM"
"""Environment variable: a command that starts a real server at a port of 127.0.0.1, which it gets as its last word."""
START_SECONDS = 300
LONG, SHORT = 60.0, 1.0
"""Seconds for which nobody is there, besides what the start takes."""


def trial(plan: Plan) -> Result:
    """All rows once, and none has failed meanwhile."""
    result, port = Result(), free_port()
    real = os.environ.get(START) if plan.long else None
    command = [*shlex.split(real), str(port)] if real else [*COMMAND, "sim", "--latency", "0.1", "--port", str(port)]
    work, url = works(plan.folder, 600 if plan.long else 300)[0], f"http://127.0.0.1:{port}/v1"
    out = Output(plan.folder / "out.jsonl")
    with result.case("a real server" if real else "the simulated server") as case:
        with serving(command, url) as model:
            process = work.begin(url, out, "-m", model, "--max-tokens", "32")
            assert wait_until(lambda: out.calls >= work.rows // 3, process, START_SECONDS)
        case.faults += 1
        gone, had = time.monotonic(), out.calls
        time.sleep(0 if real else LONG if plan.long else SHORT)
        with serving(command, url):
            result.figures["seconds without a server"] = round(time.monotonic() - gone)
            result.figures["rows still to do"] = work.rows - had
            ended = finish(process, START_SECONDS)
            result.figures["seconds in all, from the kill"] = round(time.monotonic() - gone)
        case.violations += [f"it ended with {ended.code}: {ended.out}{ended.err}"] * bool(ended.code)
        case.violations += out.audit({f"row {n}" for n in range(work.rows)}, calls=work.rows, finished=0, most=0)
    return result


@contextmanager
def serving(command: list[str], url: str) -> Iterator[str]:
    """A server and all its processes, until they are killed; gives the name of its model."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while (name := _model(url)) is None:
            assert process.poll() is None, f"{shlex.join(command)} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{shlex.join(command)} does not answer at {url}"
            time.sleep(0.1)
        yield name
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _model(url: str) -> str | None:
    try:
        with urlopen(f"{url}/models", timeout=2) as reply:
            return str(json.load(reply)["data"][0]["id"])
    except (URLError, OSError, ValueError):
        return None


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])

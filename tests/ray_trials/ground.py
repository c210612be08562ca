"""What a trial needs: a cluster, an endpoint, rows, and the answers of a run that nothing disturbs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ray_trials.cluster import ON_LOOPBACK, Nodes
from shell import Ended, Sim, finish, rows

ROWS, IN_FLIGHT = 160, 12
SECONDS = 60.0
"""How long a command may take."""
LATENCY = ("--latency", "0.15", "--token-latency", "0")
"""160 rows, 12 at a time, 0.15 s each: 2 s."""
FROZEN_SECONDS, THAWED_SECONDS = 5.0, 0.3
"""A frozen worker makes no calls and keeps its rows for 10 s (control.worker_leases.LEASE_SECONDS)."""


class Ground(NamedTuple):
    """Where trials run.

    Attributes:
        nodes: the cluster.
        server: the endpoint.
        folder: for the files of the trial.
        answers: the finished rows of one process, by id.
    """

    nodes: Nodes
    server: Sim
    folder: Path
    answers: dict[str, dict[str, Any]]

    @property
    def out(self) -> Path:
        """The output of the trial."""
        return self.folder / "out.jsonl"

    def begin(self, *options: str, **environment: str) -> "subprocess.Popen[str]":
        """Begin to write a text for each row, on the cluster."""
        return begin(
            *generate_words(self.folder, self.server), *options, "--cluster", self.nodes.address, **environment
        )

    def violations(self, ended: Ended | None, lost_calls: int) -> list[str]:
        """Return what was not as promised, now that all rows should be done.

        Args:
            ended: how the last command ended.
            lost_calls: how many calls may have been made for nothing.
        """
        found = [] if ended is None or ended.code == 0 else [f"ended with {ended.code}: {ended.err}"]
        times = Counter(str(row["id"]) for row in rows(self.out))
        found += [f"{len(self.answers.keys() - times.keys())} rows lost"] * (not self.answers.keys() <= times.keys())
        found += [f"{name} {count} times" for name, count in times.items() if count > 1]
        written = {str(row["id"]): row for row in rows(self.out)}
        found += [f"{name} differs" for name, row in self.answers.items() if written.get(name, row) != row]
        left = [*(self.folder / "out.jsonl.run" / "segments").glob("0*")]
        found += [f"segments are left: {left}"] * bool(left)
        finished, most = self.server.stats["finished"], len(self.answers) + lost_calls
        return found + [f"{finished} calls were made, more than {most}"] * (finished > most)

    def workers(self) -> list[int]:
        """Return the process ids of the workers that have made calls, oldest first."""
        segments = sorted((self.folder / "out.jsonl.run" / "segments").glob("0*"))
        locks = [each / "lock" for each in segments if _size(each / "calls.jsonl")]
        return [int(found[1]) for lock in locks if (found := re.match(r"process (\d+) ", lock.read_text()))]

    def wait_for_workers(self, process: "subprocess.Popen[str]", are_enough: Callable[[list[int]], bool]) -> list[int]:
        """Wait until enough workers have made calls, and return all that have.

        Meanwhile, those that have made calls are frozen most of the time. Otherwise they might finish all rows before
        the others begin.
        """
        frozen: set[int] = set()
        thaw_at = time.monotonic() + FROZEN_SECONDS

        def look() -> bool:
            nonlocal thaw_at
            found = self.workers()
            if time.monotonic() > thaw_at:
                _send_all(frozen, signal.SIGCONT)
                time.sleep(THAWED_SECONDS)
                thaw_at = time.monotonic() + FROZEN_SECONDS
            _send_all(found, signal.SIGSTOP)
            frozen.update(found)
            return are_enough(found)

        try:
            wait_for(look, process)
            return self.workers()
        finally:
            _send_all(frozen, signal.SIGCONT)


def _send_all(processes: Iterable[int], what: signal.Signals) -> None:
    for each in processes:
        os.kill(each, what)


def generate_words(folder: Path, server: Sim) -> list[str]:
    """Return the words of the command of the trials, and write its rows."""
    questions = folder / "in.jsonl"
    questions.write_text("".join(json.dumps({"id": f"row {n}", "q": f"tale {n}"}) + "\n" for n in range(ROWS)))
    return [
        "generate", "-p", "Tell of {{ q }}", str(questions), "-m", "any", "-u", server.url, "--temperature", "0",
        "-j", str(IN_FLIGHT), "-o", str(folder / "out.jsonl"), "--no-progress",
    ]  # fmt: skip


def begin(*words: str, **environment: str) -> "subprocess.Popen[str]":
    """Begin a command."""
    return subprocess.Popen(
        [sys.executable, "-m", "manycall", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", env={**os.environ, **ON_LOOPBACK, **environment},
    )  # fmt: skip


def end(process: "subprocess.Popen[str]") -> Ended:
    """Wait for a command."""
    return finish(process, SECONDS)


def wait_for(what: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 30.0) -> None:
    """Wait for something while a command runs.

    Raises:
        AssertionError: it takes too long, or the command ended before.
    """
    deadline = time.monotonic() + seconds
    while not what():
        if process.poll() is not None:
            raise AssertionError(f"the command ended too early: {process.communicate()}")
        assert time.monotonic() < deadline, f"waited for {seconds} s in vain"
        time.sleep(0.01)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

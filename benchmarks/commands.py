"""Whole commands, as a user runs them: `manycall generate` and `manycall eval` with and without `-j`, timed."""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from speed.servers import KEY

AUTOMATIC = "automatic"
Command = Callable[[str], list[str]]
"""Return the words of a command for the URL of a server."""


def write_rows(path: Path, count: int) -> Path:
    """Write rows with a question and its answer."""
    rng = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            first, second = rng.randrange(1000), rng.randrange(1000)
            question = f"Question {n}: what is {first} plus {second}? Explain it in a few sentences."
            file.write(json.dumps({"id": f"r{n}", "question": question, "answer": str(first + second)}) + "\n")
    return path


def generate(source: Path, out: Path, model: str, concurrency: int | None, *more: str) -> Command:
    """Return the command `manycall generate`."""
    words = ["generate", "-p", "{{ question }}", str(source), "-m", model, "-o", str(out), *_j(concurrency), *more]
    return lambda url: [sys.executable, "-m", "manycall", *words, "-u", url]


def evaluate(source: Path, out: Path, model: str, concurrency: int | None) -> Command:
    """Return the command `manycall eval`."""
    words = ["eval", str(source), "--scorer", "numeric", "-m", model, "-o", str(out), *_j(concurrency)]
    return lambda url: [sys.executable, "-m", "manycall", *words, "-u", url]


def _j(concurrency: int | None) -> list[str]:
    return [] if concurrency is None else ["-j", str(concurrency)]


def seconds(words: Sequence[str], out: Path, rows: int, environment: Mapping[str, str] | None = None) -> float:
    """Run a command without earlier results and return its seconds. A key of the environment is not sent.

    Raises:
        SystemExit: It failed, or did not write all rows.
    """
    folder = out.parent
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "cache").mkdir(parents=True)
    own = {"XDG_CACHE_HOME": str(folder / "cache"), "OPENAI_API_KEY": "", "NO_PROXY": "*", **(environment or {})}
    began = time.monotonic()
    done = subprocess.run(words, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    written = out.read_bytes().count(b"\n") if out.exists() else 0
    if done.returncode or written != rows:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}, {written} of {rows} rows. {last}")
    return took


def medians(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each run. The runs alternate, so that a disturbance affects all of them."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
            print(f"round {turn + 1}, {name}: {found[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return {name: statistics.median(each) for name, each in found.items()}


def best_fixed(times: Mapping[str, float], sweep: Iterable[int]) -> int:
    """Return the fixed setting with the smallest median."""
    return min(sweep, key=lambda size: times[f"-j {size}"])


SCRIPT_ENVIRONMENT = {"OPENAI_API_KEY": KEY, "PRACTICE": "0"}
"""Environment of a driver in peers/ that is measured as a whole command, without a warm-up."""

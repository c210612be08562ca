"""What an open live page costs the run that it shows: CPU per row and rows per second, with and without the page.

    .venv/bin/python benchmarks/view_cost.py --rows 20000 --pairs 6

The same run, of many short rows at a simulated endpoint in another process, is started over again and again, in turn
with the page open in Chromium and with the page closed. The CPU time (user and system) is that of the run's process
alone, as the kernel counts it. The rows per second also contain what the endpoint, the viewer and the browser take of
the cores. Needs the extra `browser` and Chromium.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from view import viewer
from view_browser import browser

MANYCALL = (sys.executable, "-m", "manycall")


class Cost(NamedTuple):
    """Microseconds of CPU per row of the run's process, and rows per second of its duration."""

    cpu_us: float
    rows_per_s: float


@contextmanager
def endpoint(latency: float, slots: int) -> Iterator[str]:
    """Start a simulated endpoint with short answers; yield its URL."""
    words = (
        "sim",
        "--port",
        "0",
        "--latency",
        str(latency),
        "--token-latency",
        "0",
        "--slots",
        str(slots),
        "--tokens",
        "8",
    )
    process = subprocess.Popen([*MANYCALL, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield next(word for word in process.stdout.readline().split() if word.startswith("http"))
    finally:
        process.terminate()
        process.wait()


def run(folder: Path, url: str, rows: int, concurrency: int) -> Cost:
    """Make the rows anew; return what that cost."""
    words = ("generate", "-p", "Say a word.", "-n", str(rows), "-m", "any", "-u", url, "-j", str(concurrency))
    started = time.perf_counter()
    process = subprocess.Popen(
        [*MANYCALL, *words, "-o", "out.jsonl", "--overwrite"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Cost((used.ru_utime + used.ru_stime) / rows * 1e6, rows / (time.perf_counter() - started))


def measure(given: argparse.Namespace, context: Any, folder: Path, url: str) -> dict[str, list[Cost]]:
    """Run in turn with the page open and closed."""
    run(folder, url, 200, given.concurrency)  # so that the page has a run to show
    costs: dict[str, list[Cost]] = {"open": [], "closed": []}
    with viewer(folder / "out.jsonl") as server:
        run_id = server.get("/api/runs")["runs"][0]["id"]
        for number in range(2 * given.pairs):
            is_open = (number + number // 2) % 2 == 0  # open, closed, closed, open, ...
            page = context.new_page() if is_open else None
            if page is not None:
                page.goto(f"{server.url}&/run/{run_id}/live")
                page.locator(".summary").wait_for()
            costs["open" if is_open else "closed"].append(run(folder, url, given.rows, given.concurrency))
            if page is not None:
                page.locator("h1 .state-finished").wait_for()
                page.close()
            time.sleep(1)
    return costs


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds for which a call holds its slot")
    parser.add_argument("--concurrency", type=int, default=64)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as made,
        endpoint(given.latency, given.concurrency) as url,
        browser() as chromium,
    ):
        costs = measure(given, chromium.new_context(locale="en-GB"), Path(made), url)
    medians = {name: [statistics.median(values) for values in zip(*each, strict=True)] for name, each in costs.items()}
    shares = [a / b - 1 for a, b in zip(medians["open"], medians["closed"], strict=True)]
    print(json.dumps({"rows": given.rows, "costs": costs, "medians": medians, "open_against_closed": shares}, indent=1))


if __name__ == "__main__":
    main()

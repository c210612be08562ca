"""What `manycall view` takes in a browser, over files that are made for it: `.venv/bin/python benchmarks/view_pages.py [--rows N]`.

Each figure is the median of some repetitions in a fresh browser. Needs the extra `browser` and Chromium.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from view_browser import browser
from view_runs import figures, write_run

REPEATS = 5
RUNS_IN_LIST = 1418
"""As many logs as in the largest list that Inspect View's issues report."""
LIVE_LINES = 40
TEXT = "The train leaves at nine and covers sixty miles an hour, so after three hours it is far from the station. "


def write_rows(out: Path, count: int) -> None:
    """Write an evaluation with rows of about 1 kB."""
    settings = {"job": "eval gsm8k", "model": "m"}
    write_run(out, [], settings=settings, total=count)
    with out.open("w", encoding="utf-8") as file:
        for n in range(count):
            right = n % 10 < 7
            row = {
                "id": f"q-{n}", "question": f"Question {n}: {TEXT * 2}", "answer": str(n % 97), "response": f"{TEXT * (3 + n % 7)}\n#### {n % 97 if right else n % 89}",
                "finish_reason": "length" if n % 50 == 0 else "stop", "extracted": {"strict-match": str(n % 97)}, "score": {"strict-match": float(right)},
            }  # fmt: skip
            if n == count * 9 // 10:
                row["response"] += " hyperbola"
            file.write(json.dumps(row) + "\n")


@contextmanager
def view(folder: Path) -> Iterator[tuple[str, int]]:
    """Start the server; yield the URL and the process's id."""
    process = subprocess.Popen([sys.executable, "-m", "manycall", "view", str(folder), "--no-browser", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield next(word for line in process.stdout for word in line.split() if "#t=" in word), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def peak_memory(pid: int) -> float:
    """Return the largest memory that a process has had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1000


def timed(action: Callable[[], Any]) -> float:
    """Return the seconds that an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def rows_figures(chromium: Any, folder: Path, name: str) -> Iterator[tuple[str, float]]:
    """Measure the page of rows with one fresh server and one fresh page."""
    started = time.perf_counter()
    with view(folder) as (url, pid):
        context = chromium.new_context()
        page = context.new_page()
        page.set_default_timeout(30_000)
        sizes: list[int] = []
        page.on("response", lambda response: sizes.append(int(response.headers.get("content-length") or 0)))
        page.goto(url)
        page.locator(".grid-row", has_text=name).click()
        page.locator(".details").get_by_role("link", name="Rows").click()
        page.locator(".grid-row", has_text="q-0").first.wait_for()
        yield "command to first rows, s", time.perf_counter() - started
        yield "bytes until then, kB", sum(sizes) / 1000
        yield "End key to the last row, s", timed(lambda: (page.keyboard.press("End"), page.locator(".grid-row.selected .cell").first.wait_for()))
        page.wait_for_function("() => !document.querySelector('p.status').innerText.includes('indexed')")
        yield "command to all rows indexed, s", time.perf_counter() - started
        yield "filter to shown, s", timed(lambda: (page.keyboard.press("w"), page.locator(".grid-row .bad").first.wait_for()))
        yield "order by length to shown, s", timed(lambda: order(page))
        yield "search to the hit, s", timed(lambda: search(page))
        yield "peak memory of the server, MB", peak_memory(pid)
        session = context.new_cdp_session(page)
        session.send("HeapProfiler.collectGarbage")
        yield "heap of the page, MB", session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
        context.close()


def order(page: Any) -> None:
    """Choose the order and wait for the longest answer."""
    first = page.locator(".grid-row").first.inner_text()
    page.get_by_label("Order").select_option("-answer.len")
    page.wait_for_function("before => { const row = document.querySelector('.grid-row'); return row && row.innerText.trim() && row.innerText !== before; }", arg=first)


def search(page: Any) -> None:
    """Search for a word that is in one row."""
    page.keyboard.press("w")
    page.get_by_label("Order").select_option("")
    page.keyboard.press("/")
    page.keyboard.type("hyperbola")
    page.locator("p.status", has_text=re.compile(r"^1 of (?!.*searched)")).wait_for()


def list_figures(chromium: Any, folder: Path) -> Iterator[tuple[str, float]]:
    """Measure the list of many runs."""
    with view(folder) as (url, _):
        page = chromium.new_page()
        yield f"list of {RUNS_IN_LIST} runs, s", timed(lambda: (page.goto(url), page.locator(".grid-row").first.wait_for()))
        page.close()


def live_figures(chromium: Any, folder: Path) -> Iterator[tuple[str, float]]:
    """Measure the time from a line in the timeline to the figure on the page, and the requests of a hidden tab."""
    out = write_run(folder / "live.jsonl", [], sessions=[{"started_at": time.time()}], total=10**6, timeline=[figures(time.time() - 1, 1, 10**6)])
    run = out.with_name("live.jsonl.run")
    (run / "lock").write_text(f"process {os.getpid()} on {os.uname().nodename}\n")
    with view(out) as (url, _):
        page = chromium.new_page()
        page.goto(url)
        page.locator(".grid-row").first.dblclick()
        page.locator(".figures").wait_for()
        lags = []
        for number in range(2, LIVE_LINES + 2):
            line = json.dumps(figures(time.time(), number, 10**6)) + "\n"
            started = time.perf_counter()
            with (run / "timeline.jsonl").open("a") as file:
                file.write(line)
            page.wait_for_function("n => document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') == n", arg=str(number))
            lags.append(time.perf_counter() - started)
            time.sleep(0.05)
        page.close()
        yield "line in the file to the page, median, s", statistics.median(lags)
        yield "line in the file to the page, 95 %, s", sorted(lags)[round(0.95 * len(lags)) - 1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows").mkdir()
        write_rows(folder / "rows" / "million.jsonl", options.rows)
        for number in range(RUNS_IN_LIST):
            write_run(folder / "many" / f"{number % 20}" / f"run-{number}.jsonl", [{"id": 1}], timeline=[figures(1000.0, 1, 1)])
        found: dict[str, list[float]] = {}
        for _ in range(options.repeats):
            with browser() as chromium, tempfile.TemporaryDirectory() as live:
                for label, value in [*rows_figures(chromium, folder / "rows", "million"), *list_figures(chromium, folder / "many"), *live_figures(chromium, Path(live))]:
                    found.setdefault(label, []).append(value)
        for label, values in found.items():
            print(f"{label:45} {statistics.median(values):8.3f}   ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()

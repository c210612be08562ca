"""How fast `manycall view` finds rows of a large output, over HTTP. Writes a table of docs/view.md.

    .venv/bin/python benchmarks/view.py --rows 1000000 --write

The output is made first and kept in the folder that --folder names. Each figure is the median of --repeat runs, the
first ones with a new server process. The client reads complete responses; nothing is drawn.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scenarios.page import markdown, replace_between

DOCS = Path(__file__).parents[1] / "docs"
WORDS = "step by the of answer sum therefore tables chairs pens cost each total money then we have left".split()
SESSION = {"started_at": 1000.0, "ended_at": 1010.0, "outcome": "finished", "seconds": 10.0}
RUNS = 1418
TABLE = "benchmarks/view.py"
SETTLE_SECONDS = 2.0
"""Pause before a measurement, as a reader makes it."""
Figure = tuple[float, float]
"""Seconds, and CPU seconds of the server. The memory is in MB."""
WRONG = "where=" + quote("score.strict-match = 0")
NAMES = {
    "first rows": ("from the command to the first 50 rows, with a new process", "从命令到前 50 行（新进程）"),
    "complete": ("all rows can be filtered and sorted", "所有行均可筛选和排序"),
    "last": ("jump to the last row", "跳到最后一行"),
    "filter": ("filter, first page", "筛选，第一页"),
    "sort": ("sort by length, first page", "按长度排序，第一页"),
    "sorted": ("any other page of the sorted rows, at first", "排序后的其他任意一页，首次"),
    "hits": ("text search, first hits", "文本搜索，首批结果"),
    "search": ("text search, all hits", "文本搜索，全部结果"),
    "runs": (f"list of {RUNS:,} runs", f"{RUNS:,} 个运行的列表"),
    "line": ("a line in the timeline reaches the client", "时间线的一行到达客户端"),
    "memory": ("peak memory of the server", "服务器的峰值内存"),
}
GOALS = {
    "first rows": 1.0, "complete": 5.0, "last": 0.1, "filter": 0.3, "sort": 0.3, "sorted": 1.2, "hits": 0.2,
    "search": 1.0, "runs": 0.3, "line": 0.3, "memory": 100.0,
}  # fmt: skip
"""Upper limits: seconds for a million rows of 1 kB, and megabytes."""


def write_output(out: Path, rows: int) -> None:
    """Write an output of an evaluation whose rows have about 1 kB."""
    folder = out.with_name(out.name + ".run")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"manycall_version": "0", "settings": {"job": "eval gsm8k", "model": "m"}, "sessions": [SESSION]}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "source": {"count": rows}, "format": 1}))
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(60, 220))) for _ in range(2000)]
    with out.open("w", encoding="utf-8") as file:
        for n in range(rows):
            text = texts[rng.randrange(2000)] + (" hyperbola" if n % 5000 == 4007 else "")
            read = {"strict-match": str(rng.randint(0, 99)), "flexible-extract": "3"}
            score = {"strict-match": float(rng.random() < 0.72), "flexible-extract": 1.0}
            row = {"id": f"q-{n}", "question": texts[n % 97][:200], "answer": str(n % 100), "response": text}
            ending = "length" if rng.random() < 0.02 else "stop"
            file.write(json.dumps({**row, "extracted": read, "score": score, "finish_reason": ending}) + "\n")


def write_runs(folder: Path) -> None:
    """Write many small runs."""
    for n in range(RUNS):
        run = folder / f"group{n % 20}" / f"run{n}.jsonl.run"
        run.mkdir(parents=True, exist_ok=True)
        manifest = {"manycall_version": "0", "settings": {"job": "generate", "model": "m"}, "sessions": [SESSION]}
        (run / "manifest.json").write_text(json.dumps({**manifest, "source": {"count": 5}, "format": 1}))
        line = {"time": 1000.0 + n, "calls_per_s": 1.0, "total_rows": 5, "total_ended": 5}
        (run / "timeline.jsonl").write_text((json.dumps(line) + "\n") * 3)


class Viewer:
    """A running server, asked over one connection."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        self._host, _, self.token = self.url.removeprefix("http://").partition("/#t=")
        self._connection = http.client.HTTPConnection(self._host)
        self.process = process

    def get(self, path: str) -> Any:
        """Return the JSON of a route."""
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        response = self._connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return json.loads(body)

    def lines(self, path: str) -> Iterator[bytes]:
        """Yield the lines of a stream."""
        connection = http.client.HTTPConnection(self._host)
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        yield from connection.getresponse()

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used, its threads included."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> float:
        """Return the peak resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024


@contextmanager
def viewer(path: Path) -> Iterator[Viewer]:
    """Start `manycall view`."""
    command = [sys.executable, "-m", "manycall", "view", str(path), "--no-browser", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield Viewer(process)
    finally:
        process.terminate()
        process.wait()


class Stopwatch:
    """Elapsed time, and the CPU time that the server used meanwhile. A busy machine changes only the first."""

    def __init__(self, page: Viewer, started: float | None = None) -> None:
        self._page, self._used = page, 0.0 if started is not None else page.cpu_seconds()
        self._started = time.perf_counter() if started is None else started

    def read(self) -> Figure:
        return time.perf_counter() - self._started, self._page.cpu_seconds() - self._used


def timed(page: Viewer, path: str) -> Figure:
    watch = Stopwatch(page)
    page.get(path)
    return watch.read()


def measure_rows(out: Path, rows: int) -> dict[str, Figure]:
    """Return the figures of one server process."""
    started = time.perf_counter()
    figures: dict[str, Figure] = {}
    with viewer(out) as page:
        watch = Stopwatch(page, started)
        base = f"/api/runs/{page.get('/api/runs')['runs'][0]['id']}/rows"
        page.get(base)
        figures["first rows"] = watch.read()
        while not page.get(base)["complete"]:
            time.sleep(0.05)
        figures["complete"] = watch.read()
        figures["last"] = timed(page, f"{base}?offset={rows - 50}")
        figures["filter"] = timed(page, f"{base}?{WRONG}")
        time.sleep(SETTLE_SECONDS)
        figures["sort"] = timed(page, f"{base}?sort=-answer.len")
        figures["sorted"] = timed(page, f"{base}?sort=-answer.len&offset={rows // 2}")
        time.sleep(SETTLE_SECONDS)
        watch = Stopwatch(page)
        while not (reply := page.get(f"{base}?q=Hyperbola"))["search"]["complete"]:
            if reply["rows"]:
                figures.setdefault("hits", watch.read())
        figures["search"] = watch.read()
        figures.setdefault("hits", figures["search"])
        figures["memory"] = (page.peak_memory(), 0.0)
    return figures


def measure_runs(folder: Path) -> dict[str, Figure]:
    with viewer(folder) as page:
        page.get("/api/runs")
        return {"runs": timed(page, "/api/runs")}


def measure_lines(out: Path) -> dict[str, Figure]:
    """Return the 95th percentile of the time from a line in the file to the client."""
    timeline, delays, count = out.with_name(out.name + ".run") / "timeline.jsonl", list[float](), 40
    timeline.write_text("")

    def write() -> None:
        rng = random.Random(2)
        for _ in range(count):
            time.sleep(0.1 + 0.1 * rng.random())
            with timeline.open("a") as file:
                file.write(json.dumps({"time": time.time(), "calls_per_s": 1.0, "total_ended": 1}) + "\n")

    with viewer(out) as page:
        run_id, used = page.get("/api/runs")["runs"][0]["id"], page.cpu_seconds()
        threading.Thread(target=write).start()
        for line in page.lines(f"/api/runs/{run_id}/events"):
            if line.startswith(b"data: [{"):
                delays.append(time.time() - json.loads(line[6:])[0]["time"])
                if len(delays) == count:
                    break
        used = (page.cpu_seconds() - used) / count
    timeline.unlink()
    return {"line": (sorted(delays)[int(0.95 * count)], used)}


def table(figures: dict[str, Figure], language: int) -> str:
    """Return the table in English (0) or Chinese (1)."""
    head = (["", "measured", "CPU of the server", "goal"], ["", "实测", "服务器的 CPU", "目标"])[language]
    second = ("s", "秒")[language]
    cells = []
    for name, (value, used) in ((name, figures[name]) for name in NAMES):
        if name == "memory":
            cells.append([NAMES[name][language], f"{value:.0f} MB", "", f"{GOALS[name]:g} MB"])
        else:
            measured = [f"{each:.2f} {second}" for each in (value, used)]
            cells.append([NAMES[name][language], *measured, f"{GOALS[name]:g} {second}"])
    return markdown([head, *cells])


def median(found: list[Figure]) -> Figure:
    return statistics.median(each[0] for each in found), statistics.median(each[1] for each in found)


def main() -> None:
    """Measure, print the table, and write it with --write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "manycall-view-benchmark"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    out = given.folder / f"rows{given.rows}" / "big.jsonl"
    if not out.exists():
        write_output(out, given.rows)
        write_runs(given.folder / "runs")
    found = [measure_rows(out, given.rows) for _ in range(given.repeat)]
    figures = {name: median([each[name] for each in found]) for name in found[0]}
    figures |= measure_runs(given.folder / "runs") | measure_lines(out)
    size = out.stat().st_size / 1e9
    print(f"{given.rows:,} rows, {size:.2f} GB\n" + table(figures, 0))
    if given.write:
        load = f"{os.getloadavg()[1]:.0f}"
        lead = (
            f"{given.rows:,} rows, {size:.2f} GB, {os.cpu_count()} cores, load average {load}:",
            f"{given.rows:,} 行，{size:.2f} GB，{os.cpu_count()} 核，平均负载 {load}：",
        )
        for language, page in enumerate((DOCS / "view.md", DOCS / "zh" / "view.md")):
            replace_between(TABLE, [lead[language], table(figures, language)], page)


if __name__ == "__main__":
    main()

"""How long `manycall view` takes until a browser has drawn the rows. Writes a table of docs/view.md.

    .venv/bin/python benchmarks/view_pages.py --rows 1000000 --write

The output is that of benchmarks/view.py. Each figure is the median of --repeat runs, each with a new server process and
a new browser. Needs the extra `browser` and Chromium.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from scenarios.page import markdown, replace_between
from view import DOCS, RUNS, viewer, write_output, write_runs
from view_browser import SET_HIDDEN, browser
from view_runs import figures, write_run

TABLE = "benchmarks/view_pages.py"
LINES, HIDDEN_SECONDS = 40, 5
NAMES: dict[str, tuple[str, str, float, str]] = {
    "first": ("from the command to the first rows on the page", "从命令到页面显示前几行", 1.0, "s"),
    "bytes": ("bytes until then", "此前传输的字节", 150, "kB"),
    "last": ("End key to the last row", "按 End 键到最后一行", 0.1, "s"),
    "filter": ("a quick filter", "快速筛选", 0.3, "s"),
    "sort": ("order by length", "按长度排序", 1.2, "s"),
    "search": ("text search, from the last letter to the count of all hits", "文本搜索，从输入完到全部结果", 1.0, "s"),
    "pasted": (
        "text search, from a word that is pasted to the count of all hits",
        "文本搜索，从粘贴一个词到全部结果",
        1.0,
        "s",
    ),
    "list": (f"list of {RUNS:,} runs", f"{RUNS:,} 个运行的列表", 0.3, "s"),
    "line": ("a line in the timeline to the figure on the page (95 %)", "时间线的一行到页面上的数字（95 %）", 0.3, "s"),
    "hidden": (f"requests of a hidden tab in {HIDDEN_SECONDS} s", f"隐藏的标签页 {HIDDEN_SECONDS} 秒内的请求数", 0, ""),
    "heap": ("heap of the page afterwards", "此后页面的堆内存", 30, "MB"),
}
"""Names in English and Chinese, goal, unit."""


def seconds(action: Callable[[], Any]) -> float:
    """Return how long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def measure_rows(chromium: Any, out: Path) -> dict[str, float]:
    """Return the figures of the page of rows."""
    found: dict[str, float] = {}
    started = time.perf_counter()
    with viewer(out) as server:
        page = chromium.new_page()
        sizes: list[int] = []
        page.on("response", lambda response: sizes.append(int(response.headers.get("content-length") or 0)))
        page.goto(server.url)
        page.locator(".details").get_by_role("link", name="Rows").click()
        row = page.locator(".grid-row.selected")
        row.filter(has_text="q-0").wait_for()
        found["first"], found["bytes"] = time.perf_counter() - started, sum(sizes) / 1000
        status = page.locator("p.status")
        found["last"] = seconds(lambda: (page.keyboard.press("End"), row.filter(has_not_text="q-0").wait_for()))
        status.filter(has_not_text="indexed").wait_for(timeout=120_000)
        page.keyboard.press("Home")
        row.filter(has_text="q-0").wait_for()
        found["filter"] = seconds(lambda: (page.keyboard.press("w"), row.filter(has_text="✗ 0").wait_for()))
        page.keyboard.press("w")
        row.filter(has_text="q-0").wait_for()
        order = page.get_by_label("Order")
        found["sort"] = seconds(
            lambda: (order.select_option("-answer.len"), row.filter(has_text="q-", has_not_text="q-0 ").wait_for())
        )
        order.select_option("")
        page.keyboard.press("/")
        page.keyboard.type("hyperbol")
        page.wait_for_timeout(1000)
        complete = status.filter(has_text=re.compile(r"^[\d,]+ of (?!.*searched)"))
        found["search"] = seconds(
            lambda: (page.keyboard.type("a"), page.wait_for_url("**hyperbola**"), complete.wait_for())
        )
        field = page.locator("input[type=search]")
        field.fill("")
        row.filter(has_text="q-0").wait_for()
        found["pasted"] = seconds(
            lambda: (field.fill("yperbola"), page.wait_for_url("**yperbola**"), complete.wait_for())
        )
        session = page.context.new_cdp_session(page)
        session.send("HeapProfiler.collectGarbage")
        found["heap"] = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
        page.close()
    return found


def measure_list(chromium: Any, folder: Path) -> dict[str, float]:
    with viewer(folder) as server:
        page = chromium.new_page()
        elapsed = seconds(lambda: (page.goto(server.url), page.locator(".grid-row").first.wait_for()))
        page.close()
    return {"list": elapsed}


def measure_lines(chromium: Any, folder: Path) -> dict[str, float]:
    """Return the time from a line in the file to the page."""
    session = {"started_at": time.time(), "outcome": "not finished"}
    first = [figures(time.time(), 1, 10**6)]
    out = write_run(folder / "live.jsonl", [], sessions=[session], total=10**6, timeline=first)
    timeline = folder / "live.jsonl.run" / "timeline.jsonl"
    (folder / "live.jsonl.run" / "lock").write_text(f"process {os.getpid()} on {os.uname().nodename}\n")
    lags: list[float] = []
    with viewer(out) as server:
        page = chromium.new_page()
        page.goto(server.url)
        page.locator(".details").get_by_role("link", name="Open").click()
        page.get_by_text("updated live").wait_for()
        for number in range(2, LINES + 2):
            with timeline.open("a") as file:
                file.write(json.dumps(figures(time.time(), number, 10**6)) + "\n")
            lags.append(seconds(page.locator(f"[role=progressbar][aria-valuenow='{number}']").wait_for))
            time.sleep(0.05)
        hidden = count_hidden_requests(page)
        page.close()
    return {"line": sorted(lags)[int(0.95 * LINES)], "hidden": hidden}


def count_hidden_requests(page: Any) -> int:
    """Return how many requests the page sends while it takes itself for hidden: without a window, no tab is hidden."""
    page.evaluate(SET_HIDDEN, True)
    page.wait_for_timeout(500)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.wait_for_timeout(HIDDEN_SECONDS * 1000)
    return len(sent)


def table(found: dict[str, float], language: int) -> str:
    """Return the table in English (0) or Chinese (1)."""
    head = (["", "measured", "goal"], ["", "实测", "目标"])[language]
    cells = [
        [names[language], f"{found[key]:.{2 if unit == 's' else 0}f} {unit}".strip(), f"{goal:g} {unit}".strip()]
        for key, (*names, goal, unit) in NAMES.items()
    ]
    return markdown([head, *cells])


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
    measured: list[dict[str, float]] = []
    for _ in range(given.repeat):
        with tempfile.TemporaryDirectory() as live, browser() as chromium:
            rows, runs = measure_rows(chromium, out), measure_list(chromium, given.folder / "runs")
            measured.append({**rows, **runs, **measure_lines(chromium, Path(live))})
    found = {key: statistics.median(each[key] for each in measured) for key in NAMES}
    print(table(found, 0))
    if given.write:
        day, load = time.strftime("%Y-%m-%d"), f"{os.getloadavg()[0]:.0f}"
        lead = (
            f"On the page, with Chromium, {day}, load average {load}:",
            f"页面上（Chromium），{day}，平均负载 {load}：",
        )
        for language, page in enumerate((DOCS / "view.md", DOCS / "zh" / "view.md")):
            replace_between(TABLE, [lead[language], table(found, language)], page)


if __name__ == "__main__":
    main()

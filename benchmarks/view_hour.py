"""Look at runs for an hour in a browser: no file of a run changes, and the server does not grow.

    nice .venv/bin/python benchmarks/view_hour.py --seconds 3600

Makes a folder with runs that have finished, one that was killed and one that is still going on, starts `manycall view`
and walks through all pages, one action every --pause seconds. Afterwards 50 tabs are opened and closed. Prints JSON:
the memory, threads, open files and connections of the server over time, and which files changed (there must be none).
Needs the extra `browser` and Chromium.
"""

import argparse
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from view import Viewer, viewer
from view_browser import browser

SIM = ("-m", "any", "-u", "sim:latency=0.02,slots=8")
RUBRIC = "Which answer is better?\nA: {{ first.response }}\nB: {{ second.response }}"
TABS = 50
FINISHED = {
    "a.jsonl": ("eval", "wordmath", "--limit", "400", *SIM),
    "b.jsonl": ("eval", "wordmath", "--limit", "400", "-m", "other", "-u", "sim:latency=0.02,slots=8,accuracy=0.9"),
    "judged.jsonl": ("judge", "a.jsonl", "--against", "b.jsonl", "--rubric", RUBRIC, *SIM),
    "stories.jsonl": ("generate", "-p", "Tell a story.", "-n", "500", *SIM),
}
GOING = ("generate", "-p", "Tell a story.", "-n", "1000000", "-j", "4", "-m", "any", "-u", "sim:latency=2,slots=4")
Action = Callable[[Any], Any]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "manycall", *words]


@contextmanager
def run_going_on(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run that takes longer than this script; kill it at the end as `kill -9` does."""
    words = command(*GOING, "-o", "out.jsonl")
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def make_runs(folder: Path) -> None:
    """Make the finished runs and the killed one."""
    for name in ("finished", "killed", "live"):
        (folder / name).mkdir()
    for out, words in FINISHED.items():
        subprocess.run(command(*words, "-o", out), cwd=folder / "finished", check=True, capture_output=True)
    with run_going_on(folder / "killed"):
        time.sleep(10)


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return what must not change of each file and folder: kind, size, owner, times except the last read, content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        stat = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (
            stat.st_mode, stat.st_ino, stat.st_size, stat.st_uid, stat.st_mtime_ns, stat.st_ctime_ns, content,
        )  # fmt: skip
    return found


def resources(server: Viewer) -> dict[str, Any]:
    """Return what the server's process uses now."""
    process = Path("/proc", str(server.process.pid))
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    targets = []
    for each in (process / "fd").iterdir():
        try:
            targets.append(str(each.readlink()))
        except OSError:
            continue
    sockets = {each[8:-1] for each in targets if each.startswith("socket:")}
    lines = [line.split() for line in (process / "net" / "tcp").read_text().splitlines()[1:]]
    children = (process / "task" / str(server.process.pid) / "children").read_text().split()
    return {
        "rss_mb": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "peak_mb": round(int(status["VmHWM"].split()[0]) / 1024, 1),
        "threads": int(status["Threads"]),
        "files": len(targets),
        "connections": sum(line[3] == "01" and line[9] in sockets for line in lines),
        "children": len(children),
        "cpu_s": round(server.cpu_seconds(), 2),
    }


def press(*keys: str) -> Action:
    return lambda page: [page.keyboard.press(key) for key in keys]


def fill(label: str, text: str) -> Action:
    def act(page: Any) -> None:
        page.locator(label).fill(text)
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")

    return act


def shown(selector: str) -> Action:
    return lambda page: page.locator(selector).first.wait_for()


def at(fragment: str, selector: str) -> Action:
    """Open an address and wait for what it shows."""

    def act(page: Any) -> None:
        page.evaluate("hash => { location.hash = hash; }", fragment)
        page.locator(selector).first.wait_for()

    return act


def walk(ids: dict[str, str]) -> list[Action]:
    """Return a way through all pages, with filters, searches, orders and keys."""
    a, b, judged, stories = (ids[f"finished/{name}"] for name in FINISHED)
    killed, live = ids["killed/out.jsonl"], ids["live/out.jsonl"]
    row = ".grid-row"
    return [
        at("/", row), fill("input[type=search]", "sto"), at("/", row), press("j", "j", "x"), at("/?state=killed", row),
        *(at(f"/run/{each}/live", ".summary") for each in (live, a, killed, judged)),
        at(f"/run/{live}/rows", row), press("End"), press("Home"), press("Enter"), shown("td"), press("Escape"),
        at(f"/run/{live}/live", ".chart canvas"), at(f"/run/{live}/rows?file=calls&sort=-at", row),
        at(f"/run/{a}/rows", row), press("w"), shown(".grid-row .bad"), press("j", "Enter"), shown("mark.found"),
        press("n", "n", "p"), shown("td"), press("Escape"), fill("#where", "answer.len > 20"),
        fill("#where", "no filter ="), at(f"/run/{a}/rows?q=the&sort=-answer.len", row), press("End"), press("PageUp"),
        at(f"/run/{a}/rows?file=calls", row), press("Enter"), shown("details"),
        at(f"/compare?runs={a},{b}", row), press("j", "Enter"), shown(".both"), press("Escape"),
        at(f"/run/{judged}/judge", ".interval"), at(f"/run/{judged}/rows", row), press("Enter"), shown("td"),
        at(f"/run/{stories}/data", ".histogram button"), at(f"/run/{stories}/rows?q=a", row), press("?", "Escape"),
        at(f"/run/{killed}/rows", row), press("End", "Enter"), shown("td"),
        at(f"/run/{killed}/data", ".histogram button"),
    ]  # fmt: skip


def view_for(given: argparse.Namespace, page: Any, server: Viewer, actions: Iterator[Action]) -> dict[str, Any]:
    """Act on the page; return what the server used, once a minute, and how many actions there were.

    An action that shows nothing in time is counted as late and the next one follows: on a busy machine, a key may be
    pressed before its row is there.
    """
    from playwright.sync_api import TimeoutError as Late

    started, samples, late = time.monotonic(), list[dict[str, Any]](), 0
    for done, action in enumerate(actions):
        elapsed = time.monotonic() - started
        if elapsed >= len(samples) * min(60.0, given.seconds / 4):
            samples.append({"minute": round(elapsed / 60, 1), "actions": done, "late": late, **resources(server)})
            print(json.dumps(samples[-1]), file=sys.stderr, flush=True)
        if elapsed >= given.seconds:
            break
        try:
            action(page)
        except Late:
            late += 1
        page.wait_for_timeout(given.pause * 1000)
    return {"samples": samples}


def open_tabs(context: Any, url: str, server: Viewer, run: str) -> dict[str, Any]:
    """Open 50 tabs of a live page, close them, and return what the server used before, meanwhile and afterwards."""
    before = resources(server)
    pages = list[Any]()
    for _ in range(TABS):
        page = context.new_page()
        page.goto(url.replace("#t=", f"?{len(pages)}#t=") + f"&/run/{run}/live")
        page.locator(".summary").wait_for()
        pages.append(page)
    meanwhile = resources(server)
    for page in pages:
        page.close()
    time.sleep(15)  # uvicorn closes idle connections after 5 s
    return {"before": before, "open": meanwhile, "closed": resources(server)}


def main() -> None:
    """Make the runs, look at them, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--pause", type=float, default=3.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_runs(folder)
        kept = ("finished", "killed")
        before = {name: snapshot(folder / name) for name in kept}
        faults: list[str] = []
        with run_going_on(folder / "live"), viewer(folder) as server, browser() as chromium:
            while "live/out.jsonl" not in (ids := {run["name"]: run["id"] for run in server.get("/api/runs")["runs"]}):
                time.sleep(0.5)
            context = chromium.new_context(locale="en-GB")
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(server.url)
            page.locator(".grid-row").first.wait_for()
            found = view_for(given, page, server, itertools.cycle(walk(ids)))
            page.close()
            time.sleep(15)
            found["page_closed"] = resources(server)
            found["tabs"] = open_tabs(context, server.url, server, ids["live/out.jsonl"])
        after = {name: snapshot(folder / name) for name in kept}
        changed = [f"{name}/{file}" for name in kept for file in before[name].keys() | after[name].keys()
                   if before[name].get(file) != after[name].get(file)]  # fmt: skip
        files = sum(map(len, before.values()))
    print(json.dumps({**found, "files": files, "changed_files": changed, "page_errors": faults}, indent=1))


if __name__ == "__main__":
    main()

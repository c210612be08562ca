"""The page over the real server and real runs: killed, resumed and started over while the page is open."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from view_browser import browser

ROWS = 120
WAIT_MS = 15_000
DETAIL_MS = 10_000
"""How often a page asks for the details of its run."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@contextmanager
def command(*words: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run manycall in a new process group, which is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "manycall", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a command and its simulated endpoint, as `kill -9` does."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Start `manycall view` and yield the printed URL."""
    with command("view", str(folder), "--no-browser", "--port", "0", folder=folder) as server:
        assert server.stdout is not None
        line = next(each for each in server.stdout if "#t=" in each)
        yield next(word for word in line.split() if "#t=" in word)


class RealTab:
    """A tab that notes errors and requests to other places than its server."""

    def __init__(self, chromium: Any, url: str, has_clock: bool = False) -> None:
        self.faults: list[str] = []
        self.origin = url.partition("/#")[0]
        self.context = chromium.new_context(locale="en-GB", timezone_id="UTC")
        self.page = self.context.new_page()
        if has_clock:
            self.page.clock.install()  # a test may then skip the time between two polls
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on(
            "console", lambda message: self.faults.append(message.text) if "Content Security" in message.text else None
        )
        self.page.on("request", self._request)
        self.loads = 0
        self.page.on("load", lambda _: setattr(self, "loads", self.loads + 1))
        self.page.goto(url)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.faults.append(request.url)

    def rows(self) -> int:
        """Rows that have ended, as the page says."""
        return int(self.page.get_by_role("progressbar").get_attribute("aria-valuenow"))

    def wait_for_rows(self, number: int) -> None:
        """Wait until `number` rows have ended."""
        self.page.wait_for_function(
            "number => +document.querySelector('[role=progressbar]').getAttribute('aria-valuenow') >= number",
            arg=number,
        )

    def wait_for_status(self, is_wanted: Callable[[int], bool]) -> None:
        """Wait until the page of rows says a wanted number of rows."""
        status, deadline = self.page.locator("p.status"), time.monotonic() + WAIT_MS / 1000
        while not is_wanted(int(re.match(r"\d*", status.inner_text())[0] or 0)):  # type: ignore[index]
            assert time.monotonic() < deadline, status.inner_text()
            time.sleep(0.05)

    def wait_for_state(self, state: str) -> None:
        self.page.locator(f"h1 .state-{state}").wait_for()


def generate(latency: float, *more: str) -> list[str]:
    return [
        "generate",
        "-p",
        "Say something short.",
        "-n",
        str(ROWS),
        "-u",
        f"sim:latency={latency},slots=4",
        "-m",
        "any",
        "-j",
        "4",
        "-o",
        "out.jsonl",
        *more,
    ]


def test_a_run_that_is_killed_resumed_and_started_over_under_an_open_page(chromium: Any, tmp_path: Path) -> None:
    with command(*generate(0.2), folder=tmp_path) as run, serving(tmp_path) as url:
        tab = RealTab(chromium, url)
        tab.page.locator(".grid-row", has_text="out.jsonl").wait_for()
        tab.page.keyboard.press("Enter")
        tab.wait_for_state("running")
        tab.page.locator(".chart canvas").first.wait_for()
        tab.wait_for_rows(tab.rows() + 8)
        rows = RealTab(chromium, url + "&" + tab.page.url.partition("#")[2].replace("/live", "/rows"), has_clock=True)
        rows.wait_for_status(lambda shown: 0 < shown < ROWS)
        kill(run)
        tab.wait_for_state("killed")
        assert 0 < tab.rows() < ROWS
        with command(*generate(0.2), folder=tmp_path) as resumed:
            resumed.wait(timeout=30)
        tab.wait_for_state("finished")
        tab.wait_for_rows(ROWS)
        rows.page.clock.fast_forward(DETAIL_MS)
        rows.wait_for_status(lambda shown: shown == ROWS)
        with command(*generate(0.2, "--overwrite"), folder=tmp_path):
            tab.wait_for_state("running")
            tab.page.wait_for_function(
                "rows => +document.querySelector('[role=progressbar]').getAttribute('aria-valuenow') < rows", arg=ROWS
            )
            tab.wait_for_rows(8)
            assert tab.rows() < ROWS
            rows.page.clock.fast_forward(DETAIL_MS)
            rows.wait_for_status(lambda shown: 0 < shown < ROWS)
        for each in (tab, rows):
            assert (each.faults, each.loads) == ([], 1)
            each.context.close()


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes and the modification time of every file."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_pages_over_a_real_run_change_no_file(chromium: Any, tmp_path: Path) -> None:
    made = subprocess.run(
        [
            sys.executable,
            "-m",
            "manycall",
            "eval",
            "wordmath",
            "--limit",
            "40",
            "-u",
            "sim:latency=0",
            "-m",
            "any",
            "-o",
            "a.jsonl",
            "--json",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    score = json.loads(made.stdout)["scores"][0]
    before = snapshot(tmp_path)
    with serving(tmp_path) as url:
        tab = RealTab(chromium, url)
        page = tab.page
        page.locator(".grid-row", has_text="a.jsonl").wait_for()
        page.keyboard.press("Enter")
        tab.wait_for_state("finished")
        page.keyboard.press("g")
        page.keyboard.press("t")
        page.locator(".grid-row .good").first.wait_for()
        page.keyboard.press("w")
        wrong = round(score["count"] * (1 - score["value"]))
        page.get_by_text(f"{wrong} of 40 rows").wait_for()
        page.keyboard.press("Enter")
        page.get_by_text("✗ wrong").first.wait_for()
        page.locator("h2", has_text="Answer").wait_for()
        page.locator("td", has_text="show").first.wait_for()
        assert tab.faults == []
        tab.context.close()
    assert snapshot(tmp_path) == before

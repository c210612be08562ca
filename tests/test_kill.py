"""Real processes, really stopped, and what they leave behind. test_torture.py kills them."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from manycall.run.signals import Interrupts
from shell import finish, manycall, rows, sim, start

OUT = Path("out.jsonl")


def journal() -> Path:
    return Path("out.jsonl.run/calls.jsonl")


def wait_until_calls(count: int) -> None:
    """Until so many calls are in the journal."""
    deadline = time.monotonic() + 30
    while not journal().exists() or journal().read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_simulated_endpoint_ends_with_the_run_that_began_it() -> None:
    process = start("generate", "-p", "x", "-n", "10000", "-u", "sim:latency=0.05", "-m", "any", "-o", OUT)
    wait_until_calls(1)
    threads = Path(f"/proc/{process.pid}/task").glob("*/children")
    children = [child for thread in threads for child in thread.read_text().split()]
    assert len(children) == 1
    process.kill()
    finish(process)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{children[0]}").exists() and "Z" not in Path(f"/proc/{children[0]}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_lets_the_calls_in_flight_finish_and_says_how_to_go_on() -> None:
    with sim("--latency", "0.3", "--token-latency", "0") as endpoint:
        command = ("generate", "-p", "x y", "-n", "60", "-j", "8", "-m", "any", "-u", endpoint.url, "-o", OUT)
        process = start(*command)
        wait_until_calls(8)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        ended = finish(process)
        assert ended.code == 130
        assert "Resume with: manycall generate -p 'x y' -n 60 -j 8" in ended.err
        assert endpoint.stats["finished"] == endpoint.stats["started"] == len(rows(OUT))
        assert 16 <= len(rows(OUT)) < 60
        assert manycall(*command).code == 0
        assert endpoint.stats["finished"] == len(rows(OUT)) == 60


def test_a_closed_terminal_lets_the_calls_in_flight_finish() -> None:
    with sim("--latency", "1", "--token-latency", "0") as endpoint:
        process = start("generate", "-p", "x", "-n", "60", "-j", "8", "-m", "any", "-u", endpoint.url, "-o", OUT)
        deadline = time.monotonic() + 20
        while endpoint.stats["started"] < 8:
            assert time.monotonic() < deadline
        for _ in range(3):  # from the kernel and from the shell
            process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        assert finish(process).code == 130
        assert endpoint.stats["finished"] == endpoint.stats["started"] == len(rows(OUT)) == 8


def test_a_hangup_that_the_process_ignores_stays_ignored() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().received():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(second: signal.Signals) -> None:
    with sim("--latency", "60") as endpoint:
        process = start("generate", "-p", "x", "-n", "9", "-m", "any", "-u", endpoint.url, "-o", OUT)
        deadline = time.monotonic() + 20
        while endpoint.stats["started"] < 9:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(second)
        assert finish(process).code == 130
        assert time.monotonic() - began < 5
        assert rows(OUT) == []


def test_a_torn_line_after_a_crash_is_repaired_and_the_row_is_done_without_a_call() -> None:
    with sim("--latency", "0") as endpoint:
        command = ("generate", "-p", "x", "-n", "20", "-m", "any", "-u", endpoint.url, "-o", OUT)
        manycall(*command)
        OUT.write_bytes(OUT.read_bytes()[:-7])
        assert manycall(*command).code == 0
        assert len({row["id"] for row in rows(OUT)}) == len(rows(OUT)) == 20
        assert endpoint.stats["finished"] == 20


NOTEBOOK = """\
import asyncio, sys, manycall
async def cell():
    try:
        url, samples = sys.argv[1], int(sys.argv[2])
        manycall.generate('x', samples=samples, concurrency=4, base_url=url, model='m', out='out.jsonl')
    except BaseException as error:
        print(type(error).__name__)
"""
CELLS = {
    "asyncio.run": "asyncio.run(cell())",
    "a new loop": "asyncio.new_event_loop().run_until_complete(cell())",
    "uvloop": "import uvloop; uvloop.run(cell())",
    "no loop": "cell().send(None)",
}


@contextmanager
def notebook(cell: str, url: str, samples: int) -> Iterator[subprocess.Popen[str]]:
    """A process with a loop in its main thread, as a notebook has, in which a cell runs."""
    Path("notebook.py").write_text(NOTEBOOK + CELLS[cell])
    command = [sys.executable, "-W", "error", "notebook.py", url, str(samples)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("cell", "number"), [*((cell, signal.SIGINT) for cell in CELLS), ("asyncio.run", signal.SIGTERM)]
)
def test_interrupting_a_notebook_lets_the_calls_in_flight_finish(cell: str, number: signal.Signals) -> None:
    with sim("--latency", "0.3", "--token-latency", "0") as endpoint:
        with notebook(cell, endpoint.url, 40) as process:
            wait_until_calls(4)
            time.sleep(0.1)
            process.send_signal(number)
            said = process.communicate(timeout=20)
        assert said[0].split() == ["Interrupted"], said
        assert endpoint.stats["started"] == endpoint.stats["finished"] == len(rows(journal())) == len(rows(OUT)) < 40
        with notebook(cell, endpoint.url, 40) as process:
            process.communicate(timeout=20)
        assert endpoint.stats["finished"] == len(rows(OUT)) == 40


@pytest.mark.parametrize("cell", CELLS)
def test_interrupting_a_notebook_twice_stops_at_once(cell: str) -> None:
    with sim("--latency", "60") as endpoint, notebook(cell, endpoint.url, 4) as process:
        deadline = time.monotonic() + 20
        while endpoint.stats["started"] < 4:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=5)
        assert said[0].split() == ["Interrupted"], said


@pytest.mark.parametrize("signals", [1, 2, 3])
def test_a_function_that_blocks_everything_is_interrupted_by_the_third_ctrl_c(signals: int) -> None:
    Path("blocks.py").write_text("import time\nasync def f(row, llm):\n    await llm.chat('x')\n    time.sleep(600)\n")
    Path("in.jsonl").write_text('{"id": "a"}\n{"id": "b"}\n')
    with sim("--latency", "0") as endpoint:
        process = start("run", "blocks.py:f", "in.jsonl", "-m", "any", "-u", endpoint.url, "-o", OUT)
        wait_until_calls(1)
        time.sleep(0.2)
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        if signals < 3:
            assert process.poll() is None
            process.kill()
            process.communicate()
            return
        assert finish(process, 10).code == 130
        assert rows(OUT) == rows(Path("out.jsonl.run/failures.jsonl")) == []


def test_a_killed_run_of_many_rows_is_resumed_from_its_cache() -> None:
    """A cache of 10,000 rows, then three kills behind it; at the end each row is there once, and was paid for once."""
    done, more, in_flight = 10_000, 400, 16
    command = ("generate", "-p", "{{ q }}", "in.jsonl", "-j", str(in_flight), "-m", "any", "-o", OUT)
    lines = [f'{{"id": "row {n}", "q": "{n}"}}\n' for n in range(done + more)]
    with sim("--latency", "0", "--token-latency", "0", "--tokens", "2", seconds=300) as endpoint:
        Path("in.jsonl").write_text("".join(lines[:done]))
        assert manycall(*command, "-u", endpoint.url).code == 0
        cache = Path("out.jsonl.run/resume.cache")
        assert cache.exists()
        Path("in.jsonl").write_text("".join(lines))
        for kill in range(3):
            process = start(*command, "-u", endpoint.url)
            wait_until_calls(done + 80 * (kill + 1))
            process.kill()
            finish(process)
        last = manycall(*command, "-u", endpoint.url)
        assert last.code == 0
        assert f"{done + more} of {done + more} done" in last.out.replace(",", "")
        assert sorted(row["id"] for row in rows(OUT)) == sorted(f"row {n}" for n in range(done + more))
        assert endpoint.stats["finished"] <= done + more + 3 * in_flight
        assert len({(call["id"], call["key"]) for call in rows(journal())}) == len(rows(journal())) == done + more

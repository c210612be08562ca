"""Runs with several processes: the same rows, the same files, and nothing lost or doubled if one is killed."""

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from subprocess import Popen

import pytest

import manycall as manycall_api
from manycall.cli.user_code import load_module
from manycall.cluster import local_workers
from manycall.cluster.link import Link, open_socket_link
from manycall.errors import RunStopped, UsageError
from manycall.python_api.job_call import JobCall, decode_job_call, encode_job_call
from manycall.records import Fields
from shell import Ended, finish, manycall, rows, sim, start

OUT = Path("out.jsonl")
GENERATE = ("generate", "-p", "Say {{ id }}.", "-m", "any", "-o", OUT)
JUDGE = """\
async def grade(row, llm):
    reply = await llm.chat(row["text"])
    return {"length": len(reply.text)}
"""


LOCAL_FUNCTION = """\
import manycall
def main():
    async def grade(row, llm):
        return {}
    manycall.map(grade, [{"id": 1}], base_url="sim", model="any", out="out.jsonl", processes=2)
main()
"""
TASK = """\
import manycall
task = manycall.Task(
    [{"id": str(n), "question": str(n), "answer": "1"} for n in range(4)], "{{ question }}", str.strip,
    lambda answer, target: 1.0, name="mine", origin="ORIGIN",
)
if __name__ == "__main__":
    manycall.evaluate(task, model="m", base_url="sim", out="out.jsonl", progress=False, processes=2)
"""
UNGUARDED = """\
import manycall
async def grade(row, llm):
    return {"length": len((await llm.chat(str(row["n"]))).text)}
manycall.map(
    grade, ({"n": n} for n in range(20)), base_url="sim:latency=0", model="any", out="out.jsonl", progress=False,
    processes=2,
)
"""


def run_script(script: Path) -> str:
    """Run a script. Return the message of the exception that ends it."""
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    last = ended.stderr.strip().rpartition("\n")[2]
    return last.partition(": ")[2]


def ids(path: Path = OUT) -> list[str]:
    return [row["id"] for row in rows(path)]


def workers_of(driver: "Popen[str]") -> list[int]:
    """Process ids of the workers."""
    children = [
        int(child)
        for thread in Path(f"/proc/{driver.pid}/task").glob("*/children")
        for child in thread.read_text().split()
    ]
    return [pid for pid in children if b"worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def assert_complete(ended: Ended, count: int) -> None:
    """Each row is in the output once, each call in the journal, and nothing is left of the segments."""
    assert ended.code == 0, ended.err
    assert sorted(map(str, ids())) == sorted(map(str, range(count)))
    assert not list(Path("out.jsonl.run/segments").glob("0*"))


STEPS = """\
[[steps]]
generate = "A tale of {{ text }}"
output_field = "tale"
[[steps]]
keep = "tale | length > 150"
"""
COMMANDS = {
    "generate": ("generate", "rows.jsonl", "-p", "Say {{ text }}.", "--schema", "schema.json"),
    "eval": ("eval", "wordmath", "--limit", "60"),
    "judge": ("judge", "rows.jsonl", "--rubric", "Is {{ text }} good?"),
    "steps": ("steps", "steps.toml", "rows.jsonl"),
    "run": ("run", "judge.py:grade", "rows.jsonl"),
    "run-batch": ("run-batch", "batch.jsonl"),
}


def write_inputs() -> None:
    texts = [{"id": f"r{n}", "text": f"Text {n}"} for n in range(60)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    Path("judge.py").write_text(JUDGE)
    Path("steps.toml").write_text(STEPS)
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    Path("schema.json").write_text(json.dumps(schema))
    body = {"model": "any", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
    request = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    Path("batch.jsonl").write_text("".join(json.dumps({"custom_id": f"b{n}", **request}) + "\n" for n in range(60)))


def sorted_lines(path: str) -> list[str]:
    """Lines of a file, without numbers and times that the simulated server gives each reply."""
    return sorted(re.sub(r'sim-\d+|"created":\d+', "", line) for line in Path(path).read_text().splitlines())


@pytest.mark.parametrize("job", COMMANDS)
def test_two_processes_write_the_rows_that_one_writes(job: str) -> None:
    write_inputs()
    options = ("-m", "any", "--temperature", "0")[2 if job == "run-batch" else 0 :]
    with sim("--latency", "0.01", "--answer-key", "wordmath") as endpoint:
        for out, processes in (("one.jsonl", ()), ("out.jsonl", ("--processes", "2"))):
            ended = manycall(*COMMANDS[job], *options, "-u", endpoint.url, "-o", out, *processes)
            assert ended.code == 0, ended.err
        calls = lines(Path("out.jsonl.run/calls.jsonl"))
        assert calls == lines(Path("one.jsonl.run/calls.jsonl")) == endpoint.stats["finished"] / 2
    for name in ("{}", "{}.run/rejected.jsonl"):
        assert sorted_lines(name.format("out.jsonl")) == sorted_lines(name.format("one.jsonl"))
    assert not list(Path("out.jsonl.run/segments").glob("0*"))


def test_a_worker_that_is_killed_is_replaced_and_its_calls_are_not_paid_again() -> None:
    with sim("--latency", "0.05", "--token-latency", "0.002") as endpoint:
        driver = start(*GENERATE, "-n", "1500", "-u", endpoint.url, "-j", "20", "--processes", "2")
        wait_until(lambda: lines(OUT) > 200)
        os.kill(workers_of(driver)[0], signal.SIGKILL)
        assert_complete(finish(driver), 1500)
        assert 1500 <= endpoint.stats["finished"] <= 1510


def test_after_the_driver_is_killed_one_process_continues_with_all_that_was_paid() -> None:
    with sim("--latency", "0.05", "--token-latency", "0.002") as endpoint:
        command = (*GENERATE, "-n", "1000", "-u", endpoint.url, "-j", "20")
        driver = start(*command, "--processes", "2")
        wait_until(lambda: lines(OUT) > 200)
        driver.kill()
        driver.communicate()
        assert_complete(manycall(*command), 1000)
        assert endpoint.stats["finished"] == 1000


def test_a_wrong_key_costs_as_many_calls_as_with_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    with sim("--provider", "openai", "--fault", "wrong_key") as endpoint:
        ended = manycall(*GENERATE, "-n", "500", "-u", endpoint.url, "--processes", "8")
        assert ended.code == 4
        assert endpoint.stats["started"] <= 8


def test_ctrl_c_lets_the_calls_of_all_workers_finish() -> None:
    with sim("--latency", "0.3", "--token-latency", "0") as endpoint:
        command = (*GENERATE, "-n", "400", "-u", endpoint.url, "-j", "8", "--processes", "2")
        driver = start(*command)
        wait_until(lambda: lines(OUT) >= 8)
        driver.send_signal(signal.SIGINT)
        assert finish(driver).code == 130
        assert endpoint.stats["finished"] == endpoint.stats["started"] == len(rows(OUT)) < 400
        assert manycall(*command).code == 0
        assert endpoint.stats["finished"] == len(rows(OUT)) == 400


def test_a_row_function_from_a_file_runs_in_the_workers() -> None:
    Path("judge.py").write_text(JUDGE)
    Path("rows.jsonl").write_text("".join(json.dumps({"id": str(n), "text": f"Text {n}"}) + "\n" for n in range(50)))
    ended = manycall(
        "run", "judge.py:grade", "rows.jsonl", "-u", "sim:latency=0", "-m", "any", "-o", OUT, "--processes", "2"
    )
    assert_complete(ended, 50)
    assert all(row["length"] > 0 for row in rows(OUT))


def test_a_function_without_a_name_in_a_file_is_refused() -> None:
    script = Path("script.py")
    script.write_text(LOCAL_FUNCTION)
    assert run_script(script) == (
        "With processes=, function cannot be a function or a type that has no name in a module: other processes must "
        "find it. Define it in a file, by name."
    )


class Grader:
    """A row function with a setting."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    async def grade(self, row: Fields, client: object) -> Fields:
        return {"weight": self.weight}

    @classmethod
    async def grade_all(cls, row: Fields, client: object) -> Fields:
        return {}


@wraps(Grader.grade)
async def wrapped(row: Fields, client: object) -> Fields:
    return {}


@pytest.mark.parametrize("value", [Grader(2.0).grade, wrapped, list[int]])
def test_a_value_that_other_processes_would_find_as_another_one_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="schema cannot be a bound method, a wrapped function"):
        encode_job_call(JobCall("generate", {"schema": value}))


def test_functions_and_types_with_a_name_in_a_module_are_found_by_other_processes() -> None:
    arguments = {"function": Grader.grade_all, "schema": Grader}
    call, _ = decode_job_call(encode_job_call(JobCall("map", arguments)), load_module)
    assert call.arguments == arguments


def test_a_script_without_a_guard_is_refused() -> None:
    script = Path("script.py")
    script.write_text(UNGUARDED)
    assert "Put the call under" in run_script(script)
    assert not rows(OUT)


def test_a_script_runs_its_own_function_in_the_workers() -> None:
    script = Path("script.py")
    script.write_text(UNGUARDED.replace("manycall.map", 'if __name__ == "__main__":\n    manycall.map'))
    assert run_script(script) == ""
    assert sorted(row["length"] > 0 for row in rows(OUT)) == [True] * 20


def test_a_worker_process_that_the_system_refuses_stops_the_run_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/missing")
    with pytest.raises(RunStopped, match="cannot be started: No such file or directory"):
        asyncio.run(local_workers.LocalStarter(b"", None).start(1))


def test_a_task_names_the_file_in_which_the_workers_find_it() -> None:
    script = Path("script.py")
    script.write_text(TASK.replace("ORIGIN", ""))
    assert run_script(script) == (
        "With processes=, task cannot be a Task without an origin: other processes must find it. Name the file that "
        'defines it, as in Task(..., origin="FILE.py:task").'
    )
    script.write_text(TASK.replace("ORIGIN", "script.py:task"))
    assert run_script(script) == ""
    assert [row["score"] for row in rows(OUT)] == [{"score": 1.0}] * 4


class FaultyLink:
    """Drops, delays and doubles messages both ways, a tenth of them each. The first ones, with the job, arrive."""

    def __init__(self, link: Link, rng: random.Random) -> None:
        self._link, self._rng = link, rng
        self._sent = self.faults = 0
        self._late = asyncio.Queue[bytes | None]()
        self._reader: asyncio.Task[None] | None = None

    def _times(self) -> list[float]:
        """When a message arrives, in seconds from now; [] if it is lost."""
        fault = self._rng.random()
        self.faults += fault < 0.3
        return [] if fault < 0.1 else [0.5] if fault < 0.2 else [0, 0.2] if fault < 0.3 else [0]

    def send(self, message: bytes) -> None:
        self._sent += 1
        for seconds in self._times() if self._sent > 2 else [0]:
            asyncio.get_running_loop().call_later(seconds, self._link.send, message)

    async def receive(self) -> bytes | None:
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        return await self._late.get()

    async def _read(self) -> None:
        while (message := await self._link.receive()) is not None:
            for seconds in self._times():
                asyncio.get_running_loop().call_later(seconds, self._late.put_nowait, message)
        self._late.put_nowait(None)

    def close(self) -> None:
        self._link.close()


def test_a_link_that_drops_delays_and_doubles_messages_loses_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, links = random.Random(7), list[FaultyLink]()

    async def open_faulty_link(connected: socket.socket) -> FaultyLink:
        links.append(FaultyLink(await open_socket_link(connected), rng))
        return links[-1]

    monkeypatch.setattr(local_workers, "open_socket_link", open_faulty_link)
    with sim("--latency", "0.02") as endpoint:
        result = manycall_api.generate(
            "Say {{ id }}.", samples=1200, concurrency=24, base_url=endpoint.url, model="any", out=OUT, processes=2,
            progress=False,
        )  # fmt: skip
        assert endpoint.stats["finished"] == result.calls == 1200
    assert sum(each.faults for each in links) >= 10
    assert sorted(map(str, ids())) == sorted(map(str, range(1200)))
    assert lines(Path("out.jsonl.run/calls.jsonl")) == 1200

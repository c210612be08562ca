"""A user's own scorer that takes for ever costs its row and nothing else."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import manycall
import shell
from manycall.evals.scoring.scorer_process import ScorerFailed, ScorerProcesses, grade_function
from manycall.evals.tasks.custom import scorer_task
from servers import http, read_request, serving

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="the processes are counted in /proc")
OWN = """
import os, re, subprocess, sys, manycall

def extract(response):
    print("a scorer may print")
    if response == "raise":
        raise ValueError("no answer in it")
    if response == "end":
        os._exit(7)
    if response == "object":
        return object()
    if response == "start another":
        subprocess.run(["sleep", "60"])
    return re.sub(r"(a+)+$", "", response)

task = manycall.Task(
    rows="questions.jsonl", prompt="{{ question }}", extract=extract, scorer=lambda answer, target: answer == target,
    scoring_timeout=0.5,
)
"""
FOR_EVER = "a" * 60 + "!"
"""The pattern backtracks 2^60 times."""


async def echo(reader: Any, writer: Any) -> None:
    """Answer with what was asked."""
    _, body = await read_request(reader)
    if not body:  # it is asked for its metrics
        writer.write(http(404, b""))
        return
    content = json.loads(body)["messages"][-1]["content"]
    message = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    writer.write(http(200, json.dumps({"choices": [message]}).encode()))


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    Path("own.py").write_text(OWN)
    with serving(echo) as base:
        yield base


def ask(*questions: str) -> None:
    rows = [{"id": str(n), "question": text, "answer": "right"} for n, text in enumerate(questions)]
    Path("questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def words(url: str) -> list[str]:
    return ["eval", "own.py:task", "-m", "any", "-u", url, "-o", "out.jsonl", "--no-progress"]


def processes_here(words: bytes) -> list[int]:
    """The ids of the processes of this folder that were started with these words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if words in (folder / "cmdline").read_bytes() and (folder / "cwd").readlink() == Path.cwd():
                found.append(int(folder.name))
        except OSError:  # it has ended
            pass
    return found


def scorers() -> list[int]:
    """The scorer processes that run."""
    return processes_here(b"manycall.cli.scorer")


def failures() -> dict[str, str]:
    return {row["id"]: row["error"] for row in shell.rows(Path("out.jsonl.run/failures.jsonl"))}


def test_an_answer_on_which_the_scorer_takes_for_ever_fails_alone(url: str) -> None:
    ask("right", FOR_EVER, "wrong", "raise", "end", "object", "right")
    for _ in range(2):  # the second time without a call
        ended = shell.manycall(*words(url), seconds=60)
        assert ended.code == 3
        assert "4 function_error" in ended.out + ended.err
        assert {row["id"]: row["score"]["score"] for row in shell.rows(Path("out.jsonl"))} == {"0": 1, "2": 0, "6": 1}
        errors = failures()
        assert errors["1"].startswith("ScorerTooSlow: the scorer took longer than 0.5 s for this answer. Fix it, or ")
        assert errors["3"] == "ScorerFailed: ValueError: no answer in it (own.py, line 7)"
        assert errors["4"] == "ScorerFailed: the scorer ended its process (exit code 7)"
        assert errors["5"].startswith("ScorerFailed: TypeError: Encoding objects of type object is unsupported")
    assert len(shell.rows(Path("out.jsonl.run/calls.jsonl"))) == 7
    assert scorers() == []


def test_an_output_is_scored_again_in_a_process_too(url: str) -> None:
    ask("right", FOR_EVER)
    lines = [json.dumps({"id": text[:5], "response": text, "answer": "right"}) + "\n" for text in ("right", FOR_EVER)]
    Path("out.jsonl").write_text("".join(lines))
    ended = shell.manycall("score", "out.jsonl", "--scorer", "own.py:task", seconds=30)
    assert ended.code == 2
    assert "out.jsonl, the row at byte 56: task cannot score it: the scorer took longer" in ended.err
    Path("out.jsonl").write_text(lines[0])
    assert "a scorer may print" in shell.manycall("score", "out.jsonl", "--scorer", "own.py:task").err
    assert scorers() == []


def test_ctrl_c_stops_a_run_whose_scorer_takes_for_ever(url: str) -> None:
    ask("right", *[FOR_EVER] * 6)
    process = shell.start(*words(url))
    wait_for(lambda: len(scorers()) > 0 and Path("out.jsonl").stat().st_size > 0)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert shell.finish(process, 60).code == 130
    assert time.monotonic() - began < 25
    assert scorers() == []


def test_no_scorer_outlives_a_killed_run_for_long(url: str) -> None:
    ask("right", FOR_EVER, FOR_EVER)
    process = shell.start(*words(url))
    wait_for(lambda: len(scorers()) > 0 and Path("out.jsonl").stat().st_size > 0)
    process.kill()
    process.communicate()
    wait_for(lambda: scorers() == [])


def wait_for(happened: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_what_a_scorer_has_started_ends_with_it(url: str) -> None:
    ask()
    processes = ScorerProcesses("own.py:task", 1)
    with pytest.raises(ScorerFailed, match="longer than 1 s"):
        processes.grade("start another", {"answer": "right"})
    wait_for(lambda: not processes_here(b"sleep\x0060"))


def test_a_pattern_of_the_users_is_matched_in_a_process(url: str) -> None:
    task = scorer_task("regex:(a+)+$")
    processes = ScorerProcesses(task.origin, 0.5)
    assert processes.grade("an aaa", {"answer": "aaa"}) == {"regex:(a+)+$": ("aaa", 1.0)}
    with pytest.raises(ScorerFailed, match="the scorer took longer"):
        processes.grade(FOR_EVER, {"answer": "a"})
    assert processes.grade("an aaa", {"answer": "b"}) == {"regex:(a+)+$": ("aaa", 0.0)}
    assert len(scorers()) == 1
    processes.close()
    assert scorers() == []


def test_functions_that_exist_only_here_and_those_that_are_built_in_are_called_here() -> None:
    task = manycall.Task(rows=[], prompt="x", extract=lambda text: os.getpid(), scorer=lambda answer, target: 1)
    assert grade_function(task)("x", {"answer": "x"}) == {"score": (os.getpid(), 1.0)}
    assert scorer_task("numeric").origin == ""

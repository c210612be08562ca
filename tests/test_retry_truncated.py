"""`--retry truncated`: only the truncated rows are asked for again, and no crash loses their old rows."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from disks import Files, Remembering, crashes
from fakes import answer
from manycall.errors import SettingsMismatch, UsageError
from manycall.records import Row, Success
from manycall.store.manifest import Manifest
from manycall.store.retried_rows import RETRIED
from manycall.store.run_folder import RunFolder
from servers import http, read_request, serving
from shell import finish, rows, start
from shell import manycall as command

OUT = Path("out.jsonl")
ROWS = [{"id": str(n), "q": n} for n in range(6)]
LIMITS = {0: 9, 2: 90, 4: 900}
"""Tokens that the answers to these questions take. The others take none."""
Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def model(asked: list[tuple[int, int]], pause: float = 0.0) -> Connection:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = json.loads((await read_request(reader))[1])
        number, limit = int(body["messages"][-1]["content"]), body["max_tokens"]
        asked.append((number, limit))
        if limit > 5:
            await asyncio.sleep(pause)
        is_whole = LIMITS.get(number, 0) <= limit
        reply = answer(f"{number} with {limit}", "stop" if is_whole else "length")
        writer.write(http(200, reply.body))
        await writer.drain()

    return connection


def generate(url: str, max_tokens: int, **options: Any) -> manycall.results.RunResult:
    return manycall.generate(
        "{{ q }}", ROWS, model="m", base_url=url, out=OUT, max_tokens=max_tokens, progress=False, **options
    )


def test_only_truncated_rows_are_asked_for_again_and_replace_the_old_ones() -> None:
    asked: list[tuple[int, int]] = []
    with serving(model(asked)) as url:
        assert generate(url, 5).truncated == 3
        order = [row["id"] for row in rows(OUT)]
        asked.clear()
        result = generate(url, 100, retry="truncated")
        assert sorted(asked) == [(0, 100), (2, 100), (4, 100)]
        assert (result.done, result.failed, result.truncated, result.retried) == (6, 0, 1, 3)
        assert [row["id"] for row in rows(OUT)] == order
        texts = {row["q"]: row["text"] for row in rows(OUT)}
        assert texts == {n: f"{n} with {5 if n % 2 else 100}" for n in range(6)}
        assert not (Path("out.jsonl.run") / RETRIED).exists()
        asked.clear()
        assert generate(url, 100, retry="truncated").truncated == 1  # the same command replays and asks nothing
        assert generate(url, 5).done == 6  # the first command is still that of this output
        assert asked == []
        with pytest.raises(SettingsMismatch, match="max_tokens"):
            generate(url, 100)


def test_manifest_and_report_say_how_many_rows_have_the_larger_limit() -> None:
    task = manycall.Task(
        rows=[{"question": n, "answer": "x"} for n in range(6)], prompt="{{ question }}", extract=str.strip,
        scorer=lambda read, target: "900" in read,
    )  # fmt: skip
    options: dict[str, Any] = {"model": "m", "out": OUT, "progress": False}
    with serving(model([])) as url:
        manycall.evaluate(task, base_url=url, max_tokens=5, **options)
        result = manycall.evaluate(task, base_url=url, max_tokens=900, retry="truncated", **options)
    assert (result.scores[0].value, result.scored_rows, result.truncated) == (0.5, 6, 0)
    assert "3 rows were answered with max_tokens=900" in str(result)
    sessions = json.loads(Path("out.jsonl.run/manifest.json").read_bytes())["sessions"]
    assert (sessions[-1]["retry"], sessions[-1]["retried"]) == ({"max_tokens": 900}, 3)
    manycall.write_report(result, "r.html")
    assert "3 rows were answered with max_tokens=900" in Path("r.html").read_text()


def test_a_row_that_fails_when_asked_again_keeps_its_old_answer() -> None:
    async def failing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(400, b'{"error":{"message":"too long"}}'))

    with serving(model([])) as url:
        generate(url, 5)
    with serving(failing) as url:
        result = generate(url, 100, retry="truncated")
    assert (result.done, result.failed, result.truncated) == (3, 3, 3)
    assert len(rows(OUT)) == 6
    assert rows(Path("out.jsonl.run/failures.jsonl")) == []


def test_a_retry_that_changes_nothing_is_refused() -> None:
    with serving(model([])) as url:
        with pytest.raises(UsageError, match="has no rows yet"):
            generate(url, 5, retry="truncated")
        generate(url, 5)
        with pytest.raises(UsageError, match="truncated at 5 tokens"):
            generate(url, 5, retry="truncated")
        with pytest.raises(SettingsMismatch, match="temperature"):
            generate(url, 9, retry="truncated", temperature=0.5)
        with pytest.raises(UsageError, match="finish reason"):
            generate(url, 9, retry="truncated", parse=lambda row, text: {"a": text})


def test_after_a_kill_each_row_is_the_old_or_the_new_one_and_the_same_command_goes_on() -> None:
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    asked: list[tuple[int, int]] = []
    with serving(model(asked, pause=0.5)) as url:
        words = ("generate", "-p", "{{ q }}", "in.jsonl", "-m", "m", "-u", url, "-o", OUT, "-j", "1", "--max-tokens")
        assert command(*words, "5").code == 0
        running = start(*words, "900", "--retry", "truncated")
        retried = Path("out.jsonl.run") / RETRIED
        deadline = time.monotonic() + 30
        while not (retried.exists() and retried.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        finish(running)
        assert sorted(row["q"] for row in rows(OUT)) == list(range(6))
        assert {row["text"] for row in rows(OUT)} == {f"{n} with 5" for n in range(6)}
        assert command(*words, "900", "--retry", "truncated").code == 0
    assert {row["q"]: row["text"] for row in rows(OUT)} == {n: f"{n} with {5 if n % 2 else 900}" for n in range(6)}
    assert len(asked) <= 6 + 3 + 1  # at most the call in flight was made twice
    sessions = json.loads(Path("out.jsonl.run/manifest.json").read_bytes())["sessions"]
    assert sum(session.get("retried", 0) for session in sessions) == 3


# every state that a crash may leave

DISK_OUT = Path("/folder/out.jsonl")
SUFFIX = b'"finish":"length"}\n'


def open_run(disk: Remembering, limit: int) -> RunFolder:
    manifest = Manifest("0", {"job": "test", "params": {"max_tokens": limit}})
    return RunFolder(DISK_OUT, manifest, truncation_marks=(SUFFIX,), retries_truncated=limit > 1, disk=disk)


def write(run: RunFolder, limit: int) -> None:
    for n in range(6):
        if not run.ids.state(str(n)):
            finish_reason = "length" if n % 2 == 0 and limit < 3 else "stop"
            run.write_row(Success(Row(str(n), {}), {"limit": limit, "finish": finish_reason}))


def test_no_crash_loses_an_old_row_before_the_new_one_is_written() -> None:
    disk = Remembering()
    run = open_run(disk, 1)
    write(run, 1)
    run.close()
    begin = len(disk.log)
    run = open_run(disk, 3)
    write(run, 3)
    run.close()
    seen: set[tuple[int, ...]] = set()

    def recover(files: Files) -> None:
        left = Remembering(files)
        again = open_run(left, 1)
        again.close()
        written = {int(row["id"]): row["limit"] for row in map(msgspec.json.decode, left.files[DISK_OUT].splitlines())}
        assert sorted(written) == list(range(6))
        assert len(left.files[DISK_OUT].splitlines()) == 6
        assert all(written[n] == 1 for n in (1, 3, 5))
        seen.add(tuple(written[n] for n in (0, 2, 4)))
        again = open_run(left, 3)
        write(again, 3)
        again.close()
        rows_after = [msgspec.json.decode(line) for line in left.files[DISK_OUT].splitlines()]
        assert sorted((int(row["id"]), row["limit"]) for row in rows_after) == [
            (n, 1 if n % 2 else 3) for n in range(6)
        ]

    for end in range(begin, len(disk.log) + 1):
        for crash in crashes(disk, end):
            recover(crash.files)
    assert {(1, 1, 1), (3, 1, 1), (3, 3, 3)} <= seen

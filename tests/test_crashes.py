"""Every state that a crash may leave, made and recovered from."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from disks import Crash, Files, Remembering, crashes
from manycall.errors import RowRejected, StorageError
from manycall.records import Failure, Row, Success
from manycall.store.cache_writer import SessionProgress
from manycall.store.journal_line import request_hash
from manycall.store.manifest import Manifest
from manycall.store.resume_cache import CACHE
from manycall.store.run_folder import RunFolder

OUT = Path("/folder/out.jsonl")
ROWS = 18
CALLS = 2
opened: Counter[str] = Counter()
"""How runs were opened."""
FAILS = 3
"""This row is given up at first."""


def open_run(disk: Remembering) -> RunFolder:
    """Open the files. A cache of them must agree with them."""
    plain = RunFolder(OUT, Manifest("0", {"job": "test"}), disk=Remembering(without_cache(disk.files)))
    run = RunFolder(OUT, Manifest("0", {"job": "test"}), disk=disk)
    assert known_of(run) == known_of(plain)
    opened["with a cache" if run.cached is not None else "without"] += 1
    return run


def without_cache(files: Files) -> Files:
    return {path: content for path, content in files.items() if path.name != CACHE}


def known_of(run: RunFolder) -> dict[str, Any]:
    """What a session knows of the earlier ones."""
    return {
        "done": [row for row in range(ROWS) if run.ids.is_done(str(row))],
        "rows": (run.done_before, run.rejected, run.output_rows, run.truncated),
        "calls": run.journal._offsets,
        "failed": run.failures.failed_before,
    }


def write_cache(run: RunFolder, disk: Remembering) -> None:
    """Write the cache in the middle of a session, after a sync."""
    writer = run.cache_with(SessionProgress, min_rows=0)
    assert writer is not None
    snapshot = writer.snapshot()
    run.sync()
    writer.write(snapshot)
    disk.note("durable")


def call(row: int, nth: int) -> tuple[str, bytes]:
    """The key of a call, and the reply to it: some bytes as long as replies are, in a line of their own each."""
    return request_hash("chat", b"%d" % row), f"answer {nth} to {row}: ".encode() + '好\n\\"'.encode() * (row % 4 + 1)


def work(run: RunFolder, disk: Remembering, rng: random.Random, gives_up: bool) -> Counter[tuple[int, int]]:
    """Do the rows that are not done, committing now and then; return which calls were paid."""
    paid: Counter[tuple[int, int]] = Counter()
    for row in range(ROWS):
        if run.ids.is_done(str(row)):
            continue
        for nth in range(1, CALLS + 1):
            key, reply = call(row, nth)
            got = run.journal.replay(str(row), key, nth)
            if got is None:
                paid[row, nth] += 1
                run.journal.append(str(row), key, nth, reply, at=1.0, seconds=0.5)
                disk.note("paid", b"%d %d" % (row, nth))
            else:
                assert got == reply
        if gives_up and row == FAILS:
            run.failures.append(Failure(Row(str(row), {"n": row}), "call_error", "503", 4))
        else:
            run.write_row(Success(Row(str(row), {"n": row}), {"text": call(row, CALLS)[1].decode()}))
            disk.note("done", b"%d" % row)
        if rng.random() < 0.3:
            run.timeline({"at": row})
        if rng.random() < 0.1:
            write_cache(run, disk)
        if rng.random() < 0.4:
            mark = run.mark()
            run.sync()
            run.synced(mark)
            disk.note("durable")
    return paid


def history(seed: int) -> Remembering:
    """A run that is killed, then meets a full disk, then goes on, gives a row up, ends, and is called again."""
    rng = random.Random(seed)
    disk = Remembering()
    run = open_run(disk)
    for row in range(ROWS // 2):
        key, reply = call(row, 1)
        run.journal.append(str(row), key, 1, reply, at=1.0, seconds=0.5)
        disk.note("paid", b"%d 1" % row)
    disk.note("killed")
    run = open_run(disk)
    disk.refuses = "calls.jsonl"
    key, reply = call(ROWS - 1, 1)
    with suppress(StorageError):
        run.journal.append(str(ROWS - 1), key, 1, reply, at=1.0, seconds=0.5)
    disk.refuses = ""
    run.close()
    disk.note("paid", b"%d 1" % (ROWS - 1))
    disk.note("durable")
    for gives_up in (True, False):
        run = open_run(disk)
        work(run, disk, rng, gives_up)
        run.close()
        disk.note("durable")
    return disk


def promised(disk: Remembering, end: int, killed: bool) -> tuple[set[str], set[tuple[int, int]]]:
    """The rows and the calls that must have survived: what was written, or, after a power cut, what was synced."""
    rows: set[str] = set()
    calls: set[tuple[int, int]] = set()
    last = end if killed else max((n for n, op in enumerate(disk.log[:end]) if op.kind == "durable"), default=0)
    for op in disk.log[:last]:
        if op.kind == "done":
            rows.add(op.data.decode())
        elif op.kind == "paid":
            row, nth = op.data.split()
            calls.add((int(row), int(nth)))
    return rows, calls


def recover(files: Files, rows: set[str], calls: set[tuple[int, int]]) -> Remembering:
    """Open what a crash has left, go on to the end, and see whether every promise was kept."""
    disk = Remembering(files)
    run = open_run(disk)
    for name in rows:
        assert run.ids.is_done(name), f"row {name} is lost"
    paid = work(run, disk, random.Random(0), gives_up=False)
    run.close()
    assert not calls & paid.keys(), f"paid again: {calls & paid.keys()}"
    assert max(paid.values(), default=1) == 1
    left = disk.files
    written = [msgspec.json.decode(line) for line in left[OUT].splitlines()]
    assert sorted(row["id"] for row in written) == sorted(map(str, range(ROWS)))
    assert all(row["text"] == call(row["n"], CALLS)[1].decode() for row in written)
    for path, content in left.items():
        if path.suffix == ".jsonl":
            assert not content or content.endswith(b"\n"), path
            for line in content.splitlines():
                msgspec.json.decode(line)
    assert left[OUT.with_name("out.jsonl.run") / "failures.jsonl"] == b""
    return disk


def states(disk: Remembering) -> Iterator[tuple[int, Crash]]:
    """(how many changes came before, what is left) for every crash, equal ones once."""
    seen: set[tuple[int, bool, int]] = set()
    for end in range(len(disk.log) + 1):
        durable = sum(op.kind == "durable" for op in disk.log[:end])
        for crash in crashes(disk, end):
            key = (hash(frozenset(crash.files.items())), crash.how == "killed", durable)
            if key not in seen:
                seen.add(key)
                yield end, crash


def survive(disk: Remembering, end: int, crash: Crash, again: random.Random | None = None) -> None:
    """Recover from one crash; and from a second one, in the middle of the recovery."""
    killed = crash.how == "killed"
    try:
        second = recover(crash.files, *promised(disk, end, killed))
        if again is not None:
            first = promised(disk, end, killed)
            end = again.randrange(len(second.log) + 1)
            crash = again.choice(list(crashes(second, end)))
            more = promised(second, end, crash.how == "killed")
            recover(crash.files, first[0] | more[0], first[1] | more[1])
    except BaseException as error:
        error.add_note(f"after {end} changes, {crash.how}")
        raise


def every_state(seed: int, share: float = 1.0) -> dict[str, Any]:
    """Recover from every state of one history, or from a share of them; count."""
    disk, rng, count = history(seed), random.Random(seed), 0
    for end, crash in states(disk):
        if rng.random() < share:
            survive(disk, end, crash, rng if rng.random() < 0.2 else None)
            count += 1
    return {"changes": sum(op.kind not in {"paid", "done", "durable", "killed"} for op in disk.log), "states": count}


@pytest.mark.parametrize("seed", range(2))
def test_every_state_that_a_crash_leaves_is_recovered_from(seed: int) -> None:
    opened.clear()
    figures = every_state(seed, share=0.05)
    assert min(opened["with a cache"], opened["without"]) > 50
    assert figures["changes"] > 150
    assert figures["states"] > 200


def one_of_each(run: RunFolder) -> None:
    """A line for every file of a run."""
    key, reply = call(0, 1)
    run.journal.append("0", key, 1, reply, at=1.0, seconds=0.5)
    run.write_row(Success(Row("0", {}), {"text": "done"}))
    run.write_rejected(Row("1", {}), RowRejected("too short"))
    run.failures.append(Failure(Row("2", {}), "call_error", "503", 4))
    run.timeline({"at": 1.0})


def test_what_was_written_before_a_sync_is_in_every_file_after_a_power_cut() -> None:
    disk = Remembering()
    run = open_run(disk)
    one_of_each(run)
    run.sync()
    names = ("calls", "failures", "rejected", "timeline")
    files = [OUT, *(OUT.with_name("out.jsonl.run") / f"{name}.jsonl" for name in names)]
    for crash in crashes(disk, len(disk.log)):
        for path in files:
            assert crash.files[path].count(b"\n") == 1, (path, crash.how)


def test_a_run_syncs_each_file_once_and_no_empty_one() -> None:
    disk = Remembering()
    run = RunFolder(OUT, Manifest("0", {"job": "test"}), session={"outcome": "not finished"}, disk=disk)
    assert [op.path.name for op in disk.log if op.kind == "sync"] == ["manifest.json.new"]
    assert b"not finished" in disk.files[OUT.with_name("out.jsonl.run") / "manifest.json"]
    opened = len(disk.log)
    run.journal.append("0", "k", 1, b"answer", at=1.0, seconds=0.5)
    run.write_row(Success(Row("0", {}), {"text": "done"}))
    run.close()
    assert [op.path.name for op in disk.log[opened:] if op.kind == "sync"] == [
        "calls.jsonl", "out.jsonl", "manifest.json.new"
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["sync", "close"])
def test_the_calls_are_synced_before_the_rows_that_were_made_of_them(how: str) -> None:
    disk = Remembering()
    run = open_run(disk)
    one_of_each(run)
    disk.log.clear()
    getattr(run, how)()
    synced = [op.path.name for op in disk.log if op.kind == "sync"]
    assert synced.index("calls.jsonl") < synced.index("out.jsonl")


def test_what_fresh_moves_aside_is_lost_by_no_crash() -> None:
    disk = Remembering()
    run = open_run(disk)
    one_of_each(run)
    run.close()
    before, paid = len(disk.log), disk.files
    kept = [paid[OUT], *(paid[OUT.with_name("out.jsonl.run") / f"{name}.jsonl"] for name in ("calls", "rejected"))]
    RunFolder(OUT, Manifest("0", {"job": "test"}), overwrite=True, disk=disk).close()
    for end in range(before, len(disk.log) + 1):
        for crash in crashes(disk, end):
            for content in kept:
                assert content in crash.files.values(), (end, crash.how)

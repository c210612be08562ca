"""Rows that become many, and rows that are not wanted: each ends in one place, whatever crashes."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from disks import Files, Recovered, Remembering, crashes
from manycall.errors import CorruptFile, RowRejected
from manycall.records import Row, Success
from manycall.store.done_rows import read_done_ids
from manycall.store.manifest import Manifest
from manycall.store.repair import repair
from manycall.store.row_parts import PartsLayout, looks_like_part
from manycall.store.run_folder import RunFolder
from shell import rows

OUT = Path("/folder/out.jsonl")
ROWS = 14


def open_run(disk: Remembering) -> RunFolder:
    return RunFolder(OUT, Manifest("0", {"job": "test"}), rows_may_split=True, disk=disk)


def becomes(row: int) -> int:
    """How many rows this row becomes; 0: it is not wanted."""
    return row % 4


def work(run: RunFolder, disk: Remembering, rng: random.Random) -> None:
    """Do the rows that are not done, committing now and then."""
    for number in range(ROWS):
        name = str(number)
        if run.ids.state(name):
            continue
        if becomes(number):
            run.write_row(Success(Row(name, {"n": number}), [{"k": k} for k in range(becomes(number))]))
        else:
            run.write_rejected(Row(name, {"n": number}), RowRejected("no", made=number))
        disk.note("done", name.encode())
        if rng.random() < 0.3:
            mark = run.mark()
            run.sync()
            run.synced(mark)
            disk.note("durable")


def kept(disk: Remembering, end: int, killed: bool) -> set[str]:
    """Rows that must have survived: what was written, or, after a power cut, what was synced."""
    last = end if killed else max((n for n, op in enumerate(disk.log[:end]) if op.kind == "durable"), default=0)
    return {op.data.decode() for op in disk.log[:last] if op.kind == "done"}


def recover(files: Files) -> set[str]:
    """Open what a crash has left, go on to the end, and return the rows that were there."""
    disk = Remembering(files)
    run = open_run(disk)
    found = {str(n) for n in range(ROWS) if run.ids.state(str(n))}
    work(run, disk, random.Random(0))
    run.close()
    written = [msgspec.json.decode(line) for line in disk.files[OUT].splitlines()]
    wanted = {f"{n}/{k}": (n, k, becomes(n)) for n in range(ROWS) for k in range(becomes(n))}
    assert {row["id"]: (row["n"], row["k"], row["parts"]) for row in written} == wanted
    assert len(written) == len(wanted) == run.output_rows
    rejects = disk.files[OUT.with_name("out.jsonl.run") / "rejected.jsonl"].splitlines()
    refused = {row["id"]: row["reason"] for row in map(msgspec.json.decode, rejects)}
    assert refused == {str(n): "no" for n in range(ROWS) if not becomes(n)}
    assert len(rejects) == len(refused) == run.rejected
    assert len(open_run(disk).ids) == ROWS
    return found


@pytest.mark.parametrize("seed", range(2))
def test_after_any_crash_each_row_ends_once_and_whole(seed: int) -> None:
    disk, rng = Remembering(), random.Random(seed)
    run = open_run(disk)
    work(run, disk, rng)
    run.close()
    disk.note("durable")
    torn, recovered = 0, Recovered(recover)
    for end in range(len(disk.log) + 1):
        for crash in crashes(disk, end):
            lines = [line for line in crash.files.get(OUT, b"").splitlines() if b'"parts"' in line]
            torn += crash.how != "killed" and len(lines) % 3 > 0
            try:
                lost = kept(disk, end, crash.how == "killed") - recovered(crash.files)
                assert not lost, f"rows {lost} are lost"
            except BaseException as error:
                error.add_note(f"after {end} changes, {crash.how}")
                raise
    assert torn > 20


def new_run(**how: Any) -> RunFolder:
    return RunFolder(Path("out.jsonl"), Manifest("0", {}), **how)


def test_parts_that_are_not_all_there_are_taken_out_and_done_again() -> None:
    run = new_run(rows_may_split=True)
    run.write_row(Success(Row("a", {}), [{"k": 0}, {"k": 1}]))
    run.write_row(Success(Row("b", {}), [{"k": 0}, {"k": 1}]))
    run.close()
    whole = Path("out.jsonl").read_bytes().splitlines(keepends=True)
    Path("out.jsonl").write_bytes(b"".join(whole[:1] + whole[2:]))
    run = new_run(rows_may_split=True)
    assert (bool(run.ids.state("a")), bool(run.ids.state("b")), run.output_rows) == (False, True, 2)
    run.write_row(Success(Row("a", {}), [{"k": 0}, {"k": 1}]))
    run.close()
    assert sorted(row["id"] for row in rows(Path("out.jsonl"))) == ["a/0", "a/1", "b/0", "b/1"]
    assert [row["id"] for row in rows(Path("out.jsonl.torn"))] == ["a/0"]


def test_a_row_whose_name_looks_like_a_part_cannot_be_taken_for_one() -> None:
    run = new_run(rows_may_split=True)
    run.write_row(Success(Row("7", {}), [{"k": 0}]))
    run.write_row(Success(Row("7/0", {}), {"k": 1}))
    run.write_row(Success(Row("x", {}), {"k": 2}))
    run.close()
    assert [row["id"] for row in rows(Path("out.jsonl"))] == ["7/0", "7/0/0", "x"]
    known = new_run(rows_may_split=True).ids
    assert len(known) == 3 == len(read_done_ids(Path("out.jsonl"), PartsLayout(), ()))
    assert all(known.state(name) for name in ("7", "7/0", "x"))
    assert [looks_like_part(name) for name in ("a", "a/1", "a/x", "1")] == [False, True, False, False]


def test_a_repeated_part_is_damage_and_is_repaired() -> None:
    run = new_run(rows_may_split=True)
    run.write_row(Success(Row("a", {}), [{"k": 0}, {"k": 1}]))
    run.close()
    text = Path("out.jsonl").read_bytes()
    Path("out.jsonl").write_bytes(text + text)
    with pytest.raises(CorruptFile, match="duplicate id"):
        new_run(rows_may_split=True)
    assert len(repair(Path("out.jsonl"))) == 2
    assert new_run(rows_may_split=True).ids.state("a")


@pytest.mark.parametrize(("may_split", "lines"), [(False, 1), (True, 3)])
def test_output_rows_counts_the_lines_of_all_sessions(may_split: bool, lines: int) -> None:
    result: Any = [{"k": k} for k in range(lines)] if may_split else {"k": 0}
    for session, name in enumerate("ab", 1):
        run = new_run(rows_may_split=may_split)
        assert run.output_rows == (session - 1) * lines
        run.write_row(Success(Row(name, {}), result))
        assert run.output_rows == session * lines == len(rows(Path("out.jsonl")))
        run.close()


def test_rejected_rows_are_done_and_are_next_to_the_output() -> None:
    run = new_run()
    run.write_rejected(Row("a", {"id": "a", "q": 1}), RowRejected("too short", text="x"))
    run.write_row(Success(Row("b", {"q": 2}), {"text": "y"}))
    run.close()
    assert rows(Path("out.jsonl.run/rejected.jsonl")) == [{"id": "a", "q": 1, "text": "x", "reason": "too short"}]
    run = new_run()
    assert (len(run.ids), run.rejected) == (2, 1)
    run.close()
    Path("out.jsonl.run/rejected.jsonl").write_text('{"id": "b"}\n')
    with pytest.raises(CorruptFile, match="duplicate id 'b'"):
        new_run()

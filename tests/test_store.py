import errno
import gc
import json
import multiprocessing
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disks import Refusing
from manycall.errors import CorruptFile, OutputLocked, SettingsMismatch, StorageError, UsageError
from manycall.records import Failure, Row, Success
from manycall.store.append_log import SYNC_AFTER_BYTES, SYNC_AFTER_LINES, AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.journal import Journal
from manycall.store.journal_line import request_hash
from manycall.store.jsonl import read_lines
from manycall.store.manifest import Manifest
from manycall.store.repair import repair
from manycall.store.run_folder import RunFolder

IDENTITY: dict[str, Any] = {"job": "generate", "model": "m", "prompt": "Tell\na story."}


def open_run(folder: Path, *, overwrite: bool = False, disk: Disk = REAL_DISK, **changed: Any) -> RunFolder:
    return RunFolder(folder / "out.jsonl", Manifest("0", {**IDENTITY, **changed}), overwrite=overwrite, disk=disk)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


# Lines


def test_lines_are_in_the_file_at_once_and_can_be_read_by_offset(tmp_path: Path) -> None:
    file = AppendLog(tmp_path / "f")
    for n in range(3):
        file.append(b'{"n":%d}\n' % n)
    assert list(read_lines(tmp_path / "f")) == [(8 * n, b'{"n":%d}\n' % n) for n in range(3)]
    long = b'"' + b"x" * 200_000 + b'"'
    file.append(long + b"\n")
    assert file.read_at(24) == long
    assert file.read_at(8) == b'{"n":1}'


@settings(max_examples=20)
@given(st.lists(st.dictionaries(st.text(max_size=2), st.text(max_size=4), max_size=2), min_size=1, max_size=3))
def test_a_file_cut_anywhere_loses_only_what_was_torn(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("torn") / "f"
    whole = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        file = AppendLog(path)
        file.append(b'{"new":1}\n')
        file.close()
        survivors = whole[:cut].count(b"\n")
        if cut < len(whole) and whole[cut : cut + 1] == b"\n":
            survivors += 1  # only the newline was missing
        assert lines(path) == [*rows[:survivors], {"new": 1}]


def test_what_was_torn_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"a":1}\n{"paid":"answ')
    AppendLog(tmp_path / "f").close()
    assert (tmp_path / "f").read_bytes() == b'{"a":1}\n'
    assert (tmp_path / "f.torn").read_bytes() == b'{"paid":"answ\n'


def test_a_disk_that_takes_little_at_a_time_gets_the_whole_line(tmp_path: Path) -> None:
    file = AppendLog(tmp_path / "f", Refusing(most=3))
    for n in range(20):
        file.append(b'{"n":%d}\n' % n)
    assert lines(tmp_path / "f") == [{"n": n} for n in range(20)]


@pytest.mark.parametrize("room", range(8))
def test_a_disk_that_refuses_is_said_and_leaves_no_half_line(tmp_path: Path, room: int) -> None:
    disk = Refusing()
    file = AppendLog(tmp_path / "f", disk)
    file.append(b'{"a":1}\n')
    disk.room = room
    with pytest.raises(
        StorageError, match=r"Cannot write .*: no space left on device\. Free some space and make the same call"
    ):
        file.append(b'{"b":2}\n')
    assert (tmp_path / "f").read_bytes() == b'{"a":1}\n'
    disk.room = None
    file.append(b'{"c":3}\n')
    assert lines(tmp_path / "f")[-1] == {"c": 3}


def test_after_half_a_line_that_cannot_be_taken_back_nothing_is_written(tmp_path: Path) -> None:
    disk = Refusing()
    file = AppendLog(tmp_path / "f", disk)
    disk.room, disk.truncate_error = 4, errno.EIO
    for _ in range(2):
        with pytest.raises(StorageError, match="no space left"):
            file.append(b'{"b":2}\n')
        disk.room = None
    assert (tmp_path / "f").read_bytes() == b'{"b"'
    AppendLog(tmp_path / "f").append(b'{"c":3}\n')
    assert lines(tmp_path / "f") == [{"c": 3}]


def test_a_sync_that_failed_once_is_never_believed_again(tmp_path: Path) -> None:
    disk = Refusing()
    file = AppendLog(tmp_path / "f", disk)
    file.append(b'{"a":1}\n')
    disk.sync_error = errno.EIO
    with pytest.raises(StorageError, match=r"input/output error\. Fix the disk"):
        file.sync()
    disk.sync_error = None
    for again in (file.sync, lambda: file.append(b'{"b":2}\n'), file.close):
        with pytest.raises(StorageError, match="input/output error"):
            again()


def test_a_whole_last_line_without_its_newline_survives_zeros_before_it(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"a":1}\n\0\0\n{"b":2}')
    AppendLog(tmp_path / "f").close()
    assert (tmp_path / "f").read_bytes() == b'{"a":1}\n{"b":2}\n'


@pytest.mark.parametrize("hole", range(0, 30, 3))
def test_zeros_that_a_power_cut_left_cost_only_their_own_line(tmp_path: Path, hole: int) -> None:
    whole = b'{"a":1}\n{"b":2}\n{"c":3}\n{"d":4}\n'
    (tmp_path / "f").write_bytes(whole[:hole] + b"\0\0" + whole[hole + 2 :])
    AppendLog(tmp_path / "f").close()
    harmed = {whole[:at].count(b"\n") for at in (hole, hole + 1)}
    if whole[hole + 1 : hole + 2] == b"\n" or whole[hole : hole + 1] == b"\n":
        harmed.add(min(harmed) + 1)  # a newline is gone, so two lines are one
    assert lines(tmp_path / "f") == [{"abcd"[n]: n + 1} for n in range(4) if n not in harmed]
    assert (tmp_path / "f.torn").exists()


def test_lines_that_an_editor_left_empty_do_no_harm(tmp_path: Path) -> None:
    paid(tmp_path)
    (tmp_path / "out.jsonl").write_bytes(b'\n{"id":"a"}\r\n\r\n{"id":"b"}\n\n')
    run = open_run(tmp_path)
    assert len(run.ids) == 2
    run.close()


def test_a_file_may_be_closed_twice(tmp_path: Path) -> None:
    file = AppendLog(tmp_path / "f")
    file.append(b'{"a":1}\n')
    for _ in range(2):
        file.close()
    assert lines(tmp_path / "f") == [{"a": 1}]


def test_replacing_a_file_leaves_nothing_else_behind(tmp_path: Path) -> None:
    replace_file(tmp_path / "f", [b"one"])
    replace_file(tmp_path / "f", [b"two"])
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"f": b"two"}


# Journal


def journal(path: Path, done: frozenset[str] = frozenset()) -> Journal:
    return Journal(path, done.__contains__)


def test_a_call_is_replayed_when_row_and_request_are_equal(tmp_path: Path) -> None:
    first = journal(tmp_path / "j")
    key = request_hash("chat", b'{"a":1}')
    first.append("r", key, 1, "你好\n".encode(), at=1.0, seconds=0.5)
    first.append("r", key, 2, b"\xff\x00", at=1.0, seconds=0.5)
    first.append("r", key, 4, bytes(2_000_000), at=1.0, seconds=0.5)
    assert first.file.end < 3_000_000  # not six characters for each zero
    first.file.close()
    again = journal(tmp_path / "j")
    assert again.replay("r", request_hash("chat", b'{"a":2}'), 1) is None
    assert again.replay("r", request_hash("completions", b'{"a":1}'), 1) is None
    assert again.replay("s", key, 1) is None
    assert again.replay("r", key, 3) is None
    assert again.replay("r", key, 1) == "你好\n".encode()
    assert again.replay("r", key, 2) == b"\xff\x00"
    assert again.replay("r", key, 4) == bytes(2_000_000)
    assert again.replay("r", key, 1) is None
    assert json.loads((tmp_path / "j").read_bytes().splitlines()[0])["body"] == "你好\n"


def test_the_last_of_several_replies_to_one_call_counts(tmp_path: Path) -> None:
    first = journal(tmp_path / "j")
    first.append("r", "k", 1, b"broken", at=1.0, seconds=0.5)
    first.append("r", "k", 1, b"good", at=2.0, seconds=0.5)
    first.file.close()
    assert journal(tmp_path / "j").replay("r", "k", 1) == b"good"


def test_calls_of_finished_rows_are_not_held_in_memory(tmp_path: Path) -> None:
    first = journal(tmp_path / "j")
    for n in range(10):
        first.append(str(n), "k", 1, b"x", at=1.0, seconds=0.5)
    first.file.close()
    assert repr(journal(tmp_path / "j", frozenset(map(str, range(8))))) == "<Journal j, 2 calls to replay>"


def test_damage_in_the_middle_is_said_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b'{"id":"a","nth":1,"key":"k"}\n{"id":oops}\n{"id":"b","nth":1,"key":"k"}\n')
    with pytest.raises(CorruptFile, match=r"j is corrupt at byte 29"):
        journal(tmp_path / "j")


@pytest.mark.parametrize("fault", ["write_error", "sync_error"])
def test_calls_that_the_file_would_not_take_are_in_the_next_run(tmp_path: Path, fault: str) -> None:
    disk = Refusing()
    first = Journal(tmp_path / "j", lambda _: False, disk=disk)
    first.append("safe", "k", 1, b"a", at=1.0, seconds=0.5)
    mark = first.file.sync_mark()
    first.file.sync()
    first.synced(mark)
    first.append("written", "k", 1, b"b", at=1.0, seconds=0.5)
    setattr(disk, fault, errno.EIO)
    if fault == "sync_error":
        with pytest.raises(StorageError):
            first.file.sync()
    with pytest.raises(StorageError):
        first.append("in flight", "k", 1, b"c", at=1.0, seconds=0.5)
    setattr(disk, fault, None)
    assert first.close() == 0
    assert len(lines(tmp_path / "rescued.jsonl")) == (2 if fault == "sync_error" else 1)
    for _ in range(2):
        again = journal(tmp_path / "j")
        assert not (tmp_path / "rescued.jsonl").exists()
        assert [again.replay(name, "k", 1) for name in ("safe", "written", "in flight")] == [b"a", b"b", b"c"]
        again.close()


def test_calls_taken_in_do_not_pass_for_others_that_are_not_synced_yet(tmp_path: Path) -> None:
    disk = Refusing()
    (tmp_path / "rescued.jsonl").write_bytes(b'{"id":"r","key":"k","nth":1}\n' * 3)
    file = Journal(tmp_path / "j", lambda _: False, disk=disk)
    file.append("safe", "k", 1, b"a", at=1.0, seconds=0.5)
    mark = file.file.sync_mark()
    file.file.sync()
    file.append("later", "k", 1, b"b", at=1.0, seconds=0.5)
    file.synced(mark)
    disk.sync_error = errno.EIO
    with pytest.raises(StorageError):
        file.file.sync()
    disk.sync_error = None
    file.close()
    assert [line["id"] for line in lines(tmp_path / "rescued.jsonl")] == ["later"]


def test_calls_that_can_be_written_nowhere_are_counted(tmp_path: Path) -> None:
    disk = Refusing()
    run = open_run(tmp_path, disk=disk)
    disk.write_error = errno.EIO
    for name in ("a", "b"):
        with pytest.raises(StorageError, match="input/output error"):
            run.journal.append(name, "k", 1, b"x", at=1.0, seconds=0.5)
    with pytest.raises(StorageError, match="2 completed calls could not be saved to any file and are lost"):
        run.close()


@pytest.mark.parametrize("body", ['"body64":"A"', '"body64":"*"', '"body":7'])
def test_a_call_whose_reply_cannot_be_read_is_damage_and_no_answer(tmp_path: Path, body: str) -> None:
    (tmp_path / "j").write_text(f'{{"id":"a","key":"k","nth":1,"body":"x"}}\n{{"id":"b","key":"k","nth":1,{body}}}\n')
    file = journal(tmp_path / "j")
    assert file.replay("a", "k", 1) == b"x"
    with pytest.raises(CorruptFile, match="j is corrupt at byte 40"):
        file.replay("b", "k", 1)


def test_a_manifest_that_cannot_be_written_is_reported_and_the_lock_is_released(tmp_path: Path) -> None:
    disk = Refusing()
    run = open_run(tmp_path, disk=disk)
    disk.write_error = errno.ENOSPC
    with pytest.raises(StorageError, match=r"no space left on device\. Free some space"):
        run.close()
    disk.write_error = None
    open_run(tmp_path).close()


def test_a_spare_file_that_cannot_be_removed_does_not_keep_the_other_files_open(tmp_path: Path) -> None:
    class Unremovable(Disk):
        def remove(self, path: Path) -> None:
            if path.name == "spare":
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            super().remove(path)

    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    run = open_run(tmp_path, disk=Unremovable())
    run.journal.append("a", "k", 1, b"x", at=1.0, seconds=0.5)
    with pytest.raises(StorageError, match="read-only file system"):
        run.close()
    assert run.journal.is_saved
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    open_run(tmp_path).close()  # its lock was released


def test_jq_reads_the_journal(tmp_path: Path) -> None:
    if not shutil.which("jq"):
        pytest.skip("there is no jq")
    run = open_run(tmp_path)
    run.journal.append("17", "k", 1, '{"text": "你好\\n"}'.encode(), at=1.0, seconds=0.5)
    run.close()
    query = 'select(.id=="17").body | fromjson | .text'
    found = subprocess.check_output(["jq", query, tmp_path / "out.jsonl.run" / "calls.jsonl"], text=True)
    assert found == '"你好\\n"\n'


def test_a_run_that_is_refused_leaves_no_file_open(tmp_path: Path) -> None:
    paid(tmp_path)
    (tmp_path / "out.jsonl.run" / "calls.jsonl").write_bytes(b"{oops}\n")
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(CorruptFile):
            open_run(tmp_path)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Run


def test_a_run_knows_what_is_done_and_what_failed(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    run.write_row(Success(Row("a", {"id": "a", "q": "問"}), {"text": "答"}))
    run.write_row(Success(Row("b", {"q": 1}), {"q": 2}))
    run.failures.append(Failure(Row("c", {"q": 3}), "call_error", "503", 4, "raw"))
    run.close()
    assert (tmp_path / "out.jsonl").read_text() == '{"id":"a","q":"問","text":"答"}\n{"id":"b","q":2}\n'
    again = open_run(tmp_path)
    assert (bool(again.ids.state("a")), bool(again.ids.state("c")), again.failures.failed_before) == (
        True,
        False,
        {"c"},
    )
    again.write_row(Success(Row("c", {"q": 3}), {"text": "now"}))
    again.close()
    assert (tmp_path / "out.jsonl.run" / "failures.jsonl").read_bytes() == b""
    third = open_run(tmp_path)
    assert len(third.ids) == 3
    third.close()


def test_an_id_of_the_rows_own_that_is_not_its_name_is_kept(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    run.write_row(Success(Row("a#1", {"id": "a"}), {"text": "x"}))
    run.write_row(Success(Row("7", {"id": 7}), {}))
    run.write_row(Success(Row("1.5", {"id": 1.5}), {}))
    run.write_row(Success(Row("None", {"key": "None"}), {}))
    run.close()
    assert lines(tmp_path / "out.jsonl") == [
        {"id": "a#1", "text": "x", "original_id": "a"},
        {"id": 7},
        {"id": "1.5", "original_id": 1.5},
        {"id": "None", "key": "None"},
    ]
    again = open_run(tmp_path)
    assert all(again.ids.state(name) for name in ("a#1", "7", "1.5", "None"))
    again.close()


def test_the_lock_is_let_go_when_a_run_is_refused(tmp_path: Path) -> None:
    paid(tmp_path)
    with pytest.raises(SettingsMismatch):
        open_run(tmp_path, model="n")
    open_run(tmp_path, model="n", overwrite=True).close()


def test_overwrite_finds_a_free_name_even_if_half_was_deleted(tmp_path: Path) -> None:
    for _ in range(3):
        (tmp_path / "out.jsonl").unlink(missing_ok=True)
        run = open_run(tmp_path, overwrite=True)
        run.journal.append("a", "k", 1, b"x", at=0.0, seconds=0.0)
        run.close()


def test_a_row_that_fails_twice_stands_once_among_the_failures(tmp_path: Path) -> None:
    for attempt in ("first", "second"):
        run = open_run(tmp_path)
        run.write_row(Success(Row(attempt, {}), {}))
        run.failures.append(Failure(Row("c", {}), "call_error", attempt))
        run.close()
    (failure,) = lines(tmp_path / "out.jsonl.run" / "failures.jsonl")
    assert failure["error"] == "second"


def test_a_failure_overtaken_by_a_crash_is_tidied_at_the_next_start(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    run.failures.append(Failure(Row("c", {}), "call_error", "503"))
    run.write_row(Success(Row("c", {}), {"text": "after all"}))
    run.sync()
    run._unlock()  # as a crash would
    again = open_run(tmp_path)
    assert again.failures.failed_before == set()
    again.close()
    assert lines(tmp_path / "out.jsonl.run" / "failures.jsonl") == []


def paid(folder: Path) -> None:
    run = open_run(folder)
    run.write_row(Success(Row("a", {}), {}))
    run.close()


def test_a_changed_run_is_refused_with_a_diff(tmp_path: Path) -> None:
    paid(tmp_path)
    with pytest.raises(SettingsMismatch) as caught:
        open_run(tmp_path, prompt="Tell\na tale.", model="n")
    assert str(caught.value).splitlines()[1:7] == [
        "  model",
        "    -m",
        "    +n",
        "  prompt",
        "     Tell",
        "    -a story.",
    ]
    assert "overwrite=True" in str(caught.value)


def test_a_changed_parameter_is_in_the_diff_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    run = open_run(tmp_path, params={"temperature": 0.5, "top_p": 1}, shots=3)
    run.write_row(Success(Row("a", {}), {}))
    run.close()
    with pytest.raises(SettingsMismatch) as caught:
        open_run(tmp_path, params={"temperature": 0.7, "top_p": 1}, samples=True)
    changed = [line.strip() for line in str(caught.value).splitlines() if line.lstrip().startswith(("+", "-"))]
    assert changed == ['-  "temperature": 0.5,', '+  "temperature": 0.7,', "+true", "-3"]


def test_a_run_that_never_got_an_answer_may_be_changed(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    open_run(tmp_path, model="spelt right").close()


def test_fresh_moves_what_is_there_aside_and_deletes_nothing(tmp_path: Path) -> None:
    for _ in range(3):
        run = open_run(tmp_path, overwrite=True)
        assert len(run.ids) == 0
        run.write_row(Success(Row("a", {}), {}))
        run.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [n for n in names if not n.endswith(".run")] == ["out.jsonl", "out.jsonl.old", "out.jsonl.old2"]
    assert (tmp_path / "out.jsonl.old.run" / "calls.jsonl").exists()


def test_a_file_that_is_not_ours_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(SettingsMismatch, match="not created by manycall"):
        open_run(tmp_path)
    assert (tmp_path / "out.jsonl").read_text() == '{"mine": 1}\n'


def _hold(folder: str, ready: Any, leave: Any) -> None:
    run = open_run(Path(folder))
    ready.set()
    leave.wait(20)
    run.close()


def test_a_second_writer_is_refused_with_the_id_of_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path), ready, leave))
    holder.start()
    try:
        assert ready.wait(20)
        with pytest.raises(OutputLocked, match=f"process {holder.pid}"):
            open_run(tmp_path)
    finally:
        leave.set()
        holder.join()
    open_run(tmp_path).close()


def test_a_twice_written_id_is_damage(tmp_path: Path) -> None:
    paid(tmp_path)
    (tmp_path / "out.jsonl").write_bytes((tmp_path / "out.jsonl").read_bytes() * 2)
    with pytest.raises(CorruptFile, match="duplicate id"):
        open_run(tmp_path)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    paid(tmp_path)
    for path in [tmp_path / "out.jsonl", *(tmp_path / "out.jsonl.run").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_an_output_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        RunFolder(tmp_path / "file" / "out.jsonl", Manifest("0", IDENTITY))


# Group commit


def test_a_row_is_durable_when_it_was_synced_and_not_before(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    run.write_row(Success(Row("a", {}), {}))
    mark = run.mark()
    run.write_row(Success(Row("b", {}), {}))
    assert run.rows_synced == 0
    run.sync()
    run.synced(mark)
    assert run.rows_synced == 1
    run.close()
    assert run.rows_synced == 2
    again = open_run(tmp_path)
    assert again.rows_synced == 2
    again.close()


@pytest.mark.parametrize(("size", "count"), [(10, SYNC_AFTER_LINES), (SYNC_AFTER_BYTES // 4, 4)])
def test_much_that_is_not_synced_asks_for_a_sync(tmp_path: Path, size: int, count: int) -> None:
    run = open_run(tmp_path)
    for round in (1, 2):
        for n in range(count - 1):
            run.journal.append(str(n), "k", round, b"x" * size, at=1.0, seconds=0.5)
        assert not run.sync_needed.is_set()
        run.journal.append("last", "k", round, b"x" * size, at=1.0, seconds=0.5)
        assert run.sync_needed.is_set()
        run.sync_needed.clear()
        run.mark()
    run.close()


# Repair


def test_repair_moves_damaged_lines_aside_and_the_run_goes_on(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    for name in "abc":
        run.journal.append(name, "k", 1, name.encode(), at=1.0, seconds=0.5)
        run.write_row(Success(Row(name, {}), {}))
    run.failures.append(Failure(Row("d", {}), "call_error", "503"))
    run.close()
    out, folder = tmp_path / "out.jsonl", tmp_path / "out.jsonl.run"
    out.write_bytes(b'{"id":"a"}\n{"id":"b" oops\n{"id":"a","twice":1}\n{"id":"c"}\n')
    for name in ("calls.jsonl", "failures.jsonl"):
        (folder / name).write_bytes(b"{oops}\n" + (folder / name).read_bytes())
        with pytest.raises(CorruptFile, match="repair"):
            open_run(tmp_path)
    said = repair(out)
    assert [line.partition(": ")[2] for line in said[:2]] == [
        "moved the line at byte 11 to out.jsonl.damaged: JSON is malformed: expected ',' or '}' (byte 10)",
        "moved the line at byte 26 to out.jsonl.damaged: duplicate id 'a'",
    ]
    assert len(said) == 4
    assert out.with_name("out.jsonl.damaged").read_bytes() == b'{"id":"b" oops\n{"id":"a","twice":1}\n'
    again = open_run(tmp_path)
    assert (len(again.ids), again.failures.failed_before) == (2, {"d"})
    assert again.journal.replay("b", "k", 1) == b"b"
    again.close()
    assert repair(out) == [f"{out}: no damaged lines found."]


def decide_again(folder: Path) -> RunFolder:
    """Open an output whose rows are all decided again."""
    out = folder / "out.jsonl"
    return RunFolder(out, Manifest("0", {**IDENTITY, "keep": "another"}), earlier=out)


@pytest.mark.parametrize("name", ["rows.jsonl", "rejected.jsonl", "failures.jsonl", "manifest.json"])
def test_repair_moves_damage_out_of_the_files_of_rows_that_are_decided_again(tmp_path: Path, name: str) -> None:
    paid(tmp_path)
    run = decide_again(tmp_path)
    run.write_row(Success(Row("b", {}), {}))
    run.close()
    out = tmp_path / "out.jsonl"
    staged = tmp_path / "out.jsonl.run" / f"staged-{name}"
    staged.write_bytes(b'{"id":"dam\n' + staged.read_bytes())
    with pytest.raises(CorruptFile, match=rf"staged-{name} is corrupt .* Run: manycall repair {out}$"):
        decide_again(tmp_path)
    (said,) = repair(out)
    assert f"staged-{name}" in said
    decide_again(tmp_path).close()


def test_damage_in_rows_that_are_kept_in_the_run_folder_is_repaired_by_the_command_in_the_message(
    tmp_path: Path,
) -> None:
    out = tmp_path / "vectors.npy"

    def opened() -> RunFolder:
        return RunFolder(out, Manifest("0", {"job": "embed"}), keeps_rows_apart=True)

    run = opened()
    run.write_row(Success(Row("a", {}), {}))
    run.close()
    rows = tmp_path / "vectors.npy.run" / "rows.jsonl"
    rows.write_bytes(b'{"id":"dam\n' + rows.read_bytes())
    with pytest.raises(CorruptFile, match=rf"rows\.jsonl is corrupt .* Run: manycall repair {out}$"):
        opened()
    repair(out)
    again = opened()
    assert len(again.ids) == 1
    again.close()


def test_repair_of_the_manifest_takes_the_next_command_at_its_word(tmp_path: Path) -> None:
    paid(tmp_path)
    manifest = tmp_path / "out.jsonl.run" / "manifest.json"
    manifest.write_text("{")
    with pytest.raises(CorruptFile, match=r"manycall repair .*out\.jsonl"):
        open_run(tmp_path)
    assert "will not compare its settings" in repair(tmp_path / "out.jsonl")[0]
    run = open_run(tmp_path, model="another")
    assert len(run.ids) == 1
    run.close()
    with pytest.raises(SettingsMismatch):
        open_run(tmp_path)


def test_repair_refuses_a_run_that_is_being_written(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("{oops}\n")
    with pytest.raises(UsageError, match="not created by manycall"):
        repair(tmp_path / "mine.jsonl")
    run = open_run(tmp_path)
    with pytest.raises(OutputLocked):
        repair(tmp_path / "out.jsonl")
    run.close()

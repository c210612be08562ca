"""Segments: what workers write, how it becomes part of the run, and that nothing is lost or doubled on the way."""

import asyncio
import errno
import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disks import Remembering
from manycall.errors import CorruptFile, Interrupted, RowRejected, SegmentInUse, StorageError
from manycall.records import Failure, Row, Success
from manycall.run.ending_workers import when_workers_ended
from manycall.run.run_status import run_status
from manycall.run.session_handle import SessionHandle
from manycall.sim import virtual_time
from manycall.sim.virtual_time import run_virtual
from manycall.store import segment_fold
from manycall.store.batch_layout import OutputLayout
from manycall.store.cache_writer import SessionProgress
from manycall.store.journal_line import SentCall, request_hash
from manycall.store.manifest import Manifest
from manycall.store.output_reader import OutputReader
from manycall.store.repair import repair
from manycall.store.row_layout import RowLayout
from manycall.store.row_replays import RowReplays
from manycall.store.run_folder import RunFolder
from manycall.store.segment_folder import segment_numbers, take_number
from manycall.store.segment_mirror import FilePiece, SegmentFeed, SegmentMirror
from manycall.store.segments import Segment
from manycall.store.stored_calls import StoredCalls
from test_crashes import without_cache

OUT = Path("/folder/out.jsonl")
FOLDER = OUT.with_name("out.jsonl.run")


def open_run(disk: Remembering, **options: Any) -> RunFolder:
    return RunFolder(OUT, Manifest("0", options.pop("settings", {"job": "test"})), disk=disk, **options)


def open_segment(run: RunFolder, disk: Remembering, layout: RowLayout | None = None) -> Segment:
    return Segment(run.folder, run.segments.begin_segment(), layout=layout, disk=disk)


def answer(segment: Segment, row_id: str, text: str = "yes") -> None:
    """Make one call for a row, and finish it."""
    call(segment, row_id)
    segment.write_row(Success(Row(row_id, {}), {"text": text}))


def call(segment: Segment, row_id: str) -> None:
    segment.journal.append(row_id, request_hash("chat", row_id.encode()), 1, b"{}", at=1.0, seconds=0.5)


def lines(disk: Remembering, path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in disk.files[path].splitlines()]


def ids(disk: Remembering, name: str = "") -> list[str]:
    """The ids of the lines of a file in the run folder, or of the output, sorted."""
    return sorted(line["id"] for line in lines(disk, FOLDER / name if name else OUT))


def test_a_number_is_used_once_even_after_its_segment_is_gone() -> None:
    disk = Remembering()
    run = open_run(disk)
    assert [take_number(run.folder, disk), take_number(run.folder, disk)] == [1, 2]
    open_segment(run, disk).close()
    run.close()
    assert segment_numbers(FOLDER, disk) == []
    assert open_run(disk).segments.begin_segment() == 4


def test_rows_are_merged_as_they_grow_and_the_journal_at_the_end() -> None:
    disk = Remembering()
    run = open_run(disk)
    one, two = open_segment(run, disk), open_segment(run, disk)
    answer(one, "a")
    assert run.segments.merge(1).done == ["a"]
    assert run.segments.merge(1).done == []
    answer(two, "b")
    two.write_rejected(Row("c", {}), RowRejected("no"))
    two.write_failed(Failure(Row("d", {}), "call_error", "503", 4))
    merged = run.segments.merge(2)
    assert (merged.done, merged.rejected, merged.failed) == (["b"], ["c"], [("d", "call_error")])
    assert ids(disk, "calls.jsonl") == []
    one.close()
    two.close()
    run.close()
    assert (ids(disk), ids(disk, "rejected.jsonl"), ids(disk, "failures.jsonl")) == (["a", "b"], ["c"], ["d"])
    assert ids(disk, "calls.jsonl") == ["a", "b"]
    assert not any("segments/0" in str(path) for path in disk.files)
    assert (run.done_before, run.rows_synced, run.rejected) == (0, 2, 1)


def test_a_row_that_two_workers_have_done_is_in_the_output_once_and_both_calls_in_the_journal() -> None:
    disk = Remembering()
    run = open_run(disk)
    one, two = open_segment(run, disk), open_segment(run, disk)
    answer(one, "a", "first")
    answer(two, "a", "second")
    answer(two, "a", "third")
    run.segments.merge(2)
    run.segments.merge(1)
    run.close()
    assert ids(disk) == ["a"]
    assert ids(disk, "calls.jsonl") == ["a", "a", "a"]


def test_a_row_that_two_workers_have_failed_is_one_failure() -> None:
    disk = Remembering()
    run = open_run(disk)
    for _ in range(2):
        open_segment(run, disk).write_failed(Failure(Row("a", {}), "call_error", "503", 4))
    assert [run.segments.merge(number).failed for number in (1, 2)] == [[("a", "call_error")], []]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_row_that_one_worker_has_failed_and_another_has_done_is_done(order: tuple[int, int]) -> None:
    disk = Remembering()
    run = open_run(disk)
    one, two = open_segment(run, disk), open_segment(run, disk)
    one.write_failed(Failure(Row("a", {}), "call_error", "503", 4))
    answer(two, "a")
    merged = [run.segments.merge(number) for number in order]
    assert [each.recovered for each in merged if each.done] == [["a"] if order == (1, 2) else []]
    run.close()
    assert (ids(disk), ids(disk, "failures.jsonl")) == (["a"], [])


def test_the_next_session_adopts_what_a_killed_run_has_left() -> None:
    disk = Remembering()
    run = open_run(disk)
    segment = open_segment(run, disk)
    answer(segment, "a")
    run.segments.merge(1)
    answer(segment, "b")
    call(segment, "c")
    segment.write_failed(Failure(Row("d", {}), "call_error", "503", 4))
    run = open_run(disk)  # all processes were killed
    assert (run.done_before, run.rows_synced, run.failures.failed_before) == (2, 2, {"d"})
    assert ids(disk, "calls.jsonl") == ["a", "b", "c"]
    assert run.journal.replay("c", request_hash("chat", b"c"), 1) == b"{}"
    assert segment_numbers(FOLDER, disk) == []
    run.write_row(Success(Row("d", {}), {}))
    run.close()
    assert (ids(disk), ids(disk, "failures.jsonl"), run.rows_synced) == (["a", "b", "d"], [], 3)


def test_rows_that_failed_in_a_killed_run_end_in_the_next_session_as_if_for_the_first_time() -> None:
    disk = Remembering()
    killed = open_segment(open_run(disk), disk)
    for row_id in ("a", "b"):
        killed.write_failed(Failure(Row(row_id, {}), "call_error", "503", 4))
    run = open_run(disk)  # all processes were killed
    segment = open_segment(run, disk)
    answer(segment, "a")
    segment.write_failed(Failure(Row("b", {}), "call_error", "again", 1))
    merged = run.segments.merge(segment.number)
    assert (merged.done, merged.recovered, merged.failed) == (["a"], [], [("b", "call_error")])
    segment.close()
    run.close()
    assert (ids(disk), [line["error"] for line in lines(disk, FOLDER / "failures.jsonl")]) == (["a"], ["again"])


def test_rows_of_several_lines_are_merged_when_they_are_complete() -> None:
    disk = Remembering()
    run = open_run(disk, rows_may_split=True)
    segment = open_segment(run, disk, run._layout)
    segment.write_row(Success(Row("a", {}), [{"n": 1}, {"n": 2}]))
    path = segment.folder / "rows.jsonl"
    whole = disk.files[path]
    torn = disk.open(path)
    disk.truncate(torn, len(whole) - 5)
    assert run.segments.merge(1).done == []
    disk.truncate(torn, 0)
    disk.write(torn, whole)
    assert run.segments.merge(1).done == ["a"]
    assert disk.files[OUT] == whole
    assert run.output_rows == 2


def test_a_worker_replays_the_calls_that_came_with_a_row_and_forgets_them_with_it() -> None:
    disk = Remembering()
    segment = open_segment(open_run(disk), disk)
    segment.add_replays("a", [SentCall("key", 1, b"first"), SentCall("key", 2, b"second")])
    assert segment.journal.has_replays
    assert segment.journal.replay("a", "key", 2) == b"second"
    assert segment.journal.replay("a", "key", 2) is None
    assert segment.journal.replay("b", "key", 1) is None
    segment.write_row(Success(Row("a", {}), {}))
    assert not segment.journal.has_replays
    segment.add_replays("b", [SentCall("key", 1, b"")])
    segment.write_failed(Failure(Row("b", {}), "call_error", "503", 4))
    assert not segment.journal.has_replays


def test_rows_decided_by_a_session_with_other_settings_are_not_merged() -> None:
    disk = Remembering()
    open_run(disk).close()
    run = open_run(disk, settings={"job": "other"}, earlier=OUT)
    answer(open_segment(run, disk), "a")
    run = open_run(disk)  # the session that decides the rows again was killed
    assert run.done_before == 0
    assert ids(disk, "calls.jsonl") == ["a"]
    run = open_run(disk, settings={"job": "other"}, earlier=OUT)
    answer(open_segment(run, disk), "b")
    assert open_run(disk, settings={"job": "other"}, earlier=OUT).done_before == 1


def test_the_driver_finds_the_journaled_calls_of_a_row_that_it_sends_again() -> None:
    disk = Remembering()
    run = open_run(disk)
    for n in range(3):
        key = request_hash("chat", b"%d" % (n % 2))
        run.journal.append("a", key, 1, b"answer %d" % n, at=1.0, seconds=0.5)  # the third is the first again
    run.journal.append("b", request_hash("chat", b""), 1, b"other", at=1.0, seconds=0.5)
    run.close()
    run = open_run(disk)
    replays = RowReplays(run.journal, run.ids.is_done, OUT, disk)
    assert [each.body for each in replays.find("a")] == [b"answer 2", b"answer 1"]
    segment = open_segment(run, disk)
    call(segment, "a")
    answer(segment, "c")
    segment.close()
    run.segments.absorb(1)  # its worker was killed
    assert replays.update() == {"a"}
    assert [each.body for each in replays.find("a")] == [b"answer 2", b"answer 1", b"{}"]
    assert [each.body for each in replays.find("b")] == [b"other"]
    assert replays.find("c") == replays.find("d") == []


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_a_mirror_becomes_equal_to_its_segment_although_pieces_are_late_or_repeated_or_come_too_early(
    rng: random.Random,
) -> None:
    here, there = Remembering(), Remembering()
    run = open_run(here)
    number = run.segments.begin_segment()
    segment = Segment(Path("/elsewhere"), number, disk=there)
    feed, mirror = SegmentFeed(segment.folder, there), SegmentMirror(run.folder, number, here)
    sent, written = [FilePiece("../manifest.json", 0, b"!")], 1
    for n in range(15):
        answer(segment, str(n), "x" * rng.randrange(50))
        sent += feed.next_pieces(rng.randrange(1, 200))
        mirror.write(rng.choice(sent))
        while written < len(sent) and rng.random() < 0.7:
            mirror.write(sent[written])
            written += 1
        run.segments.merge(number)
    while pieces := feed.next_pieces():
        sent += pieces
    for piece in sent[written:]:
        mirror.write(piece)
    for name in ("calls.jsonl", "rows.jsonl"):
        assert here.files[FOLDER / "segments" / "000001" / name] == there.files[segment.folder / name]
    mirror.close()
    run.close()
    assert len(ids(here)) == len(ids(here, "calls.jsonl")) == 15


def opening(out: Path) -> Callable[[], RunFolder]:
    return lambda: RunFolder(out, Manifest("0", {"job": "test"}))


def test_a_session_waits_for_the_workers_of_a_killed_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    run = RunFolder(out, Manifest("0", {"job": "test"}))
    segment = Segment(run.folder, run.segments.begin_segment())
    run.segments.close()
    run._unlock()  # the driver was killed

    async def resume() -> RunFolder:
        asyncio.get_running_loop().call_later(20, segment.close)
        return await when_workers_ended(opening(out), SessionHandle().raise_if_stopped)

    answer(segment, "a")
    resumed = run_virtual(resume())
    assert resumed.done_before == 1
    resumed.close()
    shown = capsys.readouterr().err
    assert shown.startswith("Waiting for at most 60 s: ")
    assert f"process {os.getpid()} on " in shown
    assert shown.count("\n") == 1


def test_a_stop_ends_the_wait_for_the_workers_of_a_killed_run(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run = opening(out)()
    segment = Segment(run.folder, run.segments.begin_segment())
    run.close()
    handle = SessionHandle()

    async def resume() -> float:
        asyncio.get_running_loop().call_later(5.0, handle.stop, Interrupted("stop"))
        with pytest.raises(Interrupted):
            await when_workers_ended(opening(out), handle.raise_if_stopped)
        return virtual_time.now()

    assert run_virtual(resume()) <= 5.5
    segment.close()


def test_a_worker_that_does_not_end_keeps_the_output_locked(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run = RunFolder(out, Manifest("0", {"job": "test"}))
    segment = Segment(run.folder, run.segments.begin_segment())
    run.close()  # the segment stays, because its worker may still write
    with pytest.raises(SegmentInUse, match=r"a worker of a killed run .* has calls in flight"):
        run_virtual(when_workers_ended(opening(out), SessionHandle().raise_if_stopped))
    with pytest.raises(SegmentInUse):
        repair(out)
    segment.close()
    RunFolder(out, Manifest("0", {"job": "test"})).close()
    assert segment_numbers(run.folder) == []


def killed_run(folder: Path, row_ids: Sequence[str]) -> Path:
    """Return the output of a killed run, whose worker has finished rows that are not merged."""
    out = folder / "out.jsonl"
    run = RunFolder(out, Manifest("0", {"job": "test"}))
    segment = Segment(run.folder, run.segments.begin_segment())
    for row_id in row_ids:
        answer(segment, row_id)
    segment.close()
    run.segments.close()
    run._unlock()
    return out


def test_damaged_lines_of_segments_are_moved_aside_and_kept(tmp_path: Path) -> None:
    out = killed_run(tmp_path, ["a", "b"])
    segment = out.with_name("out.jsonl.run") / "segments" / "000001"
    for name in ("calls", "rows"):
        first, *rest = (segment / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
        (segment / f"{name}.jsonl").write_bytes(b"".join([b"damaged " + first, *rest]))
    with pytest.raises(CorruptFile, match="manycall repair"):
        RunFolder(out, Manifest("0", {"job": "test"}))
    assert sorted(line.split(":")[0].rpartition("/")[2] for line in repair(out)) == ["calls.jsonl", "rows.jsonl"]
    run = RunFolder(out, Manifest("0", {"job": "test"}))
    assert run.done_before == 1
    run.close()
    assert (segment / "rows.jsonl.damaged").read_bytes().startswith(b"damaged")
    assert repair(out) == [f"{out}: no damaged lines found."]


def test_the_calls_of_a_killed_run_are_read_by_status_from_and_readers(tmp_path: Path) -> None:
    out = killed_run(tmp_path, ["a", "b"])
    assert "The last rows and calls of 1 workers are in segments." in str(run_status(out))
    assert len([*OutputReader(out).calls()]) == 2
    with StoredCalls(out) as stored:
        assert stored.replay("b", request_hash("chat", b"b"), 1) == b"{}"
    other = RunFolder(tmp_path / "other.jsonl", Manifest("0", {"job": "other"}), earlier=out)
    assert len([*other.journal.calls()]) == 2
    other.close()


def test_the_calls_of_a_fold_that_was_killed_are_read_once(tmp_path: Path) -> None:
    out = killed_run(tmp_path, ["a", "b", "c"])
    folder = out.with_name("out.jsonl.run")
    first = (folder / "segments" / "000001" / "calls.jsonl").read_bytes().splitlines(keepends=True)[0]
    (folder / "calls.jsonl").write_bytes(first)
    (folder / "segments" / "folding.json").write_text('{"segment":1,"size":0}\n')
    assert len([*OutputReader(out).calls()]) == 3
    RunFolder(out, Manifest("0", {"job": "test"})).close()
    assert (folder / "calls.jsonl").read_bytes().count(b"\n") == 3


def test_start_over_moves_segments_aside_with_the_run(tmp_path: Path) -> None:
    out = killed_run(tmp_path, ["a"])
    RunFolder(out, Manifest("0", {"job": "new"}), overwrite=True).close()
    old = RunFolder(tmp_path / "out.jsonl.old", Manifest("0", {"job": "test"}))
    assert old.done_before == 1
    old.close()


def test_the_resume_cache_knows_what_was_merged_and_folded() -> None:
    disk = Remembering()
    for session in range(2):
        run = open_run(disk)
        run.cache_with(SessionProgress, min_rows=0)
        segment = open_segment(run, disk)
        answer(segment, f"done {session}")
        call(segment, f"begun {session}")
        segment.close()
        if session:
            continue  # killed
        run.close()
    plain, run = open_run(Remembering(without_cache(disk.files))), open_run(disk)
    assert run.cached is not None
    assert (run.done_before, run.journal._offsets) == (plain.done_before, plain.journal._offsets)
    for row_id in ("begun 0", "begun 1"):
        assert run.journal.replay(row_id, request_hash("chat", row_id.encode()), 1) == b"{}"


@pytest.mark.parametrize(
    "options",
    [
        {"keeps_rows_apart": True},
        {"layout": OutputLayout(failed=lambda line: {"id": line["id"]}, is_failed=lambda line: b'"b"' in line)},
    ],
)
def test_rows_are_merged_into_outputs_of_other_formats(options: dict[str, Any]) -> None:
    disk = Remembering()
    run = open_run(disk, **options)
    segment = open_segment(run, disk, run._layout)
    answer(segment, "a")
    segment.write_failed(Failure(Row("b", {}), "call_error", "503", 4))
    segment.close()
    run.segments.merge(1)
    run.mark_ended()
    run.close()
    if "layout" in options:
        assert ids(disk) == ["a", "b"]
    else:
        assert ids(disk, "rows.jsonl") == ["a"]
    assert open_run(disk, **options).done_before == 1


def test_rows_that_are_asked_for_again_replace_the_old_ones() -> None:
    disk, suffix = Remembering(), b'"finish":"length"}\n'
    first, larger = ({"job": "test", "params": {"max_tokens": limit}} for limit in (10, 20))
    run = open_run(disk, truncation_marks=(suffix,), settings=first)
    for row_id in ("a", "b"):
        run.write_row(Success(Row(row_id, {}), {"finish": "length"}))
    run.close()
    run = open_run(disk, truncation_marks=(suffix,), settings=larger, retries_truncated=True)
    segment = open_segment(run, disk)
    segment.write_row(Success(Row("a", {}), {"finish": "stop"}))
    assert run.segments.merge(1).done == ["a"]
    segment.close()
    run.close()
    assert {line["id"]: line["finish"] for line in lines(disk, OUT)} == {"a": "stop", "b": "length"}


class FullDisk(Remembering):
    """A disk on which calls.jsonl takes some writes, and then no more until it has room again."""

    writes_left: int | None = None

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.writes_left is not None and self._open[fd] == self._names.get(FOLDER / "calls.jsonl"):
            if not self.writes_left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.writes_left -= 1
        return super().write(fd, data)


def run_with_two_segments(disk: FullDisk) -> RunFolder:
    """A run whose first two workers have each answered three calls and ended."""
    run = open_run(disk)
    for number in (1, 2):
        segment = open_segment(run, disk)
        for n in range(3):
            answer(segment, f"{number}-{n}")
        segment.close()
    return run


def test_a_full_disk_while_journals_are_folded_leaves_each_call_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_fold, "MAX_BATCH_BYTES", 1)
    disk = FullDisk()
    run = run_with_two_segments(disk)
    disk.writes_left = 2
    with pytest.raises(StorageError, match="no space left"):
        run.segments.absorb(1)  # its worker was killed
    disk.writes_left = 3
    run.segments.absorb(2)
    disk.writes_left = None
    run.close()
    assert ids(disk) == ids(disk, "calls.jsonl") == [f"{number}-{n}" for number in (1, 2) for n in range(3)]


def test_a_fold_that_cannot_be_undone_is_undone_by_the_next_session(monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenDisk(FullDisk):
        def truncate(self, fd: int, size: int) -> None:
            if self.writes_left == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().truncate(fd, size)

    monkeypatch.setattr(segment_fold, "MAX_BATCH_BYTES", 1)
    disk = BrokenDisk()
    run = run_with_two_segments(disk)
    disk.writes_left = 2
    for number in (1, 2):
        with pytest.raises(StorageError):
            segment_fold.fold_journals(run.folder, [number], run.journal.file, disk)
    disk.writes_left = None
    open_run(disk)
    assert ids(disk) == ids(disk, "calls.jsonl") == [f"{number}-{n}" for number in (1, 2) for n in range(3)]

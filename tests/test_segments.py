"""Segments: what workers write, how it becomes part of the run, and that nothing is lost or doubled on the way."""

import json
from pathlib import Path
from typing import Any

import pytest

from disks import Remembering
from manycall.errors import RowRejected
from manycall.records import Failure, Row, Success
from manycall.store.journal import request_hash
from manycall.store.manifest import Manifest
from manycall.store.row_layout import RowLayout
from manycall.store.run_folder import RunFolder
from manycall.store.segment_folder import segment_numbers, take_number
from manycall.store.segments import Segment, SentCall

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
    assert run.segments.doubled == 2
    run.close()
    assert ids(disk) == ["a"]
    assert ids(disk, "calls.jsonl") == ["a", "a", "a"]


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

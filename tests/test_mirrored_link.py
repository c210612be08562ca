"""Segments of workers that do not see the run folder: the driver gets the same files, calls before rows."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from manycall.cluster.mirrored_link import MirroringLink, SendingLink, mark_of, segment_place
from manycall.records import Row, Success
from manycall.store.journal_line import request_hash
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.store.segment_folder import segment_path
from manycall.store.segment_mirror import SENT_FILES, SegmentFeed
from manycall.store.segments import Segment


class Pipe:
    """A link whose messages are kept."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def close(self) -> None:
        self.is_closed = True

    async def receive(self) -> bytes | None:
        return self.sent.pop(0) if self.sent else None


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    written = Segment(tmp_path / "far", 7)
    yield written
    written.close()


def finish(segment: Segment, row_id: str) -> None:
    segment.journal.append(row_id, request_hash("chat", row_id.encode()), 1, b"{}", at=1.0, seconds=0.5)
    segment.write_row(Success(Row(row_id, {}), {"text": "yes"}))


def contents(run_folder: Path) -> dict[str, bytes]:
    paths = {name: segment_path(run_folder, 7) / name for name in SENT_FILES}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def test_the_driver_has_what_was_written_before_a_message_when_it_reads_the_message(
    segment: Segment, tmp_path: Path
) -> None:
    far, near, pipe = tmp_path / "far", tmp_path / "near", Pipe()
    near.mkdir()
    worker, driver = SendingLink(pipe, SegmentFeed(segment_path(far, 7))), MirroringLink(pipe, near, 7)
    for row_id in ("a", "b"):
        finish(segment, row_id)
        worker.send(b"\x80 report")
        assert asyncio.run(driver.receive()) == b"\x80 report"
        assert {name: text for name, text in contents(near).items() if text} == {
            name: text for name, text in contents(far).items() if text
        }
    driver.close()
    assert pipe.is_closed


def test_a_worker_writes_into_the_run_folder_only_if_it_is_the_drivers(tmp_path: Path) -> None:
    near, far, pipe = tmp_path / "near", tmp_path / "far", Pipe()
    for run_folder in (near, far):  # `far` has the same name on another machine
        segment_path(run_folder, 7).mkdir(parents=True)
    mark = mark_of(near, 7)
    with segment_place(pipe, near, 7, mark) as (folder, link):
        assert (folder, link) == (near, pipe)
    for run_folder, seen in ((far, mark), (tmp_path / "none", mark), (near, None)):
        with segment_place(pipe, run_folder, 7, seen) as (folder, link):
            assert folder != run_folder
            assert isinstance(link, SendingLink)
        assert not folder.exists()


def test_a_worker_that_starts_late_recognises_the_run_folder_although_the_session_has_written_into_it(
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {"job": "test"}))
    number, pipe = run.segments.begin_segment(), Pipe()
    mark = mark_of(run.folder, number)
    run.segments.begin_segment()
    run.save_manifest()  # an endpoint has taught something about a parameter
    with segment_place(pipe, run.folder, number, mark) as (folder, link):
        assert (folder, link) == (run.folder, pipe)
    run.close()


def test_a_worker_on_the_drivers_machine_writes_into_the_run_folder_even_without_a_mark(tmp_path: Path) -> None:
    pipe = Pipe()
    with segment_place(pipe, tmp_path, 7, None, is_local=True) as (folder, link):
        assert (folder, link) == (tmp_path, pipe)

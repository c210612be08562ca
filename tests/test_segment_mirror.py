"""Segments of workers that do not see the run folder: the driver gets the same files, calls before rows."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from manycall.cluster.mirrored_link import MirroringLink, SendingLink, mark_of, segment_place
from manycall.errors import CorruptFile
from manycall.records import Row, Success
from manycall.store.journal import request_hash
from manycall.store.segment_folder import MIRRORED_FILES, segment_path
from manycall.store.segment_mirror import SegmentGrowth, SegmentMirror, SegmentPiece
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
    paths = {name: segment_path(run_folder, 7) / name for name in MIRRORED_FILES}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def test_the_driver_has_what_was_written_before_a_message_when_it_reads_the_message(
    segment: Segment, tmp_path: Path
) -> None:
    far, near, pipe = tmp_path / "far", tmp_path / "near", Pipe()
    near.joinpath("segments").mkdir(parents=True)
    worker, driver = SendingLink(pipe, SegmentGrowth(far, 7)), MirroringLink(pipe, near, 7)
    for row_id in ("a", "b"):
        finish(segment, row_id)
        worker.send(b"\x80 report")
        assert asyncio.run(driver.receive()) == b"\x80 report"
        assert {name: text for name, text in contents(near).items() if text} == {
            name: text for name, text in contents(far).items() if text
        }
    driver.close()
    assert pipe.is_closed


def test_a_row_that_is_written_while_pieces_are_read_does_not_come_before_its_call(
    segment: Segment, tmp_path: Path
) -> None:
    growth = SegmentGrowth(tmp_path / "far", 7)
    finish(segment, "a")
    pieces = growth.pieces()
    first = next(pieces)
    finish(segment, "b")
    received = [first, *pieces]
    assert [(piece.file, json.loads(piece.content)["id"]) for piece in received] == [
        ("calls.jsonl", "a"),
        ("rows.jsonl", "a"),
    ]
    assert [piece.file for piece in growth.pieces()] == ["calls.jsonl", "rows.jsonl"]
    assert [*growth.pieces()] == []


def test_half_a_line_is_not_sent(segment: Segment, tmp_path: Path) -> None:
    growth = SegmentGrowth(tmp_path / "far", 7)
    path = segment_path(tmp_path / "far", 7) / "failures.jsonl"
    path.write_bytes(b'{"id": "a"}\n{"id":')
    assert [*growth.pieces()] == [SegmentPiece("failures.jsonl", 0, b'{"id": "a"}\n')]
    path.write_bytes(b'{"id": "a"}\n{"id": "b"}\n')
    assert [*growth.pieces()] == [SegmentPiece("failures.jsonl", 12, b'{"id": "b"}\n')]
    path.unlink()


def test_a_mirror_takes_each_byte_once_and_in_order(tmp_path: Path) -> None:
    tmp_path.joinpath("segments").mkdir()
    mirror = SegmentMirror(tmp_path, 7)
    for offset, content in ((0, b"ab\n"), (0, b"ab\n"), (9, b"late\n"), (0, b"ab\ncd\n"), (6, b"ef\n")):
        mirror.write(SegmentPiece("rows.jsonl", offset, content))
    mirror.close()
    assert contents(tmp_path)["rows.jsonl"] == b"ab\ncd\nef\n"
    again = SegmentMirror(tmp_path, 7)
    again.write(SegmentPiece("rows.jsonl", 6, b"ef\ngh\n"))
    again.close()
    assert contents(tmp_path)["rows.jsonl"] == b"ab\ncd\nef\ngh\n"


def test_a_worker_cannot_write_to_another_file(tmp_path: Path) -> None:
    tmp_path.joinpath("segments").mkdir()
    mirror = SegmentMirror(tmp_path, 7)
    with pytest.raises(CorruptFile, match="is not a file of a segment"):
        mirror.write(SegmentPiece("../../manifest.json", 0, b"{}"))
    mirror.close()


def test_a_worker_writes_into_the_run_folder_only_if_it_is_the_drivers(tmp_path: Path) -> None:
    (manifest := tmp_path / "manifest.json").write_text("{}")
    mark, pipe = mark_of(tmp_path), Pipe()
    with segment_place(pipe, tmp_path, 7, mark) as (folder, link):
        assert (folder, link) == (tmp_path, pipe)
    manifest.with_suffix(".new").write_text("{}")
    manifest.with_suffix(".new").replace(manifest)  # another session, or another machine's folder of the same name
    for other in (mark, None):
        with segment_place(pipe, tmp_path, 7, other) as (folder, link):
            assert folder != tmp_path
            assert isinstance(link, SendingLink)
        assert not folder.exists()

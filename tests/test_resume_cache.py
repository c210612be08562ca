"""resume.cache: a session with any cache, also a damaged one, behaves like a session without one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disks import Remembering
from manycall.data import input_checksum, input_progress, row_source
from manycall.data.input_record import EarlierInput, InputRecord, read_record
from manycall.data.row_source import RowSource
from manycall.errors import CorruptFile, ManycallError, RowRejected
from manycall.ids import IdTable
from manycall.records import Failure, Row, Success
from manycall.store.cache_writer import SessionProgress
from manycall.store.journal_line import request_hash
from manycall.store.manifest import Manifest
from manycall.store.resume_cache import CACHE, CachedUsage, CacheRecord, ResumeCache, _checksum
from manycall.store.run_folder import RunFolder
from test_crashes import known_of, without_cache

OUT = Path("/folder/out.jsonl")
FOLDER = OUT.with_name("out.jsonl.run")
SUFFIX = b'"finish":"length"}\n'


def open_run(disk: Remembering, **how: Any) -> RunFolder:
    return RunFolder(OUT, Manifest("0", {"job": "test"}), disk=disk, **how)


def session(disk: Remembering, rows: range, *, cached: bool = True, **how: Any) -> None:
    """Do some rows: every seventh fails after its call, every fifth is rejected, every third is truncated."""
    run = open_run(disk, **how)
    if cached:
        run.cache_with(lambda: SessionProgress(CachedUsage(1, 2), None), min_rows=0)
    for n in rows:
        run.journal.append(str(n), request_hash("chat", b"%d" % n), 1, b"{}", at=1.0, seconds=0.5)
        row = Row(str(n), {"n": n})
        if not n % 7:
            run.failures.append(Failure(row, "call_error", "503", 4))
        elif not n % 5:
            run.write_rejected(row, RowRejected("no"))
        elif how.get("rows_may_split") and not n % 2:
            run.write_row(Success(row, [{"part": 1}, {"part": 2}]))
        else:
            run.write_row(Success(row, {"finish": "stop" if n % 3 else "length"}))
    run.close()


def same_without(disk: Remembering, **how: Any) -> RunFolder:
    """Open a run with its cache. It must know what it would know without it."""
    plain = open_run(Remembering(without_cache(disk.files)), **how)
    run = open_run(disk, **how)
    assert known_of(run) == known_of(plain)
    return run


@pytest.mark.parametrize("how", [{}, {"rows_may_split": True}, {"truncation_marks": (SUFFIX,)}])
def test_a_session_knows_from_the_cache_what_the_files_say(how: dict[str, Any]) -> None:
    disk = Remembering()
    session(disk, range(18), **how)
    run = same_without(disk, **how)
    assert run.cached is not None
    assert run.cached.usage == CachedUsage(1, 2)
    assert len(run.journal._offsets) == 3  # the calls of the rows that failed
    run.close()
    session(disk, range(20, 30), cached=False, **how)
    run = same_without(disk, **how)  # what a session without a cache has added is read
    assert run.cached is not None


def test_the_layout_and_the_suffix_must_be_those_of_the_cache() -> None:
    disk = Remembering()
    session(disk, range(9))
    assert same_without(disk, rows_may_split=True).cached is None
    assert same_without(disk, truncation_marks=(SUFFIX,)).cached is None
    assert same_without(disk).cached is not None


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "shorter": lambda content: content[: content.rfind(b"\n", 0, -1) + 1],
    "empty": lambda content: b"",
    "another line removed": lambda content: content[content.find(b"\n") + 1 :],
    "a line twice at the beginning, one less at the end": lambda content: (
        content[: content.find(b"\n") + 1] + content[: content.rfind(b"\n", 0, -1) + 1]
    ),
}


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.run/calls.jsonl", "out.jsonl.run/rejected.jsonl"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_was_shortened_or_replaced_is_read_again(name: str, change: str) -> None:
    disk = Remembering()
    session(disk, range(18))
    path = OUT.parent / name
    files = {**disk.files, path: CHANGES[change](disk.files[path])}
    try:
        plain = known_of(open_run(Remembering(without_cache(files))))
    except CorruptFile:
        with pytest.raises(CorruptFile):
            open_run(Remembering(files))
        return
    run = open_run(Remembering(files))
    assert run.cached is None
    assert known_of(run) == plain


def test_repaired_and_set_aside_files_leave_no_cache_behind(tmp_path: Path) -> None:
    def runs(**how: Any) -> RunFolder:
        run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {"job": "test"}), **how)
        run.cache_with(SessionProgress, min_rows=0)
        return run

    from manycall.store.repair import repair

    run = runs()
    run.write_row(Success(Row("a", {}), {"text": "x"}))
    run.close()
    assert (run.folder / CACHE).exists()
    repair(run.out)
    assert not (run.folder / CACHE).exists()
    runs().close()
    assert (run.folder / CACHE).exists()
    again = runs(overwrite=True)
    assert not (run.folder / CACHE).exists()
    assert not again.done_before
    again.close()


def written_at(tmp_path: Path, progress: Callable[[], SessionProgress]) -> list[int]:
    """Return the seconds at which a session with one more row each second writes its cache."""
    run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {"job": "test"}))
    writer = run.cache_with(progress, min_rows=0)
    assert writer is not None
    written = []
    for second in range(300):
        run.write_row(Success(Row(str(second), {}), {"text": "x"}))
        if writer.snapshot_if_due(float(second)) is not None:
            written.append(second)
    run.close()
    return written


def test_the_cache_of_a_running_session_is_written_once_a_minute(tmp_path: Path) -> None:
    assert written_at(tmp_path, lambda: SessionProgress(CachedUsage(1, 2))) == [60, 120, 180, 240]


def test_a_cache_without_its_tokens_is_written_no_more_often(tmp_path: Path) -> None:
    assert written_at(tmp_path, SessionProgress) == [63, 126, 189, 252]


def test_a_cache_waits_for_tokens_that_are_known_a_second_later(tmp_path: Path) -> None:
    known = [None, None, *[CachedUsage(1, 2)] * 9]
    assert written_at(tmp_path, lambda: SessionProgress(known.pop(0))) == [62, 122, 182, 242]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_cache_is_ignored(data: st.DataObject) -> None:
    disk = Remembering()
    session(disk, range(12))
    content = bytearray(disk.files[FOLDER / CACHE])
    match data.draw(st.sampled_from(["byte", "cut", "foreign", "longer"])):
        case "byte":
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        case "foreign":
            content = bytearray(data.draw(st.binary(max_size=100)))
        case _:
            content += b"x"
    damaged = Remembering({**disk.files, FOLDER / CACHE: bytes(content)})
    assert ResumeCache.load(FOLDER, damaged) is None
    assert same_without(damaged).cached is None


NUMBERS = st.integers(-(1 << 70), 1 << 70) | st.integers(0, 3000)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=3), lambda each: st.lists(each, max_size=3)
)


@given(st.dictionaries(st.sampled_from(CacheRecord.__struct_fields__), VALUES, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_hostile_cache_with_a_valid_checksum_ends_in_a_sentence_at_worst(changes: dict[str, Any]) -> None:
    disk = Remembering()
    session(disk, range(12))
    header, _, table = disk.files[FOLDER / CACHE][16:].partition(b"\n")
    fields = {**json.loads(header), **changes}
    content = json.dumps(fields).encode() + b"\n" + table
    message = ""
    hostile = Remembering({**disk.files, FOLDER / CACHE: _checksum([content]) + content})
    try:
        run = open_run(hostile)
        read_record(None if run.cached is None else run.cached.source)
        run.close()
    except ManycallError as error:
        message = str(error)
    assert not message or "repair" in message


# The input


ROW = st.fixed_dictionaries({"q": st.sampled_from("abcd")}, optional={"id": st.integers(0, 30).map(str)})
LINES = st.lists(ROW, min_size=1, max_size=40)


def distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, of each id the first one."""
    seen: set[str] = set()
    return [row for row in rows if "id" not in row or not (row["id"] in seen or seen.add(row["id"]))]  # type: ignore[func-returns-value]


def write(path: Path, rows: list[dict[str, Any]], *, blank: bool = False) -> None:
    path.write_text("".join(json.dumps(row) + "\n" + "\n" * (blank and n % 3 == 0) for n, row in enumerate(rows)))


def read_some(source: RowSource, known: IdTable, record: InputRecord | None, count: int) -> list[Row]:
    """Read `count` rows, or all, as a session does."""
    rows: list[Row] = []

    async def read() -> None:
        async for row in reading:
            rows.append(row)
            if len(rows) == count:
                return

    reading = source.pending_rows(known, record)
    coroutine = read()
    while True:
        try:
            coroutine.send(None)
        except StopIteration:
            return rows


class InputWorld:
    """Sessions over one input, of which each leaves a cache to the next; and the same sessions without a cache."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.known, self.plain = IdTable(), IdTable()
        self.record: InputRecord | None = None
        self.unfinished: dict[str, int] = {}

    def session(self, rows: Any, **how: Any) -> None:
        """Read some rows, and finish some of these. Both kinds of session must get the same rows."""
        # what a file holds: the table as it was dumped, and the record as JSON
        known = IdTable.load(self.known.dump())
        fields = None if self.record is None else msgspec.json.decode(msgspec.json.encode(self.record.as_fields))
        record = read_record(fields)
        earlier = None if record is None else EarlierInput(record, IdTable.load(self.known.dump()))
        source = RowSource(rows, earlier=earlier, **how)
        plain_known = IdTable.load(self.plain.dump())
        plain_known.forget_seen()
        plain = RowSource(rows, **how)
        assert source.total == plain.total
        assert source.first_row == plain.first_row
        expected = read_some(plain, plain_known, None, -1)
        count = self.data.draw(st.sampled_from([-1, 1, 2, 5, 10, 20]))
        got = read_some(source, known, record, count)
        key: Callable[[Row], Any] = lambda row: (row.index, row.sample)  # noqa: E731
        ids = {(row.id, str(row.fields), row.index, row.sample) for row in expected}
        assert {(row.id, str(row.fields), row.index, row.sample) for row in got} <= ids
        assert len({row.id for row in got}) == len(got)
        if count == -1 or len(got) < count:
            assert sorted(map(key, got)) == sorted(map(key, expected))
        unfinished = {row.id: row.index for row in got}
        for row in got:
            if self.data.draw(st.booleans()):
                known.add_done(row.id)
                self.plain.add_done(row.id)
                del unfinished[row.id]
        first = None
        if len(unfinished) > 1 and self.data.draw(st.booleans()):  # more than are remembered
            name = max(unfinished, key=unfinished.__getitem__)
            first = unfinished.pop(name)
        self.record = source.record(sorted((index, name) for name, index in unfinished.items()), first)
        self.known = known


@given(st.data(), LINES)
@settings(max_examples=300, deadline=None)
def test_sessions_that_begin_where_the_last_one_stopped_read_the_same_rows(
    data: st.DataObject, rows: list[dict[str, Any]]
) -> None:
    rows = distinct(rows)
    name = data.draw(st.sampled_from(["in.jsonl", "in.json", "in.csv"]))
    path, world = Path(name), InputWorld(data)
    samples = data.draw(st.sampled_from([None, None, 2]))
    blank = data.draw(st.booleans())
    with pytest.MonkeyPatch.context() as patch:
        for module in (row_source, input_progress):
            patch.setattr(module, "MARK_ROWS", 4)
        patch.setattr(input_checksum, "BLOCK_BYTES", 64)
        patch.setattr(input_checksum, "SETTLED_SECONDS", data.draw(st.sampled_from([-1e9, 1e9])))
        for _ in range(data.draw(st.integers(1, 5))):
            match data.draw(st.sampled_from(["same", "same", "appended", "edited", "removed", "limit"])):
                case "appended":
                    rows = distinct(rows + data.draw(LINES))
                case "edited":
                    rows = [*rows]
                    rows[data.draw(st.integers(0, len(rows) - 1))]["q"] = "x"
                case "removed" if len(rows) > 1:
                    rows = rows[1:]
                case _:
                    pass
            limit = data.draw(st.sampled_from([None, None, 3, 8, 15]))
            if name == "in.jsonl":
                write(path, rows, blank=blank)
            elif name == "in.json":
                path.write_text(json.dumps(rows))
            else:
                path.write_text(
                    "id,q\n" + "".join(f"{row.get('id', n)},{row['q']}\n" for n, row in enumerate(rows, 100))
                )
            world.session(path, samples=samples, limit=limit)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_sessions_of_a_prompt_alone_begin_where_the_last_one_stopped(data: st.DataObject) -> None:
    world = InputWorld(data)
    for _ in range(data.draw(st.integers(1, 5))):
        limit = data.draw(st.sampled_from([None, 3, 8]))
        world.session(None, samples=data.draw(st.integers(1, 30)), limit=limit)


def test_a_grown_file_with_an_id_from_before_the_position_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    write(path, [{"id": str(n)} for n in range(5)])
    known, source = IdTable(), RowSource(path)
    for row in read_some(source, known, None, -1):
        known.add_done(row.id)
    record = source.record([], None)
    assert record is not None
    write(path, [*({"id": str(n)} for n in range(5)), {"id": "9"}, {"id": "2"}])
    with pytest.raises(ManycallError, match="line 7: duplicate id '2'"):
        RowSource(path, earlier=EarlierInput(record, known))

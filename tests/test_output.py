"""An output, opened to be read; and what may be written beside it."""

import json
from pathlib import Path

import pytest

from manycall.errors import CorruptFile, StorageError, UsageError
from manycall.store.output_reader import OutputReader
from manycall.store.paths import check_writable
from shell import manycall

OUT = Path("out.jsonl")
ROWS = '{"id":"a","text":"x"}\n{"id":7,"text":"y"}\n'


def output(rows: str = ROWS, *, run: bool = True, failures: str = "", **manifest: object) -> OutputReader:
    """A file of rows, and what stands beside it."""
    OUT.write_text(rows)
    folder = Path("out.jsonl.run")
    if run:
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps({"manycall_version": "1", "settings": {}, **manifest}))
        (folder / "failures.jsonl").write_text(failures)
    return OutputReader(OUT)


def test_rows_come_with_their_places_and_can_be_found_there() -> None:
    out = output()
    found = list(out.rows())
    assert found == [(0, {"id": "a", "text": "x"}), (22, {"id": 7, "text": "y"})]
    assert list(out.row_offsets()) == [("a", 0), ("7", 22)]
    assert list(out.read_at([22, 0])) == [row for _, row in reversed(found)]


def test_offsets_are_not_used_for_a_file_that_has_taken_the_place_of_the_output() -> None:
    out = output()
    places = dict(out.row_offsets())
    with OUT.open("a") as file:
        file.write('{"id":"b","text":"z"}\n')
    assert next(out.read_at([places["7"]])) == {"id": 7, "text": "y"}  # a run that appends moves nothing
    Path("new.jsonl").write_text('{"id":"b","text":"z"}\n' + ROWS)
    Path("new.jsonl").replace(OUT)
    with pytest.raises(StorageError, match=r"was replaced while it was being read\. Make the same call again"):
        next(out.read_at([places["7"]]))


def test_a_row_that_became_unreadable_is_damage() -> None:
    out = output()
    OUT.write_text("x" * 60)
    with pytest.raises(CorruptFile, match=r"out\.jsonl is corrupt at byte 22"):
        next(out.read_at([22]))


def test_what_a_run_is_writing_is_no_row_yet() -> None:
    out = output(ROWS + '{"id":"b","te', failures='{"id":"c","kind":"empty"}\n{"id":"d","ki')
    assert [row["id"] for _, row in out.rows()] == ["a", 7]
    assert [name for name, _ in out.row_offsets()] == ["a", "7"]
    assert out.failure_counts == {"empty": 1}


def test_a_last_line_needs_no_newline_but_half_a_line_without_a_writer_is_damage() -> None:
    assert len(list(output(ROWS.rstrip(), run=False).rows())) == 2
    out = output(ROWS + '{"id":"b","te', run=False)
    with pytest.raises(CorruptFile, match=r"out\.jsonl is corrupt at byte 42: .*Fix that line\.$"):
        list(out.rows())


@pytest.mark.parametrize("line", ["{no json", '{"text":"without an id"}', '{"id":"\\ud8"}', "[" * 100_000])
@pytest.mark.parametrize("verb", ["check-data", "export"])
def test_a_line_that_is_no_row_is_one_sentence(verb: str, line: str) -> None:
    output(f"{line}\n{ROWS}")
    done = manycall(verb, OUT, *(["-o", "to.jsonl"] if verb == "export" else []))
    assert (done.code, done.err.count("\n")) == (4, 1)
    assert "out.jsonl is corrupt at byte 0: " in done.err
    assert "Run: manycall repair out.jsonl" in done.err


def test_a_row_that_failed_twice_is_counted_once() -> None:
    lines = '{"id":"b","kind":"empty"}\n{"id":"c","kind":"empty"}\n{"id":"b","kind":"call_error"}\n'
    out = output(failures=lines)
    assert (out.failures(), out.failure_counts) == (
        {"b": "call_error", "c": "empty"},
        {"call_error": 1, "empty": 1},
    )
    assert out.failed == 2


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("out.jsonl", "is the output of a run and cannot be overwritten"),
        ("other.jsonl", "is the output of a run"),
        ("gone.jsonl", "is the output of a run"),  # its rows are in the journal
        ("./in.jsonl", "is an input of this command and cannot be overwritten"),
        ("rejects.jsonl", "is an input of this command"),
        ("link.jsonl", "is an input of this command"),
        ("out.jsonl.run/calls.jsonl", "is a file of a run and cannot be overwritten"),
        ("gone.jsonl.run/rejected.jsonl", "is a file of a run"),
        ("shortcut/manifest.json", "is a file of a run"),
        ("folder", "is not the name of a file"),
        ("in.jsonl/where.jsonl", "cannot create its folder"),
        ("", "is not the name of a file"),
    ],
)
def test_nothing_is_overwritten_that_was_paid_for_or_is_read(to: str, why: str) -> None:
    output(source={"input": "in.jsonl", "is_file": True})
    for name in ("in", "rejects", "other"):
        Path(f"{name}.jsonl").write_text('{"id":"x"}\n')
    for folder in ("other.jsonl.run", "gone.jsonl.run", "folder"):
        Path(folder).mkdir()
    Path("link.jsonl").symlink_to("in.jsonl")
    Path("shortcut").symlink_to("gone.jsonl.run")
    with pytest.raises(UsageError, match=why):
        check_writable(to, OutputReader(OUT, exclude=["rejects.jsonl"]).reads)


def test_what_was_made_of_an_output_may_be_made_again() -> None:
    out = output(source={"input": "the prompt alone", "is_file": False})
    for name in ("new.md", "old.md", "the prompt alone"):
        if name != "new.md":
            Path(name).write_text("an older one")
        assert check_writable(name, out.reads) == Path(name)


def test_a_folder_that_is_not_there_is_made() -> None:
    assert check_writable("a/b/new.parquet").parent.is_dir()

"""An input file that another program changes between its check and the moment when a row of it is begun."""

import asyncio
import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from manycall.data import input_checksum
from manycall.data.row_source import RowSource
from manycall.errors import InputChanged
from manycall.ids import IdTable
from shell import finish, rows, sim, start
from torture.work import Output, wait_until

Rows = list[dict[str, Any]]
ROWS: Rows = [{"id": f"row {n}", "q": f"{n:0500}"} for n in range(40)]
FIRST_AGAIN: Rows = [*ROWS[:-5], *ROWS[:5]]


def _lines(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _array(path: Path, rows: Rows) -> None:
    path.write_text(json.dumps(rows))


def _csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "q"])
        writer.writeheader()
        writer.writerows(rows)


def _parquet(path: Path, rows: Rows) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=10, compression="none")


FORMATS: dict[str, Callable[[Path, Rows], None]] = {"jsonl": _lines, "json": _array, "csv": _csv, "parquet": _parquet}


def append(path: Path, write: Callable[[Path, Rows], None]) -> None:
    other = path.with_suffix(".longer" + path.suffix)
    write(other, ROWS + ROWS[:5])
    path.write_bytes(other.read_bytes())


def shorten(path: Path, write: Callable[[Path, Rows], None]) -> None:
    os.truncate(path, path.stat().st_size - 600)


def replace(path: Path, write: Callable[[Path, Rows], None]) -> None:
    other = path.with_suffix(".other" + path.suffix)
    write(other, FIRST_AGAIN)
    other.replace(path)


def edit_in_place(path: Path, write: Callable[[Path, Rows], None]) -> None:
    before = path.stat()
    write(path, FIRST_AGAIN)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = [append, shorten, replace, edit_in_place]


def ids_until_it_stops(source: RowSource, change: Callable[[], None], after: int) -> list[str]:
    """The ids of the rows that come, when the file changes after the first `after` of them."""
    found: list[str] = []

    async def take() -> None:
        if not after:
            change()
        async for row in source.pending_rows(IdTable()):
            found.append(row.id)
            if len(found) == after:
                change()
        source.must_be_unchanged()

    with pytest.raises(InputChanged, match="changed while the run was reading it"):
        asyncio.run(take())
    return found


@pytest.mark.parametrize("after", [0, 3])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("ending", FORMATS)
def test_a_changed_input_stops_the_run_before_any_changed_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, change: Callable[..., None], after: int
) -> None:
    monkeypatch.setattr(input_checksum, "BLOCK_BYTES", 4096)
    path, write = tmp_path / f"in.{ending}", FORMATS[ending]
    write(path, ROWS)
    found = ids_until_it_stops(RowSource(path), lambda: change(path, write), after)
    assert found == [row["id"] for row in ROWS][: len(found)]


def test_a_file_of_whole_blocks_that_grows_is_a_changed_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.jsonl"
    _lines(path, ROWS)
    monkeypatch.setattr(input_checksum, "BLOCK_BYTES", path.stat().st_size // 2)
    assert path.stat().st_size % input_checksum.BLOCK_BYTES == 0
    assert ids_until_it_stops(RowSource(path), lambda: append(path, _lines), 3) == [row["id"] for row in ROWS]


@pytest.mark.parametrize("harmless", [lambda path: path.touch(), lambda path: path.write_bytes(path.read_bytes())])
def test_a_file_written_again_with_the_same_bytes_is_not_a_changed_input(
    tmp_path: Path, harmless: Callable[[Path], object]
) -> None:
    path = tmp_path / "in.jsonl"
    _lines(path, ROWS)
    source = RowSource(path)
    time.sleep(0.01)
    harmless(path)
    source.must_be_unchanged()
    path.unlink()
    source.must_be_unchanged()


def test_what_stands_behind_the_limit_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_checksum, "BLOCK_BYTES", 4096)
    path = tmp_path / "in.jsonl"
    _lines(path, ROWS)
    source = RowSource(path, limit=2)
    append(path, _lines)
    source.must_be_unchanged()


@pytest.mark.parametrize("change", CHANGES)
def test_a_command_whose_input_changes_ends_with_4_and_the_same_command_does_the_rest(
    tmp_path: Path, change: Callable[..., None]
) -> None:
    path, out = tmp_path / "in.jsonl", Output(tmp_path / "out.jsonl")
    _lines(path, ROWS)
    with sim("--latency", "0.2") as server:
        words = (
            "generate",
            path,
            "-p",
            "{{ q }}",
            "-u",
            server.url,
            "-m",
            "any",
            "-o",
            out.path,
            "-j",
            "4",
            "--no-progress",
        )
        process = start(*words)
        assert wait_until(lambda: out.calls > 0, process)
        change(path, _lines)
        ended = finish(process)
        assert ended.code == 4
        assert "in.jsonl changed while the run was reading it" in ended.err
        assert "rows are saved. When the file is complete, resume with: manycall generate" in ended.err
        _lines(path, [*ROWS, {"id": "late", "q": "one more"}])
        assert finish(start(*words)).code == 0
        assert sorted(row["id"] for row in rows(out.path)) == sorted([*(row["id"] for row in ROWS), "late"])
        assert server.stats["finished"] == len(ROWS) + 1


def test_only_the_checksums_before_the_first_unread_block_are_kept() -> None:
    path = Path("blocks.bin")
    path.write_bytes(b"".join(bytes([number]) * input_checksum.BLOCK_BYTES for number in range(4)))
    read = input_checksum.InputFile(path)
    with read.open() as file:
        for number in (3, 0, 2):
            read.block(file.fileno(), number)
        assert len(read.checksums) == 1
        read.block(file.fileno(), 1)
    assert len(read.checksums) == 4

"""One writer for each output, whatever name it has for it."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from manycall.errors import CorruptFile, OutputLocked
from manycall.records import Row, Success
from manycall.store.manifest import Manifest
from manycall.store.repair import repair
from manycall.store.run_folder import RunFolder
from shell import finish, rows, sim, start
from torture.work import Output, wait_until


def open_run(out: Path, *, overwrite: bool = False, parted: bool = False) -> RunFolder:
    return RunFolder(out, Manifest("1", {"job": "generate"}), overwrite=overwrite, rows_may_split=parted)


def symbolic_link(out: Path) -> Path:
    alias = out.with_name("alias.jsonl")
    alias.symlink_to(out.name)
    return alias


def link_to_a_link(out: Path) -> Path:
    alias = out.parent / "elsewhere" / "again.jsonl"
    alias.parent.mkdir()
    alias.symlink_to(symbolic_link(out))
    return alias


def linked_folder(out: Path) -> Path:
    (out.parent / "folder").symlink_to(out.parent)
    return out.parent / "folder" / out.name


def roundabout(out: Path) -> Path:
    return Path(os.path.relpath(out.parent)) / ".." / out.parent.name / out.name


def hard_link(out: Path) -> Path:
    out.touch()
    alias = out.with_name("alias.jsonl")
    alias.hardlink_to(out)
    return alias


NAMES = [symbolic_link, link_to_a_link, linked_folder, roundabout, hard_link]


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("other_name", NAMES)
def test_another_name_of_an_output_that_is_written_is_refused(
    tmp_path: Path, other_name: Callable[[Path], Path], fresh: bool
) -> None:
    out = tmp_path / "out.jsonl"
    alias = other_name(out)
    run = open_run(out)
    with pytest.raises(OutputLocked, match="is locked by"):
        open_run(alias, overwrite=fresh)
    run.write_row(Success(Row("a", {}), {"text": "x"}))
    run.close()
    assert [row["id"] for row in rows(out)] == ["a"]


@pytest.mark.parametrize("other_name", [symbolic_link, link_to_a_link, linked_folder, roundabout])
def test_a_run_goes_on_under_another_name_of_its_output(tmp_path: Path, other_name: Callable[[Path], Path]) -> None:
    out = tmp_path / "out.jsonl"
    for path, row in ((other_name(out), "a"), (out, "b")):
        run = open_run(path)
        run.write_row(Success(Row(row, {}), {}))
        run.close()
    assert [row["id"] for row in rows(out)] == ["a", "b"]
    assert not list(tmp_path.rglob("a*.run"))


def test_the_output_stays_locked_when_its_run_directory_is_deleted(tmp_path: Path) -> None:
    run = open_run(tmp_path / "out.jsonl")
    shutil.rmtree(run.folder)
    with pytest.raises(OutputLocked):
        open_run(tmp_path / "out.jsonl")
    run._unlock()
    open_run(tmp_path / "out.jsonl").close()


def test_an_output_that_is_replaced_as_it_is_opened_is_locked_all_the_same(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    open_run(out, parted=True).close()
    out.write_text('{"id":"a/0","parts":2}\n')  # not whole: it is taken out, and the file is another one then
    before = out.stat().st_ino
    run = open_run(out, parted=True)
    assert out.stat().st_ino != before
    alias = out.with_name("alias.jsonl")
    alias.hardlink_to(out)
    with pytest.raises(OutputLocked):
        open_run(alias)
    run.close()


def test_fresh_moves_the_file_aside_and_not_the_link_to_it(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    alias = symbolic_link(out)
    for row in ("a", "b"):
        run = open_run(alias, overwrite=row == "b")
        run.write_row(Success(Row(row, {}), {}))
        run.close()
    assert alias.is_symlink()
    assert [row["id"] for row in rows(alias)] == ["b"]
    assert [row["id"] for row in rows(tmp_path / "out.jsonl.old")] == ["a"]


def test_repair_fixes_the_file_behind_a_link(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    alias = symbolic_link(out)
    run = open_run(out)
    with pytest.raises(OutputLocked):
        repair(alias)
    run.close()
    out.write_text('{"id":"a"}\nx\n{"id":"b"}\n')
    with pytest.raises(CorruptFile):
        open_run(alias)
    assert "to out.jsonl.damaged" in repair(alias)[0]
    assert alias.is_symlink()
    assert [row["id"] for row in rows(out)] == ["a", "b"]


@pytest.mark.parametrize("other_name", [symbolic_link, hard_link])
def test_two_commands_on_two_names_of_one_output_pay_once(tmp_path: Path, other_name: Callable[[Path], Path]) -> None:
    out = Output(tmp_path / "out.jsonl")
    alias = other_name(out.path)
    with sim("--latency", "0.1") as server:
        words = (
            "generate",
            "-p",
            "Tell {{ id }}",
            "-n",
            "8",
            "-u",
            server.url,
            "-m",
            "any",
            "-j",
            "8",
            "--no-progress",
            "-o",
        )
        first = start(*words, out.path)
        assert wait_until((out.folder / "calls.jsonl").exists, first)
        first.send_signal(signal.SIGSTOP)  # otherwise it may end before the second begins
        second = finish(start(*words, alias))
        first.send_signal(signal.SIGCONT)
        assert second.code == 2
        assert "is locked by" in second.err
        assert finish(first).code == 0
        assert sorted(row["id"] for row in rows(out.path)) == list(range(8))
        assert server.stats["finished"] == 8

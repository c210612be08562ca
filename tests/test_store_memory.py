"""Memory that must not grow with the texts of rows: failed rows cost that of their ids."""

import json
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from manycall.evals.tasks.download import checksum
from manycall.records import Failure, Row, Success
from manycall.store.manifest import Manifest
from manycall.store.repair import repair
from manycall.store.run_folder import RunFolder

ROWS = 300
RAW = "x" * 100_000
MOST_BYTES = 6 << 20
"""Far less than the 30 MB of all texts; reading takes 1 MiB at a time."""


def open_run(folder: Path) -> RunFolder:
    return RunFolder(folder / "out.jsonl", Manifest("1", {"job": "generate"}))


def fail(run: RunFolder, error: str = "no reply") -> None:
    for number in range(ROWS):
        run.failures.append(Failure(Row(f"row {number}", {}), "call_error", error, last_text=RAW))


def peak_of(work: Callable[[], object]) -> int:
    """Bytes that were held at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def failed(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "out.jsonl.run" / "failures.jsonl").read_bytes().splitlines()
    return [(line["id"], line["error"]) for line in map(json.loads, lines)]


@pytest.mark.parametrize("session", ["first", "all fail again", "half are done after all"])
def test_failed_rows_cost_no_memory_for_their_texts(tmp_path: Path, session: str) -> None:
    def first() -> None:
        run = open_run(tmp_path)
        fail(run)
        run.close()

    def second() -> None:
        run = open_run(tmp_path)
        if session == "all fail again":
            fail(run, "again")
        else:
            for number in range(0, ROWS, 2):
                run.write_row(Success(Row(f"row {number}", {}), {}))
        run.close()

    peak = peak_of(first)
    expected = [(f"row {number}", "no reply") for number in range(ROWS)]
    if session == "all fail again":
        peak = max(peak, peak_of(second))
        expected = [(name, "again") for name, _ in expected]
    elif session == "half are done after all":
        peak = max(peak, peak_of(second))
        expected = expected[1::2]
    assert failed(tmp_path) == expected
    assert peak < MOST_BYTES


def test_failures_that_a_killed_session_left_are_tidied_without_holding_them(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    fail(run)
    run.close()
    path = run.folder / "failures.jsonl"
    path.write_bytes(2 * path.read_bytes())
    assert peak_of(lambda: open_run(tmp_path).close()) < MOST_BYTES
    assert failed(tmp_path) == [(f"row {number}", "no reply") for number in range(ROWS)]


def test_failures_are_not_rewritten_when_none_was_done(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    fail(run)
    run.close()
    path = run.folder / "failures.jsonl"
    before = path.stat().st_ino
    open_run(tmp_path).close()
    assert path.stat().st_ino == before


def test_repair_holds_no_damaged_line(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    run.close()
    (run.folder / "failures.jsonl").write_text(f'{{"no id": "{RAW}"}}\n' * ROWS)
    assert peak_of(lambda: repair(tmp_path / "out.jsonl")) < MOST_BYTES
    assert (run.folder / "failures.jsonl.damaged").stat().st_size > ROWS * len(RAW)


def test_the_checksum_of_a_benchmark_file_holds_no_more_than_a_piece_of_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x" * (30 << 20))
    assert checksum(path) == sha256(path.read_bytes()).hexdigest()
    assert peak_of(lambda: checksum(path)) < MOST_BYTES

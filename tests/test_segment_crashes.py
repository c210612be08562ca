"""Every state that a crash may leave of a run with several workers, made and recovered from."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from disks import Crash, Files, Remembering, crashes
from manycall.errors import RowRejected
from manycall.records import Failure, Row, Success
from manycall.store.journal_line import request_hash
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.store.segment_folder import segment_numbers
from manycall.store.segments import Segment

OUT = Path("/folder/out.jsonl")
FOLDER = OUT.with_name("out.jsonl.run")
ROWS = 12
REJECTED, FAILED = 3, 5
"""These rows are rejected, or failed at first."""
Calls = Counter[tuple[str, int]]


def open_run(disk: Remembering) -> RunFolder:
    return RunFolder(OUT, Manifest("0", {"job": "test"}), disk=disk, rows_may_split=True)


class Worker:
    """A worker that finishes rows in its segment. What it has promised is noted on the disk."""

    def __init__(self, run: RunFolder, disk: Remembering) -> None:
        self.number, self._disk = run.segments.begin_segment(), disk
        self.segment = Segment(run.folder, self.number, layout=run._layout, disk=disk)

    def answer(self, row: int) -> None:
        """Make the call of a row."""
        self.segment.journal.append(
            str(row), request_hash("chat", b""), self.number, b"answer" * 9, at=1.0, seconds=0.5
        )
        self._note("paid", row)

    def finish(self, row: int) -> None:
        """End a row: most are done, in one line or in two."""
        name = Row(str(row), {"n": row})
        if row == REJECTED:
            self.segment.write_rejected(name, RowRejected("no"))
        elif row == FAILED:
            self.segment.write_failed(Failure(name, "call_error", "503", 4))
            return
        else:
            self.segment.write_row(Success(name, [{"part": 1}, {"part": 2}] if row % 2 else {"text": "yes"}))
        self._note("done", row)

    def sync(self) -> None:
        self.segment.sync()
        self._disk.note("durable", b"%d 0" % self.number)

    def _note(self, kind: str, row: int) -> None:
        self._disk.note(kind, b"%d %d" % (self.number, row))


def history(seed: int) -> Remembering:
    """Two sessions: the first is killed with its workers, the second adopts their segments and ends."""
    rng, disk = random.Random(seed), Remembering()
    session(open_run(disk), disk, rng, range(ROWS // 2))
    run = open_run(disk)
    assert segment_numbers(FOLDER, disk) == []
    workers = session(run, disk, rng, range(ROWS // 3, ROWS))
    for worker in workers[1:]:
        worker.segment.close()
        disk.note("durable", b"%d 0" % worker.number)
    run.close()  # the first worker was killed before
    return disk


def session(run: RunFolder, disk: Remembering, rng: random.Random, rows: range) -> list[Worker]:
    """Let two workers do rows, of which some are given to both. The driver merges now and then."""
    workers = [Worker(run, disk) for _ in range(2)]
    for row in rows:
        for worker in rng.sample(workers, rng.choice([1, 1, 1, 2])):
            worker.answer(row)
            if not run.ids.is_done(str(row)):
                worker.finish(row)
            if rng.random() < 0.4:
                worker.sync()
            if rng.random() < 0.4:
                run.segments.merge(worker.number)
        if rng.random() < 0.3:
            run.sync()
    return workers


def promised(disk: Remembering, end: int, killed: bool) -> tuple[set[str], Calls]:
    """The rows and calls that must have survived: what was written; after a power cut, what its worker has synced."""
    noted: dict[str, list[tuple[str, str]]] = {}
    kept: list[tuple[str, str, str]] = []
    for op in disk.log[:end]:
        if op.kind in {"paid", "done", "durable"}:
            number, row = op.data.decode().split()
            notes = noted.setdefault(number, [])
            if op.kind == "durable":
                kept += [(number, *note) for note in notes]
                notes.clear()
            else:
                notes.append((op.kind, row))
    if killed:
        kept += [(number, *note) for number, notes in noted.items() for note in notes]
    rows = {row for _, kind, row in kept if kind == "done"}
    return rows, Counter((row, int(number)) for number, kind, row in kept if kind == "paid")


def calls_in(files: Files) -> Calls:
    lines = files.get(FOLDER / "calls.jsonl", b"").splitlines()
    return Counter((call["id"], call["nth"]) for call in map(msgspec.json.decode, lines))


def recover(files: Files, rows: set[str], calls: Calls) -> Remembering:
    """Open what a crash has left, do the other rows, and see whether every promise was kept."""
    disk = Remembering(files)
    run = open_run(disk)
    assert segment_numbers(FOLDER, disk) == []
    assert {name for name in rows if not run.ids.is_done(name)} == set()
    found = calls_in(disk.files)
    assert calls <= found
    assert max(found.values(), default=1) == 1
    for row in map(str, range(ROWS)):
        if not run.ids.is_done(row):
            run.write_row(Success(Row(row, {}), {"text": "yes"}))
    run.close()
    left = disk.files
    ended = [OUT, FOLDER / "rejected.jsonl"]
    lines = [msgspec.json.decode(line) for path in ended for line in left[path].splitlines()]
    parts = Counter(line["id"] for line in lines)
    assert max(parts.values()) == 1
    assert {name.partition("/")[0] for name in parts} == {*map(str, range(ROWS))}
    assert left[FOLDER / "failures.jsonl"] == b""
    assert calls_in(left) == found
    return disk


def states(disk: Remembering, step: int) -> Iterator[tuple[int, Crash]]:
    """(how many changes came before, what is left) for every crash after each `step` changes, equal ones once."""
    seen: set[tuple[int, bool, int]] = set()
    for end in range(0, len(disk.log) + 1, step):
        durable = sum(op.kind == "durable" for op in disk.log[:end])
        for crash in crashes(disk, end):
            key = (hash(frozenset(crash.files.items())), crash.how == "killed", durable)
            if key not in seen:
                seen.add(key)
                yield end, crash


def survive(disk: Remembering, end: int, crash: Crash, again: random.Random | None) -> None:
    """Recover from one crash; and from a second one, in the middle of the recovery."""
    rows, calls = promised(disk, end, crash.how == "killed")
    try:
        second = recover(crash.files, rows, calls)
        if again is not None:
            end = again.randrange(len(second.log) + 1)
            crash = again.choice(list(crashes(second, end)))
            recover(crash.files, rows, calls)
    except BaseException as error:
        error.add_note(f"after {end} changes, {crash.how}")
        raise


def every_state(seed: int, step: int = 1, share: float = 1.0) -> int:
    """Recover from every state of one history, or from a share of them; return how many."""
    disk, rng, count = history(seed), random.Random(seed), 0
    for end, crash in states(disk, step):
        if rng.random() < share:
            survive(disk, end, crash, rng if rng.random() < 0.3 else None)
            count += 1
    return count


def test_every_state_that_a_crash_leaves_of_a_run_with_workers_is_recovered_from() -> None:
    assert every_state(0, step=7, share=0.03) > 100


@given(st.integers(0, 10_000), st.floats(0, 1), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_any_kill_at_any_place_leaves_each_row_once_and_each_call_once(
    seed: int, place: float, rng: random.Random
) -> None:
    disk = history(seed)
    end = round(place * len(disk.log))
    survive(disk, end, rng.choice(list(crashes(disk, end))), rng)

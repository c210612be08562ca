"""Damage in the middle of a file, which no crash of ours leaves: its lines are moved aside, the others stay."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from manycall.errors import StoreCorrupt, UsageError
from manycall.ids import IdTable, row_name
from manycall.records import UNREADABLE
from manycall.store.disk import DISK
from manycall.store.journal import reply
from manycall.store.lines import LineFile, write_whole, writing
from manycall.store.lock import Lock
from manycall.store.manifest import Manifest, real_output, run_folder
from manycall.store.reading import read_lines
from manycall.store.run import damaged

Judge = Callable[[bytes], str]
"""Why a line cannot stay; "" if it can."""


def repair(out: Path) -> list[str]:
    """Move the damaged lines of an output and of its run directory to `<file>.damaged`; say what was moved.

    Rows that lose their line are done again by the next run, from the journal as far as it has their calls.

    Raises:
        UsageError: there is no such output.
        RunLocked: somebody is writing it.
        StoreError: the disk would not take it.
    """
    out = real_output(out)
    folder = run_folder(out)
    if not folder.is_dir():
        raise UsageError(f"{out} has no run directory {folder}: it is not from manycall")
    with writing(folder):
        lock = Lock(out, DISK)
        try:
            moved = [
                *_lines(out, _once(row_name)),
                *_lines(folder / "calls.jsonl", _reads(reply)),
                *_lines(folder / "failures.jsonl", _reads(row_name)),
                *_lines(folder / "rejected.jsonl", _once(row_name)),
                *_lines(folder / "timeline.jsonl", _reads(msgspec.json.decode)),
                *_manifest(folder / "manifest.json"),
            ]
        finally:
            lock.release()
    return moved or [f"{out}: nothing is damaged"]


def _reads(decode: Callable[[bytes], object]) -> Judge:
    def judge(line: bytes) -> str:
        try:
            decode(line)
        except UNREADABLE as error:
            return str(error)
        return ""

    return judge


def _once(name: Callable[[bytes], str]) -> Judge:
    """As `_reads`, and no row stands there twice."""
    seen = IdTable()
    reads = _reads(name)

    def judge(line: bytes) -> str:
        if why := reads(line):
            return why
        return "" if seen.add_done(name(line)) else f"the id {name(line)!r} stands there already"

    return judge


def _lines(path: Path, judge: Judge) -> Iterator[str]:
    """One file; the new one takes the place of the old in one step."""
    if not path.exists():
        return
    LineFile(path).close()  # mends what a crash leaves
    found = {offset: why for offset, line in read_lines(path) if (why := judge(line))}
    if not found:
        return
    aside = LineFile(damaged(path))
    for offset, line in read_lines(path):
        if offset in found:
            aside.append(line)
            yield f"{path}: the line at byte {offset:,} went to {aside.path.name}: {found[offset]}"
    aside.close()
    write_whole(path, (line for offset, line in read_lines(path) if offset not in found))


def _manifest(path: Path) -> Iterator[str]:
    try:
        Manifest.read(path)
    except StoreCorrupt as error:
        write_whole(damaged(path), [path.read_bytes()])
        DISK.remove(path)
        what = str(error).partition(". ")[0]
        yield f"{what}. It went to {damaged(path).name}, and the next command is taken at its word"

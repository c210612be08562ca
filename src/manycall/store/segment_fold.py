"""Fold the journals of segments into the run's calls.jsonl, so that every reader knows one journal.

A journal is folded exactly once, also if the process is killed meanwhile. Before the first line is appended, it is
recorded which segment is folded and how long calls.jsonl is (`segments/folding.json`, synced). After that, the
segment's journal is removed, and then the record. A session that finds the record and the journal was preceded by one
that was killed in between: it cuts calls.jsonl to the recorded length and folds the journal again.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from manycall.errors import StorageError
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.journal import RESCUED, import_rescued
from manycall.store.jsonl import decode_lines, read_lines
from manycall.store.segment_folder import CALLS, remove_files, segment_numbers, segment_path, segments_folder

T = TypeVar("T")
MAX_BATCH_BYTES = 1 << 20
"""Lines are appended together up to this size."""


class _Folding(msgspec.Struct):
    """Which segment is being folded, and the length of calls.jsonl before its first line."""

    segment: int
    size: int


_decode_record = msgspec.json.Decoder(_Folding).decode


def _record_path(run_folder: Path) -> Path:
    return segments_folder(run_folder) / "folding.json"


def _killed_fold(run_folder: Path, disk: Disk) -> _Folding | None:
    """Return the record of a fold that was killed; None if there is none."""
    for _, _, folding in decode_lines(_record_path(run_folder), _decode_record, disk=disk):
        if disk.exists(segment_path(run_folder, folding.segment) / CALLS):
            return folding
    return None


def decode_journals(
    run_folder: Path, decode: Callable[[bytes], T], out: Path, disk: Disk = REAL_DISK
) -> Iterator[tuple[Path, int, T]]:
    """Yield (file, offset, decoded line) for each call of a run, those in segments included. Nothing is changed.

    Raises:
        CorruptFile: a line cannot be decoded.
    """
    killed = _killed_fold(run_folder, disk)
    for offset, _, call in decode_lines(run_folder / CALLS, decode, out, disk):
        if killed is not None and offset >= killed.size:
            break
        yield run_folder / CALLS, offset, call
    for number in segment_numbers(run_folder, disk):
        path = segment_path(run_folder, number) / CALLS
        yield from ((path, offset, call) for offset, _, call in decode_lines(path, decode, out, disk))


def undo_killed_fold(run_folder: Path, disk: Disk) -> None:
    """Remove from calls.jsonl what was appended by a fold that was killed. Its segment still has the lines.

    Call this before calls.jsonl is opened.
    """
    record = _record_path(run_folder)
    if not disk.exists(record):
        return
    if (killed := _killed_fold(run_folder, disk)) is not None:
        fd = disk.open(run_folder / CALLS)
        try:
            if disk.size(fd) > killed.size:
                disk.truncate(fd, killed.size)
                disk.sync(fd)
        finally:
            disk.close(fd)
    _remove_record(record, disk)


def fold_journals(run_folder: Path, numbers: Iterable[int], journal: AppendLog, disk: Disk) -> None:
    """Append the journals of these segments, whose workers have ended, to the run's journal, and remove them.

    Args:
        journal: the open calls.jsonl of the run.

    Raises:
        StorageError: a line could not be written. No line of its segment is in calls.jsonl, or the next session
            removes them.
    """
    record = _record_path(run_folder)
    for number in numbers:
        segment = segment_path(run_folder, number)
        if not (disk.exists(segment / CALLS) or disk.exists(segment / RESCUED)):
            continue
        calls = AppendLog(segment / CALLS, disk)  # repairs a torn tail
        import_rescued(calls, disk)
        calls.close()
        journal.sync()  # fails if an earlier fold could not be undone, whose record must stay
        replace_file(record, [msgspec.json.encode(_Folding(number, journal.end)), b"\n"], disk)
        _append_lines(segment / CALLS, journal, disk)
        remove_files(segment, [CALLS], disk)
        _remove_record(record, disk)


def _append_lines(path: Path, journal: AppendLog, disk: Disk) -> None:
    """Append the lines of a file and sync them; all or none."""
    end, count = journal.end, journal.count
    batch, size = list[bytes](), 0
    try:
        for _, line in read_lines(path, disk):
            batch.append(line)
            size += len(line)
            if size >= MAX_BATCH_BYTES:
                journal.append(b"".join(batch), len(batch))
                batch, size = [], 0
        if batch:
            journal.append(b"".join(batch), len(batch))
        journal.sync()
    except StorageError:
        journal.cut(end, count)
        raise


def _remove_record(record: Path, disk: Disk) -> None:
    disk.remove(record)
    disk.sync_folder(record.parent)


def fold_all(run_folder: Path, disk: Disk) -> None:
    """Fold the journals of all segments, before calls.jsonl is opened. All workers have ended.

    Raises:
        CorruptFile: the record of a killed fold cannot be decoded.
        StorageError: a line could not be written.
    """
    undo_killed_fold(run_folder, disk)
    if numbers := segment_numbers(run_folder, disk):
        journal = AppendLog(run_folder / CALLS, disk)
        try:
            fold_journals(run_folder, numbers, journal, disk)
        finally:
            journal.close()

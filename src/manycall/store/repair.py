"""Move damaged lines out of the files of a run. A crash of manycall never damages the middle of a file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from manycall.errors import CorruptFile, UsageError
from manycall.ids import IdTable, decode_row_id
from manycall.records import DECODE_ERRORS
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file, storage_errors
from manycall.store.disk import REAL_DISK
from manycall.store.journal_line import decode_response
from manycall.store.jsonl import read_lines
from manycall.store.lock import Lock
from manycall.store.manifest import Manifest, real_output
from manycall.store.paths import damaged_path, finished_rows_path, run_folder_path
from manycall.store.resume_cache import CACHE
from manycall.store.retried_rows import RETRIED
from manycall.store.segment_fold import fold_all
from manycall.store.segment_folder import FAILURES, REJECTED, ROWS, require_ended, segment_numbers, segment_path
from manycall.store.segment_reader import decode_failed_row
from manycall.store.staged_output import OutputPaths, output_paths, staged_paths

LineCheck = Callable[[bytes], str]
"""Returns what is wrong with a line; "" if it is valid."""


def repair(out: Path) -> list[str]:
    """Move the damaged lines of an output and of its run folder to `<file>.damaged`; return a sentence for each.

    The next run processes the affected rows again, and replays their calls if they are in the journal.

    Raises:
        UsageError: the output has no run folder.
        OutputLocked: another process is writing the output, or a worker of a killed run its segment.
        StorageError: a file could not be written.
    """
    out = real_output(out)
    folder = run_folder_path(out)
    if not folder.is_dir():
        raise UsageError(f"{out} was not created by manycall: its run folder {folder} does not exist.")
    with storage_errors(folder):
        lock = Lock(out, REAL_DISK)
        try:
            REAL_DISK.remove(folder / CACHE)  # the next run reads every line
            require_ended(out, REAL_DISK)
            fold_all(folder, REAL_DISK)
            moved = [
                *_decided_rows(output_paths(out)._replace(rows=finished_rows_path(out))),
                *_decided_rows(staged_paths(out)),
                *_lines(folder / "calls.jsonl", _decodes(decode_response)),
                *_lines(folder / RETRIED, _decodes_once(decode_row_id)),
                *_lines(folder / "timeline.jsonl", _decodes(msgspec.json.decode)),
                *_segments(folder),
            ]
        finally:
            lock.release()
    return moved or [f"{out}: no damaged lines found."]


def _decodes(decode: Callable[[bytes], object]) -> LineCheck:
    def check(line: bytes) -> str:
        try:
            decode(line)
        except DECODE_ERRORS as error:
            return str(error)
        return ""

    return check


def _decodes_once(row_id: Callable[[bytes], str]) -> LineCheck:
    """Check a line as `_decodes` does, and also check that its row id does not occur earlier in the file."""
    seen = IdTable()
    check_line = _decodes(row_id)

    def check(line: bytes) -> str:
        if problem := check_line(line):
            return problem
        return "" if seen.add_done(row_id(line)) else f"duplicate id {row_id(line)!r}"

    return check


def _lines(path: Path, check: LineCheck) -> Iterator[str]:
    """Move the damaged lines of one file, which is replaced atomically."""
    if not path.exists():
        return
    AppendLog(path).close()  # repairs the file after a crash
    problems = {offset: problem for offset, line in read_lines(path) if (problem := check(line))}
    if not problems:
        return
    aside = AppendLog(damaged_path(path))
    for offset, line in read_lines(path):
        if offset in problems:
            aside.append(line)
            yield f"{path}: moved the line at byte {offset:,} to {aside.path.name}: {problems[offset]}"
    aside.close()
    replace_file(path, (line for offset, line in read_lines(path) if offset not in problems))


def _decided_rows(paths: OutputPaths) -> Iterator[str]:
    """Check the rows of an output, its rejected and failed rows, and its manifest."""
    yield from _lines(paths.rows, _decodes_once(decode_row_id))
    yield from _lines(paths.rejected, _decodes_once(decode_row_id))
    yield from _lines(paths.failures, _decodes(decode_row_id))
    yield from _manifest(paths.manifest)


def _segments(folder: Path) -> Iterator[str]:
    """Check the rows of segments, which the next run merges. A row may be in several."""
    checks = {ROWS: _decodes(decode_row_id), REJECTED: _decodes(decode_row_id), FAILURES: _decodes(decode_failed_row)}
    for number in segment_numbers(folder):
        for name, check in checks.items():
            yield from _lines(segment_path(folder, number) / name, check)


def _manifest(path: Path) -> Iterator[str]:
    try:
        Manifest.load(path)
    except CorruptFile as error:
        replace_file(damaged_path(path), [path.read_bytes()])
        REAL_DISK.remove(path)
        damage = str(error).partition(". ")[0]
        yield f"{damage}. Moved it to {damaged_path(path).name}. The next run will not compare its settings with it."

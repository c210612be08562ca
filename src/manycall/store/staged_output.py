"""An output whose rows are all decided again from its own journal (`from_` names the output itself).

While such a session runs, the output keeps its old rows. The new rows, rejected rows, failures and settings are written
to files of their own in the run folder, next to the journal that both share. When every row is done or failed, they
replace the old ones. `staged-complete` is written first: if the process is killed after that, the next one finishes the
replacement. So at any time the output contains the old rows or the new ones, and it is never empty or mixed.

resume.cache describes the old rows. The replacement removes it.
"""

from pathlib import Path
from typing import NamedTuple

from manycall.errors import StorageError, UsageError
from manycall.ids import IdTable, decode_row_id
from manycall.option_flags import option
from manycall.store.atomic_write import replace_file
from manycall.store.disk import Disk
from manycall.store.jsonl import decode_lines
from manycall.store.manifest import Manifest
from manycall.store.paths import rows_apart_path, run_folder_path
from manycall.store.resume_cache import CACHE
from manycall.store.row_layout import RowLayout


class OutputPaths(NamedTuple):
    """The files that depend on how rows are decided. The journal and the timeline do not."""

    rows: Path
    rejected: Path
    failures: Path
    manifest: Path

    def mark_complete(self, disk: Disk) -> None:
        """Record that the files of a session are complete and replace those of the output."""
        replace_file(_marker(self), [], disk)


def output_paths(out: Path, keeps_rows_apart: bool = False) -> OutputPaths:
    """Return the files of an output, whose rows are in the output itself or apart from it in the run folder."""
    folder = run_folder_path(out)
    rows = rows_apart_path(out) if keeps_rows_apart else out
    return OutputPaths(rows, folder / "rejected.jsonl", folder / "failures.jsonl", folder / "manifest.json")


def staged_paths(out: Path) -> OutputPaths:
    """Return the files of a session that decides the rows of the output again."""
    folder = run_folder_path(out)
    names = ("rows.jsonl", "rejected.jsonl", "failures.jsonl", "manifest.json")
    return OutputPaths(*(folder / f"staged-{name}" for name in names))


def _marker(staged: OutputPaths) -> Path:
    return staged.manifest.with_name("staged-complete")


def stage_output(out: Path, manifest: Manifest, disk: Disk) -> OutputPaths:
    """Return the files of a session that decides all rows again, and let its manifest continue a killed one.

    If the killed one had other settings, its files are removed. They contain nothing that was paid for.

    Raises:
        UsageError: the output was not created by manycall.
    """
    staged, old = staged_paths(out), Manifest.load(output_paths(out).manifest, disk)
    if old is None:
        raise UsageError(f"{option('from_', out)}: {out} has no run folder with answers.")
    manifest.follow(old, old.calls_from)
    killed = Manifest.load(staged.manifest, disk)
    if killed is not None and killed.has_settings_of(manifest):
        manifest.sessions[:0] = killed.sessions
    else:
        for path in staged:
            disk.remove(path)
        disk.sync_folder(run_folder_path(out))
    return staged


def replace_output(out: Path, manifest: Manifest, layout: RowLayout, disk: Disk) -> None:
    """Replace the files of an output by the staged ones, which are closed and complete.

    Raises:
        StorageError: the output has rows that were not decided again.
    """
    staged, current = staged_paths(out), output_paths(out)
    _check_all_rows(out, staged, layout, disk)
    old = Manifest.load(current.manifest, disk)
    manifest.sessions[:0] = old.sessions if old is not None else []
    manifest.write(staged.manifest, disk)
    staged.mark_complete(disk)
    finish_replacement(out, disk)


def finish_replacement(out: Path, disk: Disk) -> None:
    """Rename the staged files of an output, if they are complete. May be repeated."""
    staged, folder = staged_paths(out), run_folder_path(out)
    if not disk.exists(_marker(staged)):
        return
    disk.remove(folder / CACHE)  # durable before the marker is removed, and no session reads the cache until then
    for new, path in zip(staged, output_paths(out), strict=True):
        if disk.exists(new):
            disk.replace(new, path)
    disk.sync_folder(out.parent)
    disk.sync_folder(folder)
    disk.remove(_marker(staged))
    disk.sync_folder(folder)  # before another session can stage files that are not complete


def _check_all_rows(out: Path, staged: OutputPaths, layout: RowLayout, disk: Disk) -> None:
    decided = IdTable()
    for row in layout.done_rows(staged.rows, out, disk):
        decided.add_done(row.row_id)
    for path in (staged.rejected, staged.failures):
        for _, _, name in decode_lines(path, decode_row_id, out, disk):
            decided.add_done(name)
    if missing := sum(not decided.state(row.row_id) for row in layout.done_rows(out, out, disk)):
        raise StorageError(
            f"{out} is unchanged: {missing:,} of its rows are not in the input of this run and would be lost. Use "
            f"the whole input, or another {option('out')} with {option('from_', out)}."
        )

"""A new output that takes over the journaled calls of another one (`from_`)."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.journal import RESCUED
from manycall.store.jsonl import read_lines
from manycall.store.manifest import Manifest
from manycall.store.paths import run_folder_path
from manycall.store.segment_fold import decode_journals
from manycall.store.staged_output import output_paths


def take_over_calls(out: Path, earlier: Path, manifest: Manifest, disk: Disk) -> None:
    """Copy the journal of an earlier output to a new one, before its manifest is written. Then it is complete.

    The copy costs disk space, but the new output can be moved and the earlier one deleted.

    Raises:
        UsageError: the earlier output was not created by manycall, or the new one was begun without its calls or with
            those of another one.
    """
    old, mine = Manifest.load(output_paths(earlier).manifest), Manifest.load(output_paths(out).manifest, disk)
    if old is None:
        raise UsageError(f"{option('from_', earlier)}: {earlier} is not an output of manycall with a run folder.")
    if mine is not None and mine.calls_from:
        if not _is_same_output(mine.calls_from, earlier):
            raise UsageError(
                f"{out} has taken over the answers of {mine.calls_from}. Omit {option('from_', earlier)} to resume, or "
                f"use another {option('out')}."
            )
        return
    journal = run_folder_path(out) / "calls.jsonl"
    if mine is not None and any(True for _ in read_lines(journal, disk)):
        raise UsageError(
            f"{out} has its answers already and was begun without {option('from_', earlier)}. Use another "
            f"{option('out')}."
        )
    manifest.follow(old, str(earlier))
    replace_file(journal, _whole_lines(run_folder_path(earlier), earlier), disk)


def _is_same_output(recorded: str, earlier: Path) -> bool:
    """Return whether the recorded path means this output. If it leads nowhere now, their names are compared."""
    try:
        return Path(recorded).samefile(earlier)
    except OSError:  # called in another folder, or the folder was renamed
        return Path(recorded).name == earlier.name


def _whole_lines(folder: Path, earlier: Path) -> Iterator[bytes]:
    """Yield the lines of all journals, except torn ones and those that are being written."""
    journals = (line for _, _, line in decode_journals(folder, bytes, earlier))
    rescued = (line for _, line in read_lines(folder / RESCUED))
    return (line for line in chain(journals, rescued) if line.endswith(b"\n"))


def earlier_settings(out: Path, earlier: Path | None, disk: Disk = REAL_DISK) -> list[Fields]:
    """Return the settings with which the journaled calls of an output were made, the latest first."""
    loaded = [Manifest.load(output_paths(path).manifest, disk) for path in (earlier, out) if path is not None]
    found = [manifest for manifest in loaded if manifest is not None]
    return [settings for each in found for settings in (each.settings, *reversed(each.earlier_settings))]

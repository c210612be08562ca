"""The folders of segments: their numbers, names and locks.

A worker process writes into its own segment, `OUT.run/segments/000007`. Its number is used once: the counter in
`segments/last-number` is increased, and synced, before a segment is begun.
"""

from collections.abc import Iterable
from pathlib import Path

from manycall.errors import SegmentInUse
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.paths import run_folder_path

CALLS, ROWS, REJECTED, FAILURES, TIMELINE = (
    f"{name}.jsonl" for name in ("calls", "rows", "rejected", "failures", "timeline")
)
LOCK, SPARE, TAG = "lock", "spare", "rows-of"
ROW_FILES = (ROWS, REJECTED, FAILURES)


def segments_folder(run_folder: Path) -> Path:
    """Return the folder of the segments of a run."""
    return run_folder / "segments"


def segment_path(run_folder: Path, number: int) -> Path:
    """Return the folder of a segment."""
    return segments_folder(run_folder) / f"{number:06}"


def segment_numbers(run_folder: Path, disk: Disk = REAL_DISK) -> list[int]:
    """Return the numbers of the segments that exist, in ascending order."""
    folder = segments_folder(run_folder)
    if not disk.exists(folder):
        return []
    return sorted(int(path.name) for path in disk.list_files(folder) if path.name.isdecimal())


def journal_paths(run_folder: Path, disk: Disk = REAL_DISK) -> list[Path]:
    """Return the journals of a run that exist: calls.jsonl, and those of segments that are not folded yet."""
    segments = [segment_path(run_folder, number) for number in segment_numbers(run_folder, disk)]
    return [path for folder in (run_folder, *segments) if disk.exists(path := folder / CALLS)]


def take_number(run_folder: Path, disk: Disk = REAL_DISK) -> int:
    """Return the number of a new segment, which no segment of this run has had.

    Raises:
        OSError: the counter could not be written.
    """
    folder = segments_folder(run_folder)
    counter = folder / "last-number"
    make_folder(folder, disk)
    last = 0
    if disk.exists(counter):
        with disk.open_for_reading(counter) as file:
            content = file.read().strip()
        last = int(content) if content.isdigit() else 0
    number = max([last, *segment_numbers(run_folder, disk)]) + 1
    replace_file(counter, [b"%d\n" % number], disk)
    return number


def make_folder(folder: Path, disk: Disk) -> None:
    """Create a folder, whose parent exists, so that it survives a power cut."""
    if not disk.exists(folder):
        disk.make_folder(folder)
        disk.sync_folder(folder.parent)


def lock_holder_of(segment: Path, disk: Disk = REAL_DISK) -> str:
    """Return which process is writing a segment; "" if its worker has ended."""
    path = segment / LOCK
    if not disk.exists(path):
        return ""
    fd = disk.open(path)
    try:
        if disk.lock(fd):
            return ""
        return disk.read(fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
    finally:
        disk.close(fd)


def require_ended(out: Path, disk: Disk) -> None:
    """Check that the workers of all segments have ended.

    Raises:
        SegmentInUse: one of them has not.
    """
    run_folder = run_folder_path(out)
    for number in segment_numbers(run_folder, disk):
        if holder := lock_holder_of(segment_path(run_folder, number), disk):
            raise SegmentInUse(
                f"{out}: a worker of a killed run ({holder}) has calls in flight. Wait until it has ended, or stop it."
            )


def write_tag(segment: Path, tag: str, disk: Disk) -> None:
    """Record which rows a segment is for; nothing for those of an ordinary session, whose tag is ""."""
    if tag:
        replace_file(segment / TAG, [tag.encode()], disk)


def has_tag(segment: Path, tag: str, disk: Disk) -> bool:
    """Return whether a segment has the rows of sessions with this tag."""
    path = segment / TAG
    if not disk.exists(path):
        return not tag
    with disk.open_for_reading(path) as file:
        return file.read() == tag.encode()


def remove_files(segment: Path, names: Iterable[str], disk: Disk) -> None:
    """Remove files of a segment, so that they stay removed after a power cut."""
    for name in names:
        disk.remove(segment / name)
    disk.sync_folder(segment)


def remove_segment(segment: Path, disk: Disk) -> None:
    """Remove a segment that has been merged and folded; but keep lines that `manycall repair` has moved aside."""
    remove_files(segment, ROW_FILES, disk)  # before the tag, which says whether they may be merged
    torn = (f"{name}.torn" for name in (CALLS, *ROW_FILES, TIMELINE))
    remove_files(segment, (TIMELINE, SPARE, LOCK, TAG, *torn), disk)
    if not disk.list_files(segment):
        disk.remove_folder(segment)
        disk.sync_folder(segment.parent)

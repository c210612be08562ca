"""What happens to the files of an earlier run of the same output: they are resumed, refused or set aside."""

from pathlib import Path

from manycall.errors import SettingsMismatch
from manycall.option_flags import option
from manycall.store.disk import Disk
from manycall.store.jsonl import read_lines
from manycall.store.manifest import Manifest
from manycall.store.paths import damaged_path, run_folder_path


def set_aside(out: Path, disk: Disk) -> None:
    """Rename an output and its run folder to `<out>.old` (`.old2`, ...). Files with billed calls are never deleted."""
    folder = run_folder_path(out)
    if not disk.exists(out) and not disk.exists(folder / "manifest.json"):
        return
    tails = (".old" if n == 1 else f".old{n}" for n in range(1, 1_000_000))
    names = (out.with_name(out.name + tail) for tail in tails)
    aside = next(a for a in names if not disk.exists(a) and not disk.exists(run_folder_path(a)))
    kept = run_folder_path(aside)
    disk.make_folder(kept)
    if disk.exists(out):
        disk.replace(out, aside)
    for path in disk.list_files(folder):
        if path.name != "lock":
            disk.replace(path, kept / path.name)
    disk.sync_folder(kept)
    disk.sync_folder(out.parent)  # makes the new name of the folder durable


def resume_or_refuse(out: Path, manifest: Manifest, disk: Disk) -> None:
    """Let a manifest continue the sessions of the one on disk, if there is one.

    Raises:
        SettingsMismatch: the output was created with other settings, or not by manycall.
    """
    path = run_folder_path(out) / "manifest.json"
    old = Manifest.load(path, disk)
    if old is not None and _has_answers(out, disk):
        manifest.resume_from(old, out)
    elif old is None and _has_lines(out, disk) and not disk.exists(damaged_path(path)):
        raise SettingsMismatch(
            f"{out} already exists and was not created by manycall. Use another {option('out')}, or "
            f"{option('overwrite', True)} to start over (the file is moved to {out.name}.old)."
        )


def _has_answers(out: Path, disk: Disk) -> bool:
    """Return whether any call was answered. If not (for example, a misspelled model), settings may change."""
    folder = run_folder_path(out)
    return any(_has_lines(path, disk) for path in (out, folder / "calls.jsonl", folder / "rescued.jsonl"))


def _has_lines(path: Path, disk: Disk) -> bool:
    return any(True for _ in read_lines(path, disk))

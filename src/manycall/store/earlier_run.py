"""What happens to the files of an earlier run of the same output: they are resumed, refused or set aside."""

from pathlib import Path

from manycall.errors import SettingsMismatch, UsageError
from manycall.option_flags import option
from manycall.store.disk import Disk
from manycall.store.jsonl import read_lines
from manycall.store.manifest import Manifest
from manycall.store.paths import damaged_path, rows_apart_path, run_folder_path
from manycall.store.retried_rows import require_larger_max_tokens, without_max_tokens


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


def resume_or_refuse(out: Path, manifest: Manifest, disk: Disk, retries_truncated: bool) -> None:
    """Let a manifest continue the sessions of the one on disk, if there is one.

    Args:
        retries_truncated: truncated rows are asked for again, with a larger limit on the length of an answer.

    Raises:
        SettingsMismatch: the output was created with other settings, or not by manycall.
        UsageError: there are no rows to ask for again, or the limit is not larger.
    """
    path = run_folder_path(out) / "manifest.json"
    old = Manifest.load(path, disk)
    if old is not None and _has_answers(out, disk):
        if retries_truncated:
            require_larger_max_tokens(out, old.settings, manifest.settings)
        manifest.resume_from(old, out, without_max_tokens if retries_truncated else dict)
    elif retries_truncated:
        raise UsageError(f"{out} has no rows yet, so {option('retry', 'truncated')} has nothing to retry.")
    elif old is None and _has_lines(out, disk) and not disk.exists(damaged_path(path)):
        raise SettingsMismatch(
            f"{out} already exists and was not created by manycall. Use another {option('out')}, or "
            f"{option('overwrite', True)} to start over (the file is moved to {out.name}.old)."
        )


def _has_answers(out: Path, disk: Disk) -> bool:
    """Return whether any call was answered. If not (for example, a misspelled model), settings may change."""
    folder = run_folder_path(out)
    return any(
        _has_lines(path, disk) for path in (out, rows_apart_path(out), folder / "calls.jsonl", folder / "rescued.jsonl")
    )


def _has_lines(path: Path, disk: Disk) -> bool:
    return any(True for _ in read_lines(path, disk))

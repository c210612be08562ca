"""Names and locations of the files of a run."""

import os
from collections.abc import Iterable
from pathlib import Path

from manycall.errors import UsageError
from manycall.store.manifest import real_output


def run_folder_path(out: Path) -> Path:
    """Return the run folder of an output, which contains the manifest, the journal and the other files of the run.

    Raises:
        UsageError: the path names no file, like `.` or `/`.
    """
    real = real_output(out)
    if not real.name:
        raise UsageError(f"{out} is a folder. Pass an output.")
    return real.with_name(real.name + ".run")


def rows_apart_path(out: Path) -> Path:
    """Return the file in the run folder that contains the finished rows, if the output is made from them at the end."""
    return run_folder_path(out) / "rows.jsonl"


def finished_rows_path(out: Path) -> Path:
    """Return the file of JSON lines that contains the finished rows: the output, or the one in the run folder."""
    apart = rows_apart_path(out)
    return apart if apart.exists() else out


def damaged_path(path: Path) -> Path:
    """Return the file to which `manycall repair` moves the damaged lines of this file."""
    return path.with_name(path.name + ".damaged")


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/manycall, or ~/.cache/manycall if the variable is not set."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (Path.expanduser may raise)
    return Path(folder) / "manycall"


def check_writable(path: str | Path, reads: Iterable[Path] = ()) -> Path:
    """Return the path if it may be overwritten, and create its folder.

    Args:
        reads: the input files of the command.

    Raises:
        UsageError: the path is the output of a run, a file of a run, an input of the command or not a file name; or its
            folder cannot be created.
    """
    path = Path(path)
    if not path.name or path.is_dir():
        raise UsageError(f"{str(path)!r} is not the name of a file.")
    if reason := _overwrite_problem(path, reads):
        raise UsageError(f"{path} {reason} and cannot be overwritten. Choose another file name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot create its folder: {error.strerror}.") from None
    return path


def _overwrite_problem(path: Path, reads: Iterable[Path]) -> str:
    """Return why a path must not be overwritten; "" if it may be."""
    if run_folder_path(path).exists():
        return "is the output of a run"
    if path.resolve().parent.suffix == ".run":
        return "is a file of a run"
    is_read = path.exists() and any(each.exists() and path.samefile(each) for each in reads)
    return "is an input of this command" if is_read else ""

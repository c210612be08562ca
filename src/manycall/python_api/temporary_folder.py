"""The output of a job without `out=`: a temporary folder, removed with the objects that read it."""

import shutil
import tempfile
import weakref
from os import PathLike
from pathlib import Path
from typing import Any


class TemporaryFolder:
    """A folder that exists as long as this object, or the objects that it is kept for."""

    def __init__(self) -> None:
        self._path = Path(tempfile.mkdtemp(prefix="manycall-"))
        weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)

    def __repr__(self) -> str:
        return f"<TemporaryFolder {self._path}>"

    @property
    def rows(self) -> Path:
        """The output file."""
        return self._path / "rows.jsonl"

    def keep_for(self, owner: Any) -> None:
        """Keep the folder at least as long as this object."""
        weakref.finalize(owner, _release, self)


def _release(folder: TemporaryFolder) -> None:
    """Drop a reference to the folder: the caller does so with its argument."""


def output_path(out: str | PathLike[str] | None) -> tuple[str | PathLike[str], TemporaryFolder | None]:
    """Return the path of a job's output, and its folder if the user gave none."""
    if out is not None:
        return out, None
    folder = TemporaryFolder()
    return folder.rows, folder

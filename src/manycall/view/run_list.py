"""Find the runs below the folders that the user named. Runs are known by an opaque id, never by a path."""

import os
import shlex
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple

from manycall.errors import UsageError
from manycall.evals.lm_eval.samples import is_lm_eval_samples
from manycall.store.paths import run_folder_path
from manycall.view.replies import ViewRefused, plain

MAX_DEPTH = 4
"""How deep folders are searched below the named one."""
MAX_RUNS = 10_000
RUN_SUFFIX = ".run"
RunKind = Literal["run", "lm-eval", "file"]
FILES = {
    "failures": "failures.jsonl",
    "rejected": "rejected.jsonl",
    "calls": "calls.jsonl",
    "timeline": "timeline.jsonl",
    "manifest": "manifest.json",
}
"""The words that name the files of a run folder in a request. `out` is the output itself."""


class FoundRun(NamedTuple):
    """An output, or any other JSONL file.

    Attributes:
        id: hash of the resolved path, so that links stay valid when the run is started over.
        name: path relative to the named folder, for display.
        kind: `run` has a run folder, `lm-eval` is a samples file of lm-eval.
        argument: what a command in a shell calls it, with quotes if it needs them.
    """

    id: str
    path: Path
    name: str
    kind: RunKind
    argument: str

    @property
    def folder(self) -> Path:
        """The run folder, which may not exist."""
        return run_folder_path(self.path)

    def file(self, word: str) -> Path:
        """Return the path of one of the run's files.

        Raises:
            ViewRefused: there is no such file.
        """
        if word == "out":
            return self.path
        if word in FILES and self.kind == "run":
            return self.folder / FILES[word]
        known = ", ".join(["out", *FILES] if self.kind == "run" else ["out"])
        raise ViewRefused(404, f"This run has no file {word!r}.", f"Choose one of: {known}.")


class RunList:
    """The runs below some files and folders.

    Args:
        paths: files and folders that the user named.
        start: the folder in which the user enters commands; None: commands on the page have the displayed names.

    Raises:
        UsageError: a path does not exist.
    """

    def __init__(self, paths: Iterable[Path], start: Path | None = None) -> None:
        self._start = start
        self._paths = [Path(os.path.realpath(path)) for path in paths]
        if missing := next((path for path in self._paths if not _exists(path)), None):
            raise UsageError(f"{missing}: no such file, folder or run.")
        self._found: dict[str, FoundRun] = {}
        self.is_complete = True
        self.scan()

    @property
    def folder(self) -> str:
        """The paths that the user named, for display."""
        return plain(", ".join(map(str, self._paths)))

    def scan(self) -> list[FoundRun]:
        """Search again and return all runs."""
        found = dict[str, FoundRun]()
        self.is_complete = True
        for run in self._runs():
            if len(found) == MAX_RUNS:
                self.is_complete = False
                break
            found.setdefault(run.id, run)
        self._found = found
        return list(found.values())

    def find(self, run_id: str) -> FoundRun:
        """Return a run.

        Raises:
            ViewRefused: there is no run with this id.
        """
        if run_id not in self._found:
            self.scan()
        if run_id not in self._found:
            raise ViewRefused(404, "There is no such run.", "It may have been moved. Go back to the list of runs.")
        return self._found[run_id]

    def _runs(self) -> Iterator[FoundRun]:
        for path in self._paths:
            if path.is_dir() and path.suffix != RUN_SUFFIX:
                for each in _outputs(path, MAX_DEPTH):
                    run = found_run(each, str(each.relative_to(path)), self._start)
                    if run.kind == "run" or each.is_file():  # a folder of another program may end in .run
                        yield run
            else:
                out = path.with_suffix("") if path.is_dir() else path
                yield found_run(out, out.name, self._start)


def found_run(path: Path, name: str, start: Path | None) -> FoundRun:
    """Return a file as a run."""
    kind: RunKind = "file"
    if (run_folder_path(path) / FILES["manifest"]).is_file():
        kind = "run"
    elif is_lm_eval_samples(path):
        kind = "lm-eval"
    argument = name if start is None else path.relative_to(start) if path.is_relative_to(start) else path
    digest = blake2b(os.fsencode(path), digest_size=8).hexdigest()
    return FoundRun(digest, path, plain(name), kind, shlex.quote(plain(str(argument))))


def _exists(path: Path) -> bool:
    return path.exists() or run_folder_path(path).is_dir()


def _outputs(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the outputs and the JSONL files in a folder and below it. Hidden folders and links are not followed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    names = {entry.name for entry in found}
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if entry.name.endswith(RUN_SUFFIX):
                yield folder / entry.name.removesuffix(RUN_SUFFIX)
            elif depth > 0 and not entry.name.startswith("."):
                yield from _outputs(folder / entry.name, depth - 1)
        elif (
            entry.name.endswith(".jsonl")
            and entry.name + RUN_SUFFIX not in names
            and entry.is_file(follow_symlinks=False)
        ):
            yield folder / entry.name

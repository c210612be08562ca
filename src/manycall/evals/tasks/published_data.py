"""Rows of a benchmark: its published files, a local copy of them, or made-up rows in the same form.

The made-up rows are in the package (`samples/`), so that a task can be tried without a network. They are used with
`data="sample"` and with the simulated endpoint. Their score says nothing about a model.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from manycall.data.row_files import LocatedRow, read_rows
from manycall.errors import UsageError
from manycall.evals.tasks.download import checksum
from manycall.evals.tasks.extras import require_extra
from manycall.evals.tasks.fewshot import with_num_fewshot
from manycall.evals.tasks.hub_files import PinnedFile
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.records import Fields
from manycall.render import as_text

SAMPLE = "sample"
"""Value of `data` for the made-up rows."""
SAMPLE_SETTING = "made_up_rows"
"""Name of the setting that is true in the manifest of a run over made-up rows."""
SAMPLES_FOLDER = Path(__file__).parent / "samples"


class PublishedData(msgspec.Struct, frozen=True):
    """Loader of a task (`Task.loader`) whose rows are in published files.

    Attributes:
        files: the published files, all of which are read.
        convert: function of (row of a file, name of the file without its suffix) that returns the row of the task; None
            for a row that is left out. It raises LookupError, TypeError or ValueError for a row in another form.
        sample: name of a file of made-up rows in `samples/`, in the published form; "": there is none.
        read: reader of a file; yields (location, row) pairs.
        suffixes: suffixes of the files that are read if `data` is a folder.
        extra: the optional dependencies without which no answer can be scored; "": none.
        fewshot_files: the published files with the few-shot examples, if they are not in the prompt of the task.
        fewshot_sample: the made-up examples: a file or a folder in `samples/`.
        passed_as: the option with which the user passes local copies of `files`.
    """

    files: Sequence[PinnedFile]
    convert: Callable[[Fields, str], Fields | None]
    sample: str = ""
    read: Callable[[Path], Iterator[LocatedRow]] = read_rows
    suffixes: Sequence[str] = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
    extra: str = ""
    fewshot_files: Sequence[PinnedFile] = ()
    fewshot_sample: str = ""
    passed_as: str = "data"

    @property
    def is_verified(self) -> bool:
        """Whether the checksums of all published files are known, so that every download is compared with them."""
        return all(file.sha256 for file in (*self.files, *self.fewshot_files))

    def __call__(
        self,
        task: Task,
        data: str | Path | None = None,
        fewshot_data: str | Path | None = None,
        num_fewshot: int | None = None,
    ) -> Task:
        """Return the task with its rows.

        Raises:
            UsageError: a file cannot be downloaded or read, or a row is not in the published form.
        """
        if fewshot_data is not None:
            raise UsageError(f"{task.name} does not support {option('fewshot_data')}.")
        return with_num_fewshot(self.with_rows(task, data), num_fewshot)

    def with_rows(self, task: Task, data: str | Path | None) -> Task:
        """Return the task with the rows of `data` and their checksum in its settings."""
        require_extra(self.extra, task.name)
        rows = with_row_ids(self.rows(self.paths(data)), task.subtask)
        if not rows:
            raise UsageError(f"{task.name}: {data} contains no rows.")
        made_up = {SAMPLE_SETTING: True} if is_sample(data) else {}
        return replace(task, rows=rows, identity={**task.identity, "data": checksum(rows), **made_up})

    def paths(self, data: str | Path | None) -> list[Path]:
        """Return the files to read.

        Args:
            data: a local file, or a folder of files; None: the published files, downloaded if needed; SAMPLE: the
                made-up rows.
        """
        if data is None:
            return [file.fetch(passed_as=self.passed_as) for file in self.files]
        if is_sample(data):
            if not self.sample:
                raise UsageError(f"There are no made-up rows for this task. Pass a file with {option('data')}.")
            return [SAMPLES_FOLDER / self.sample]
        path = Path(data)
        if not path.is_dir():
            return [path]
        if found := sorted(each for each in path.iterdir() if each.suffix.lower() in self.suffixes):
            return found
        raise UsageError(f"{path} contains no file with one of the suffixes {', '.join(self.suffixes)}.")

    def fewshot_rows(self, data: str | Path | None, fewshot_data: str | Path | None) -> Iterator[Fields]:
        """Return the rows with the few-shot examples: made-up ones, if `data` means the made-up rows.

        Raises:
            UsageError: a file cannot be downloaded or read, or a row is not in the published form.
        """
        examples = replace(self, files=self.fewshot_files, sample=self.fewshot_sample, passed_as="fewshot_data")
        return examples.rows(examples.paths(SAMPLE if fewshot_data is None and is_sample(data) else fewshot_data))

    def rows(self, paths: Sequence[Path]) -> Iterator[Fields]:
        """Yield the rows of the task that are in these files.

        Raises:
            UsageError: a file cannot be read, or a row is not in the published form.
        """
        for path in paths:
            for where, fields in self.read(path):
                try:
                    row = self.convert(fields, path.stem)
                except (LookupError, TypeError, ValueError) as error:
                    missing = f"missing field {error}" if isinstance(error, KeyError) else str(error)
                    raise UsageError(
                        f"{path}, {where}: {missing}. Expected a row in the published form of the benchmark. "
                        f"The row's fields: {', '.join(map(str, fields))}."
                    ) from None
                if row is not None:
                    yield row


def with_row_ids(rows: Iterator[Fields], subtask: str) -> list[Fields]:
    """Return rows with an id: their own; otherwise their number, after the name of their subtask if they have one."""
    counters: dict[Any, Iterator[int]] = {}
    numbered = []
    for row in rows:
        name = as_text(row[subtask]) if subtask else ""
        number = next(counters.setdefault(name, count()))
        numbered.append({"id": f"{name}-{number}" if name else str(number), **row})
    return numbered


def is_sample(data: str | Path | None) -> bool:
    """Return whether `data` means the made-up rows. A file of that name has priority."""
    return data is not None and str(data) == SAMPLE and not Path(data).exists()


def has_sample(task: Task) -> bool:
    """Return whether there are made-up rows for a task."""
    return isinstance(task.loader, PublishedData) and bool(task.loader.sample)

"""Benchmarks with subjects, and with few-shot examples that are the first ones of the subject of each question."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from manycall.data.row_files import LocatedRow, read_rows
from manycall.errors import UsageError
from manycall.evals.tasks.download import checksum
from manycall.evals.tasks.fewshot import record_num_fewshot
from manycall.evals.tasks.published_data import SAMPLES_FOLDER, PublishedData, is_sample, with_row_ids
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.records import Fields, Messages

SPLIT_FOLDERS = frozenset({"dev", "test", "train", "val", "validation"})
"""Names of folders that hold questions of different purposes. A run takes the questions of one of them."""
Shot = Callable[[Fields], tuple[str, str]]
"""Returns the user message and the assistant message of a few-shot example."""


class SubjectData(PublishedData, frozen=True, kw_only=True):
    """Loader of a task with subjects (`Task.subtask`), from one file per subject or from one file for all.

    Attributes:
        source: what to download, if there are no `files` because the license does not allow it to be automatic.
        questions_folder: the folder in `source` with the questions that reports use. The examples are in `dev`.
        make_shot: makes the few-shot examples; None: the task has none.
    """

    source: str = ""
    questions_folder: str = ""
    make_shot: Shot | None = None

    def __call__(
        self,
        task: Task,
        data: str | Path | None = None,
        fewshot_data: str | Path | None = None,
        num_fewshot: int | None = None,
    ) -> Task:
        """Return the task with its rows and few-shot examples.

        Raises:
            UsageError: a file is missing or not in the published form, or a subject has too few examples.
        """
        count = (task.num_fewshot or 0) if num_fewshot is None else num_fewshot
        if self.make_shot is None or not count:
            loaded = super().__call__(task, data, fewshot_data, None if self.make_shot else num_fewshot)
            return record_num_fewshot(loaded, 0, task.num_fewshot) if self.make_shot else loaded
        loaded = self.with_rows(task, data)
        try:
            examples = with_row_ids(self.fewshot_rows(data, fewshot_data), task.subtask)
        except UsageError as error:
            raise UsageError(f"{error} {option('num_fewshot', 0)} leaves out the few-shot examples.") from None
        return with_subject_shots(loaded, examples, count, self.make_shot)

    def paths(self, data: str | Path | None) -> list[Path]:
        """Return the files to read: those of a folder, or those in its folders if it has one for each subject.

        Raises:
            UsageError: there are none, or those of several splits.
        """
        if data is None and not self.files:
            options = option("data", f"FOLDER/{self.questions_folder}")
            options += f" and {option('fewshot_data', 'FOLDER/dev')}" if self.make_shot else ""
            raise UsageError(f"Download {self.source}, unpack it into a folder, and pass {options}.")
        if is_sample(data):
            data = SAMPLES_FOLDER / self.sample
        if data is not None and Path(data).is_dir():
            nested = (path for path in Path(data).glob("*/*") if path.suffix.lower() in self.suffixes)
            if found := sorted(nested):
                if splits := SPLIT_FOLDERS.intersection(path.parent.name for path in found):
                    raise UsageError(f"{data} has the folders {', '.join(sorted(splits))}. Pass one of them.")
                return found
        return super().paths(data)


def read_with_folder(path: Path) -> Iterator[LocatedRow]:
    """Yield the rows of a file with the name of its folder in the field `subject`, if they have no such field."""
    for where, fields in read_rows(path):
        yield where, {"subject": path.parent.name, **fields}


def with_subject_shots(task: Task, examples: Sequence[Fields], count: int, make_shot: Shot) -> Task:
    """Return the task with `count` examples before each question: the first ones of its subject, in file order.

    Args:
        task: a task with rows and with its protocol's `num_fewshot`.

    Raises:
        UsageError: a subject has fewer examples.
    """
    subject = task.subtask
    shots: defaultdict[str, Messages] = defaultdict(list)
    for fields in examples:
        if len(shots[fields[subject]]) < 2 * count:
            question, answer = make_shot(fields)
            shots[fields[subject]] += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    assert isinstance(task.rows, list)
    subjects = [row[subject] for row in task.rows]
    if missing := next((each for each in subjects if len(shots[each]) < 2 * count), None):
        raise UsageError(f"{task.name}: there are fewer than {count} few-shot examples for the subject {missing}.")
    task = record_num_fewshot(task, count, task.num_fewshot)
    identity = {**task.identity, "fewshot": checksum(list(examples))}
    return replace(task, fewshot=lambda index: shots[subjects[index]], identity=identity)

"""Load DROP: the questions, and for each of them examples from the training set."""

import gzip
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from manycall.data.row_files import LocatedRow, read_rows
from manycall.errors import UsageError
from manycall.evals.tasks.download import checksum
from manycall.evals.tasks.fewshot import record_num_fewshot
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.records import Fields

SEED = 42


class DropData(PublishedData, frozen=True, kw_only=True):
    """Loader of the questions. The task's `num_fewshot` is the number of examples in a prompt.

    Attributes:
        make_prompt: function of (row, examples) that returns the user message.
    """

    make_prompt: Callable[[Fields, Sequence[Fields]], str]

    def __call__(
        self,
        task: Task,
        data: str | Path | None = None,
        fewshot_data: str | Path | None = None,
        num_fewshot: int | None = None,
    ) -> Task:
        """Return the task with its rows and with examples that are drawn in the order of the rows.

        Raises:
            UsageError: a file cannot be downloaded or read, or there are too few examples.
        """
        task = self.with_rows(task, data)
        count = (task.num_fewshot or 0) if num_fewshot is None else num_fewshot
        pool = list(self.fewshot_rows(data, fewshot_data)) if count else []
        if len(pool) < count:
            raise UsageError(
                f"{task.name} needs {count} examples, but the file has {len(pool)}. "
                f"Pass a larger one with {option('fewshot_data')}."
            )
        assert isinstance(task.rows, list)
        rng = random.Random(SEED)
        shots = {row["id"]: rng.sample(range(len(pool)), count) for row in task.rows}
        task = replace(
            task,
            prompt=lambda fields: self.make_prompt(fields, [pool[number] for number in shots[fields["id"]]]),
            identity={**task.identity, "fewshot": checksum(pool)},
        )
        return record_num_fewshot(task, count, task.num_fewshot)


def read_gzip(path: Path) -> Iterator[LocatedRow]:
    """Yield the rows of a file of JSON lines, compressed or not.

    Raises:
        UsageError: the file cannot be read.
    """
    if path.suffix != ".gz":
        yield from read_rows(path)
        return
    try:
        with gzip.open(path) as lines:
            for number, line in enumerate(lines, 1):
                yield f"line {number}", msgspec.json.decode(line, type=dict[str, Any])
    except (OSError, EOFError, msgspec.DecodeError) as error:
        raise UsageError(f"{path}: {error}") from None

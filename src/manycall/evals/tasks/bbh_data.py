"""Load BIG-Bench Hard: the questions, and each subtask's description and few-shot examples."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from manycall.data.row_files import LocatedRow
from manycall.errors import UsageError
from manycall.evals.scoring.bbh_answers import READERS
from manycall.evals.tasks.bbh_files import PROMPT_FILES, PROMPTS, QUESTION_FILES, QUESTIONS
from manycall.evals.tasks.download import checksum
from manycall.evals.tasks.fewshot import with_num_fewshot
from manycall.evals.tasks.published_data import SAMPLES_FOLDER, PublishedData, is_sample
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.records import Fields, Messages

SAMPLE_FOLDER = "bbh"
_SHOT = re.compile(r"\nQ: (.*?)\nA: Let's think step by step\.\s(.*?)(?=\n\nQ: |\Z)", re.DOTALL)


class BbhData(PublishedData, frozen=True):
    """Loader of BIG-Bench Hard. `data` is a copy of the repository, with the folders `bbh` and `cot-prompts`."""

    def __call__(
        self,
        task: Task,
        data: str | Path | None = None,
        fewshot_data: str | Path | None = None,
        num_fewshot: int | None = None,
    ) -> Task:
        """Return the task with its rows. A task with `num_fewshot` also gets the examples of their subtasks.

        Raises:
            UsageError: a file cannot be downloaded or read, or is not in the published form.
        """
        if fewshot_data is not None:
            raise UsageError(f"{task.name} does not support {option('fewshot_data')}.")
        task = self.with_rows(task, data)
        assert isinstance(task.rows, list)
        folder = SAMPLES_FOLDER / SAMPLE_FOLDER if is_sample(data) else None if data is None else Path(data)
        subtasks = [row["subtask"] for row in task.rows]
        prompts = {name: read_prompt(name, folder) for name in dict.fromkeys(subtasks)}
        rows = [{**row, "description": prompts[row["subtask"]][0]} for row in task.rows]
        identity = {**task.identity, "prompts": checksum([{name: prompts[name]} for name in prompts])}
        task = replace(task, rows=rows, identity=identity)
        if task.num_fewshot is not None:
            task = replace(task, fewshot=lambda index: prompts[subtasks[index]][1])
        return with_num_fewshot(task, num_fewshot)

    def paths(self, data: str | Path | None) -> list[Path]:
        """Return the files of questions."""
        return super().paths(data if data is None or is_sample(data) else Path(data) / QUESTIONS)


def examples(path: Path) -> Iterator[LocatedRow]:
    """Yield the rows of a file of questions, or of the files in a folder.

    Raises:
        UsageError: the file is not in the published form.
    """
    try:
        for number, row in enumerate(json.loads(path.read_bytes())["examples"], 1):
            yield f"example {number}", {"subtask": path.stem, **row}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{path}: expected a file of BIG-Bench Hard ({type(error).__name__}: {error}).") from None


def convert(fields: Fields, _: str) -> Fields:
    """Return the row of a published question."""
    if fields["subtask"] not in READERS:
        raise ValueError(f"{fields['subtask']} is not a subtask of BIG-Bench Hard")
    return {"subtask": fields["subtask"], "question": str(fields["input"]), "answer": str(fields["target"])}


def read_prompt(subtask: str, folder: Path | None) -> tuple[str, Messages]:
    """Return the description of a subtask and its few-shot examples.

    Args:
        subtask: its name.
        folder: a copy of the repository; None: the file is downloaded.

    Raises:
        UsageError: the file cannot be downloaded or read.
    """
    path = PROMPT_FILES[subtask].fetch() if folder is None else folder / PROMPTS / f"{subtask}.txt"
    try:
        text = path.read_text(encoding="utf-8").partition("-----\n")[2]
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    turns: Messages = []
    for question, answer in _SHOT.findall(text):
        asked = f"Q: {question}\nA: Let's think step by step.\n"
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return text.partition("\n\nQ: ")[0], turns


BBH_DATA = BbhData(QUESTION_FILES, convert, f"{SAMPLE_FOLDER}/questions.json", examples)

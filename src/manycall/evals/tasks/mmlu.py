"""MMLU: 57 subjects, four choices each (Hendrycks et al., 2021, arXiv:2009.03300), MIT. The model writes the letter.

The input files are from the authors' `data.tar`: `test/anatomy_test.csv`, `dev/anatomy_dev.csv`, without a header:

    What is the embryological origin of the hyoid bone?,The first pharyngeal arch,The first and second ...,...,D

The task reproduces the group `mmlu_generative` (version 3.0) of lm-evaluation-harness 0.4.13 in chat form: prompt,
system message, stop strings and filter. It has no few-shot examples by default, as in lm-eval. With `fewshot_data` it
uses the first five examples of each subject (lm-eval's `--num_fewshot 5`), or another number with `num_fewshot`. One
file corresponds to one task of lm-eval, for example `mmlu_anatomy_generative`. For several files, the mean equals the
mean of the group, and the standard error is that of all questions together.

A response must begin with the letter: "B" and "b." are right, "The answer is B" is not. To accept such answers, score
the output again with the scorer "choice".
"""

import csv
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from string import punctuation

from msgspec.structs import replace

from manycall.data.row_files import LocatedRow
from manycall.errors import UsageError
from manycall.evals.scoring.text_answers import exact_match
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.choice_prompts import lettered, planted_letter
from manycall.evals.tasks.mmlu_subjects import MMLU_SUBJECTS
from manycall.evals.tasks.subject_shots import SubjectData
from manycall.evals.tasks.task import SubtaskGroup, Task
from manycall.option_flags import option
from manycall.records import Fields

CHOICES = "ABCD"
NUM_FEWSHOT = 5


def parse_letter(response: str) -> str:
    r"""Return the first line, without white space at both ends.

    lm-eval's filters `^(.*?)(?=\n|$)` and `^(.*?)\s*$` return the same, but the second one takes quadratic time for
    a long run of spaces.
    """
    return response.partition("\n")[0].strip()


class MmluData(SubjectData, frozen=True, kw_only=True):
    """Loader of MMLU. Few-shot examples are used only if a file with them is given."""

    def __call__(
        self,
        task: Task,
        data: str | Path | None = None,
        fewshot_data: str | Path | None = None,
        num_fewshot: int | None = None,
    ) -> Task:
        """Return the task with the questions of one subject or of a folder, and the first examples of each subject.

        Raises:
            UsageError: a file is missing or not in the published form, or a subject has too few examples.
        """
        count = NUM_FEWSHOT if num_fewshot is None and fewshot_data is not None else num_fewshot or 0
        if (count > 0) != (fewshot_data is not None):
            raise UsageError(
                f"{task.name}: {option('num_fewshot', count)} and {option('fewshot_data')} need each other. "
                f"Pass {option('fewshot_data', 'dev')} with 1 or more examples, and neither of them for none."
            )
        if not count:
            return self.with_rows(task, data)
        return super().__call__(replace(task, num_fewshot=NUM_FEWSHOT), data, fewshot_data, count)


def read_questions(path: Path) -> Iterator[LocatedRow]:
    """Yield the rows of a file in MMLU's format, whose name begins with the subject.

    Raises:
        UsageError: the file does not exist, or a line is not a question, four choices and a letter.
    """
    subject = re.sub(r"_(test|dev|val)$", "", path.stem)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            for number, cells in enumerate(reader):
                where = f"line {reader.line_num}"
                if len(cells) != 6 or cells[5].strip() not in [*CHOICES]:
                    raise UsageError(f"{path}, {where}: expected a question, four choices, and A, B, C or D.")
                question, *choices, answer = cells
                yield where, {
                    "id": f"{subject}-{number}", "subject": subject.replace("_", " "), "question": question,
                    "choices": choices, "answer": answer.strip(),
                }  # fmt: skip
    except FileNotFoundError:
        raise UsageError(f"{path}: file or folder not found.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}") from None


def question_text(fields: Fields) -> str:
    """Return the user message: the question and its choices."""
    return f"{fields['question'].strip()}\n{lettered(fields['choices'])}\nAnswer:"


TASK = Task(
    rows=(),
    prompt=question_text,
    extract={"get_response": parse_letter},
    scorer=partial(exact_match, ignore=(), drop=punctuation),
    name="mmlu_generative",
    system="The following are multiple choice questions (with answers) about {{ subject }}.\n\n",
    params={"max_tokens": 256, "temperature": 0, "stop": ["</s>", "\n"], "seed": 1234},
    body_format="lm-eval",
    is_fast=True,
    subtask="subject",
    groups=(
        *(
            SubtaskGroup(name, frozenset(subject.replace("_", " ") for subject in subjects))
            for name, subjects in MMLU_SUBJECTS.items()
        ),
        SubtaskGroup("mmlu_generative"),
    ),
    planted=planted_letter("{}"),
    loader=MmluData(
        files=(), convert=lambda fields, _: fields, sample="mmlu", read=read_questions, suffixes=(".csv",),
        source="the authors' data.tar", questions_folder="test",
        make_shot=lambda fields: (question_text(fields), fields["answer"]),
    ),
)  # fmt: skip
BENCHMARKS = (
    Benchmark(TASK, 14_042, LM_EVAL, "the authors' data.tar (--data)", version=3.0, subtask_name="mmlu_{}_generative"),
)

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
from typing import Any

from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.scoring.text_answers import exact_match
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.download import checksum
from manycall.evals.tasks.fewshot import record_num_fewshot
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.records import Messages

CHOICES = "ABCD"
NUM_FEWSHOT = 5


def parse_letter(response: str) -> str:
    r"""Return the first line, without white space at both ends.

    lm-eval's filters `^(.*?)(?=\n|$)` and `^(.*?)\s*$` return the same, but the second one takes quadratic time for
    a long run of spaces.
    """
    return response.partition("\n")[0].strip()


def load(
    task: Task,
    data: str | Path | None = None,
    fewshot_data: str | Path | None = None,
    num_fewshot: int | None = None,
) -> Task:
    """Return the task with the questions in the file of one subject, or in all `*.csv` files of a folder.

    `fewshot_data` is also a file or a folder.
    """
    if data is None:
        raise UsageError(
            f"{task.name} needs local files from the authors' data.tar. Pass {option('data', 'test')} (and optionally "
            f"{option('fewshot_data', 'dev')})."
        )
    count = NUM_FEWSHOT if num_fewshot is None and fewshot_data is not None else num_fewshot or 0
    if (count > 0) != (fewshot_data is not None):
        raise UsageError(
            f"{task.name}: {option('num_fewshot', count)} and {option('fewshot_data')} need each other. "
            f"Pass {option('fewshot_data', 'dev')} with 1 or more examples, and neither of them for none."
        )
    rows = list(questions(Path(data)))
    task = replace(task, rows=rows, identity={"data": checksum(rows)})
    if fewshot_data is None:
        return task
    task = record_num_fewshot(task, count, NUM_FEWSHOT)
    fewshot: dict[str, Messages] = {}
    examples = list(questions(Path(fewshot_data)))
    for row in examples:
        turns = fewshot.setdefault(row["subject"], [])
        if len(turns) < 2 * count:
            turns += [{"role": "user", "content": question_text(row)}, {"role": "assistant", "content": row["answer"]}]
    subjects = [row["subject"] for row in rows]
    if missing := next((name for name in subjects if len(fewshot.get(name, ())) < 2 * count), None):
        raise UsageError(f"{fewshot_data} has fewer than {count} examples for the subject {missing}.")
    return replace(
        task, fewshot=lambda index: fewshot[subjects[index]], identity={**task.identity, "fewshot": checksum(examples)}
    )


def questions(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file in MMLU's format, or of all files in a folder in the order of their names.

    Raises:
        UsageError: the file does not exist, or a line is not a question, four choices and a letter.
    """
    if not path.exists():
        raise UsageError(f"{path}: file or folder not found.")
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} contains no .csv files.")
    for file in files:
        subject = re.sub(r"_(test|dev|val)$", "", file.stem)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            try:
                for number, cells in enumerate(reader):
                    if len(cells) != 6 or cells[5].strip() not in [*CHOICES]:
                        raise UsageError(
                            f"{file}, line {reader.line_num}: expected a question, four choices, and A, B, C or D."
                        )
                    question, *choices, answer = cells
                    yield {
                        "id": f"{subject}-{number}", "subject": subject.replace("_", " "), "question": question,
                        "choices": choices, "answer": answer.strip(),
                    }  # fmt: skip
            except (csv.Error, UnicodeDecodeError) as error:
                raise UsageError(f"{file}, line {reader.line_num}: {error}") from None


def question_text(fields: dict[str, Any]) -> str:
    """Return the user message: the question and its choices."""
    choices = (f"{letter}. {text}" for letter, text in zip(CHOICES, fields["choices"], strict=True))
    return "\n".join([fields["question"].strip(), *choices, "Answer:"])


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
    loader=load,
)
BENCHMARKS = (Benchmark(TASK, 14_042, LM_EVAL, "the authors' data.tar (--data)", version=3.0),)

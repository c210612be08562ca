"""MMLU: 57 subjects, four choices each (Hendrycks et al., 2021, arXiv:2009.03300), MIT. The model writes the letter.

The files are those of the authors' `data.tar`: `test/anatomy_test.csv`, `dev/anatomy_dev.csv`, without a header:

    What is the embryological origin of the hyoid bone?,The first pharyngeal arch,The first and second ...,...,D

The protocol is that of lm-evaluation-harness 0.4.13, group `mmlu_generative` (version 3.0), in chat form: prompt,
system message, stop strings, filter; without shots, its default, or with the first five of `--shots` (its
`--num_fewshot 5`). One file is its task `mmlu_anatomy_generative`. Over several files the mean is that of its group,
and the standard error that of all questions together.

A model must begin with the letter: "B" and "b." are right, "The answer is B" is not; for that, score the same answers
again `--as choice`.
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
from manycall.evals.download import checksum
from manycall.evals.scorers import exact_match
from manycall.evals.tasks.task import Task
from manycall.records import Messages

CHOICES = "ABCD"
COUNT = 5


def read_letter(response: str) -> str:
    r"""Return the first line, without white space at its ends.

    lm-eval's filters `^(.*?)(?=\n|$)` and `^(.*?)\s*$` read the same; the second takes quadratic time over a long run
    of spaces.
    """
    return response.partition("\n")[0].strip()


def load(task: Task, data: str | Path | None = None, shots: str | Path | None = None) -> Task:
    """The task with the questions of one subject's file, or of all `*.csv` in a folder; shots likewise."""
    if data is None:
        raise UsageError(
            f"{task.name} needs its files: --data test (and --shots dev), folders of the authors' data.tar"
        )
    rows = list(questions(Path(data)))
    task = replace(task, rows=rows, identity={"data": checksum(rows)})
    if shots is None:
        return task
    solved: dict[str, Messages] = {}
    examples = list(questions(Path(shots)))
    for row in examples:
        turns = solved.setdefault(row["subject"], [])
        if len(turns) < 2 * COUNT:
            turns += [{"role": "user", "content": ask(row)}, {"role": "assistant", "content": row["answer"]}]
    subjects = [row["subject"] for row in rows]
    if missing := next((name for name in subjects if len(solved.get(name, ())) < 2 * COUNT), None):
        raise UsageError(f"{shots} has not {COUNT} examples for {missing}")
    return replace(
        task, shots=lambda index: solved[subjects[index]], identity={**task.identity, "shots": checksum(examples)}
    )


def questions(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file in MMLU's format, or of all in a folder, by name.

    Raises:
        UsageError: no such file, or a line that is not a question, four choices and a letter.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or folder")
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} holds no .csv")
    for file in files:
        subject = re.sub(r"_(test|dev|val)$", "", file.stem)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            try:
                for number, cells in enumerate(reader):
                    if len(cells) != 6 or cells[5].strip() not in [*CHOICES]:
                        raise UsageError(
                            f"{file}, line {reader.line_num}: an MMLU row is a question, four choices, and A, B, C or D"
                        )
                    question, *choices, answer = cells
                    yield {
                        "id": f"{subject}-{number}", "subject": subject.replace("_", " "), "question": question,
                        "choices": choices, "answer": answer.strip(),
                    }  # fmt: skip
            except (csv.Error, UnicodeDecodeError) as error:
                raise UsageError(f"{file}, line {reader.line_num}: {error}") from None


def ask(fields: dict[str, Any]) -> str:
    """The question and its choices."""
    choices = (f"{letter}. {text}" for letter, text in zip(CHOICES, fields["choices"], strict=True))
    return "\n".join([fields["question"].strip(), *choices, "Answer:"])


TASK = Task(
    rows=(),
    prompt=ask,
    extract={"get_response": read_letter},
    score=partial(exact_match, ignore=(), drop=punctuation),
    name="mmlu_generative",
    system="The following are multiple choice questions (with answers) about {{ subject }}.\n\n",
    params={"max_tokens": 256, "temperature": 0, "stop": ["</s>", "\n"], "seed": 1234},
    spelling="lm-eval",
    quick=True,
    load=load,
)

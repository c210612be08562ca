"""Rubrics of benchmarks whose answers a model grades: SimpleQA and Chinese SimpleQA.

The judge gets the grading prompt of the benchmark's authors and nothing else (simple-evals, MIT; evalscope,
Apache-2.0). It is asked for one letter: A is CORRECT, B INCORRECT, C NOT_ATTEMPTED. simple-evals takes the first A, B
or C anywhere in the reply, so a judge that writes the word is misread: "CORRECT" counts as C, "NOT_ATTEMPTED" as A.
Here the word counts as what it says, and the judge is asked again if its reply is neither a letter nor a word.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from manycall.data.prompt_template import PromptTemplate
from manycall.evals.planted_answers import write_answer_key
from manycall.evals.tasks.task import Task
from manycall.judging.verdict_format import VerdictFormat
from manycall.records import Fields, Messages
from manycall.store.output_reader import OutputReader

CORRECT, INCORRECT, NOT_ATTEMPTED = "CORRECT", "INCORRECT", "NOT_ATTEMPTED"
GRADES = {CORRECT: 1.0, INCORRECT: 0.0, NOT_ATTEMPTED: 0.0}
LETTERS = {"A": CORRECT, "B": INCORRECT, "C": NOT_ATTEMPTED}
_WORDS = {**{word: word for word in GRADES}, "NOT ATTEMPTED": NOT_ATTEMPTED, "正确": CORRECT, "错误": INCORRECT,
          "未尝试": NOT_ATTEMPTED}  # fmt: skip
_REPLY = re.compile(rf"(?:([ABC])\b)?[\s.:：、)）]*(?:【?({'|'.join(_WORDS)})】?)?[\s.。!]*")
_AROUND = " \t\r\n*_`'\"“”()（"
TEXTS_FOLDER = Path(__file__).parent / "rubric_texts"


class LetterFormat(VerdictFormat, frozen=True):
    """A verdict that is a letter, requested by the rubric itself."""

    @property
    def line(self) -> str:
        """The instruction for a second request."""
        return f"one letter: {', '.join(LETTERS)}."

    def add_instruction(self, messages: Messages) -> Messages:
        """Return the messages as they are: the rubric asks for the letter."""
        return messages

    def parse(self, reply: str) -> str:
        """Return the verdict in a reply that is a letter, a word such as CORRECT, or both.

        Raises:
            ValueError: the reply is something else, or its letter and its word differ.
        """
        match = _REPLY.fullmatch(reply.strip(_AROUND))
        letter, word = match.groups() if match else (None, None)
        found = {LETTERS[letter]} if letter else set()
        found |= {_WORDS[word]} if word else set()
        if len(found) != 1:
            raise ValueError("the reply must be one of the letters A, B and C")
        return found.pop()


class BuiltInRubric(msgspec.Struct, frozen=True):
    """Grading prompt of a benchmark. Its rows have `question`, `answer` and `response`.

    Attributes:
        name: name of the rubric and of its file in `rubric_texts/`.
        system: system message for the judge; None: none.
    """

    name: str
    system: str | None = None

    @property
    def text(self) -> str:
        """Return the template."""
        return (TEXTS_FOLDER / f"{self.name}.txt").read_text(encoding="utf-8").strip()


RUBRICS: Mapping[str, BuiltInRubric] = {
    "simpleqa": BuiltInRubric("simpleqa"),
    "chinese_simpleqa": BuiltInRubric(
        "chinese_simpleqa",
        "你是一个智能助手，请根据给定问题、标准答案和模型预测的答案来评估模型的回答是否正确。",
    ),
}
"""Built-in rubrics by name."""


def derived_scores(counts: Mapping[str, int]) -> list[tuple[str, float]]:
    """Return the numbers that SimpleQA reports in addition to the shares of its grades.

    Of c correct and i incorrect answers of n: "correct given attempted" is c / (c + i), and "F1" is the harmonic mean
    of that and c / n. Both are 0 if they are not defined.
    """
    correct, attempted, rows = counts[CORRECT], counts[CORRECT] + counts[INCORRECT], sum(counts.values())
    given_attempted = correct / attempted if attempted else 0.0
    f1 = 2 * correct / (attempted + rows) if correct else 0.0
    return [("correct given attempted", given_attempted), ("F1", f1)]


def planted_grades(rubric: BuiltInRubric, answers: Path | None) -> str:
    """Write an answer key for the simulated endpoint and return its path; "" if the answers are in no file.

    Its grades are A for a response that contains the right answer, and B for others.
    """
    if answers is None:
        return ""
    needed = PromptTemplate(rubric.text).required_fields
    rows = [row for _, row in OutputReader(answers).rows() if all(row.get(name) is not None for name in needed)]

    def grade(fields: Fields) -> tuple[str, str]:
        letter = "A" if str(fields["answer"]).casefold() in str(fields["response"]).casefold() else "B"
        return letter, letter

    task = Task(rows, rubric.text, str, lambda answer, target: 0.0, planted=grade)
    return write_answer_key(task, None, None)

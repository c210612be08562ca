"""Answers built to make a parser slow, and everything of ours that parses an answer."""

import re
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from time import process_time
from typing import Any

from manycall.data.answer_schema import AnswerSchema
from manycall.dataset.duplicates import Duplicates, NearDuplicates
from manycall.dataset.normalize import ngrams, words
from manycall.evals.scoring import minerva_answers
from manycall.evals.scoring.scorers import SCORERS
from manycall.evals.tasks.math500 import boxed_answer
from manycall.evals.tasks.published_data import has_sample
from manycall.evals.tasks.registry import BENCHMARKS, TASKS
from manycall.judging.verdict_format import PAIRWISE_LABELS, VerdictFormat, parse_number, scale_labels

LENGTH = 400_000
SLOW_SECONDS = 2.0
"""CPU time that no built-in parser may need for an answer of LENGTH. An ordinary answer takes microseconds."""

SAME_FILTERS = "platinum|aime2[56]|mgsm_(direct|en_cot)|mgsm_native_cot_(?!zh)|(gpqa_diamond|mmlu_redux|ceval|cmmlu)$"
"""Tasks with the filters of another one. Those of the math extra run in processes that can be killed."""

STARTS = {
    "marker": "#### ",
    "number": "#### 1",
    "answer": "The answer is ",
    "final answer": "The final answer is 1",
    "box": "\\boxed{",
    "minerva": "Final Answer: The final answer is $",
    "a word": "answer ",
    "verdict": "Verdict: 4",
    "scored": "Score: 4",
    "fence": "```json\n",
    "object": '{"a": ',
}
"""What may stand before a run of RUNS."""
RUNS = ("1", ",111", ".", " ", "\n", "_", "[")
PIECES = (
    *("1", "0", ",111", "1,111", "1-", "1.", ".", "-", "$", "#", " ", "\n", "\t", "\0", "A", "A ", "A\n", "A)\n"),
    *("_", "*", "`", "(", "[", "{", "}", '{"a":', "\\boxed{", "\\text{", "^{ ", "1 x 10^", "1e9", "answer ", "answer-"),
    *("sqrt[", "\\frac", "\\sqrt", "Final Answer: The final answer is"),
    *("option ", "verdict", "verdict ", "score:", "1-5 ", "/5 ", "of ", "满分 ", "选", "答案", "\n```", "٣", "３", "ß"),
    *("of 1 to ", "of 1 to 5 ", "of" + " " * 99, "out ", "of 1" + " " * 99),
    "1" + " " * 99,
    "\\text{" * 9 + "A",
)
SHAPE = AnswerSchema({"type": "object", "properties": {"a": {"type": "integer", "maximum": 5}}})


def hostile_answers(length: int) -> dict[str, str]:
    """Name -> an answer of about this length."""
    found = {f"{piece[:9]!r}": piece * (length // len(piece)) + "x" for piece in PIECES}
    found |= {
        f"{name}, {run!r}": start + run * (length // len(run)) + "x" for name, start in STARTS.items() for run in RUNS
    }
    return {**found, "different signs": "".join(map(chr, range(0x20A0, 0x20A0 + min(length, 0x9000))))}


def readers() -> dict[str, Callable[[str], object]]:
    """Name -> a function that parses an answer: each filter with its comparison, each verdict form, each step."""
    found: dict[str, Callable[[str], object]] = {}
    for name, task in TASKS.items():
        extra = BENCHMARKS[name].extra
        if extra == "math" or re.search(SAME_FILTERS, name) or (extra == "ifeval" and find_spec("langdetect") is None):
            continue
        row: dict[str, Any] = {"answer": "B" if "mmlu" in task.name else "#### 18"}
        if has_sample(task) and task.loader is not None:
            rows: Any = task.loader(task, "sample").rows
            row = rows[0]
        found[name] = lambda text, task=task, row=row: task.score_response(text, row)  # type: ignore[misc]
    for name, way in SCORERS.items():
        target = "B" if name in ("choice", "letter-logprob") else "18"
        found[f"--scorer {name}"] = lambda text, way=way, target=target: way.scorer(way.extract(text), target)  # type: ignore[misc]
    near = NearDuplicates(0.8)
    number = count()
    return {
        **found,
        "minerva_math500": minerva_answers.final_answer,
        "minerva_math500, normalised": minerva_answers.normalize_answer,
        "math500": boxed_answer,
        "judge, a scale": VerdictFormat(scale_labels("1-5")).parse,
        "judge, a pair": VerdictFormat(PAIRWISE_LABELS).parse,
        "the step judge": lambda text: parse_number(text, 1, 5),
        "the schema of an answer": SHAPE.parse,
        "duplicates": lambda text: Duplicates().add(text),
        "near duplicates": lambda text: near.find(str(next(number)), text),
        "n-grams": lambda text: list(ngrams(words(text), 13)),
    }


def seconds(reader: Callable[[str], object], answer: str) -> float:
    """CPU time of one reading. A ValueError is a result: the answer cannot be read."""
    began = process_time()
    with suppress(ValueError):
        reader(answer)
    return process_time() - began

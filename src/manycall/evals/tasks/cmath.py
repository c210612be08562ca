r"""CMATH: 1,098 Chinese word problems of grades 1 to 6 (Wei et al., 2023, arXiv:2306.16636), CC BY 4.0.

    {"grade": 3, "reasoning_step": 2, "num_digits": 2, "question": "...", "golden": "48"}

`cmath` is our own variant: the prompt of evalscope, zero-shot. `boxed` reads the last box, of which a unit or a name
does not count (`48元`, `x=48`), and compares it by value, or as a text; `last-number` reads the last number. Scores are
also reported for each grade. evalscope also reads answers outside a box, and compares with math-verify. The authors
accept any of the last two numbers, within 1 %.
"""

from manycall.evals.scoring.math_answers import equal_value, last_boxed
from manycall.evals.scoring.number_answers import all_numbers, last_number
from manycall.evals.scoring.text_answers import after_thinking
from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Task
from manycall.records import Fields
from manycall.render import as_text

FILE = HubFile("weitianwen/cmath", "main", "cmath_test.jsonl")
"""Neither the commit nor the checksum could be confirmed from public sources. The first download decides."""


def convert(fields: Fields, file: str) -> Fields:
    """Return the row of a published problem."""
    if not isinstance(fields["question"], str):
        raise ValueError("the question is not a text")
    return {
        "grade": fields["grade"],
        "question": fields["question"].strip(),
        "answer": as_text(fields["golden"]).strip(),
    }


def boxed_value(response: str) -> str:
    """Return the only number in the last box after the thinking text; the box, if it does not have exactly one."""
    box = last_boxed(after_thinking(response))
    numbers = all_numbers(box)
    return numbers[0] if len(numbers) == 1 else box


def last_value(response: str) -> str:
    """Return the last number after the thinking text."""
    return last_number(after_thinking(response))


def planted(fields: Fields) -> tuple[str, str]:
    """Return a right and a wrong response."""
    text = "我们一步一步来算，所以答案是\\boxed{{{}}}。"
    return text.format(fields["answer"]), text.format(f"1{fields['answer']}")


TASK = Task(
    rows=(),
    prompt="{{ question }}\n请一步一步推理，最后将答案放在\\boxed{}中。\n",
    extract={"boxed": boxed_value, "last-number": last_value},
    scorer=equal_value,
    name="cmath",
    params={"max_tokens": 8192, "temperature": 0.0},
    subtask="grade",
    is_fast=True,
    planted=planted,
    loader=PublishedData((FILE,), convert, "cmath.jsonl"),
)
BENCHMARKS = (Benchmark(TASK, 1098, "manycall, prompt of evalscope", FILE.repo),)

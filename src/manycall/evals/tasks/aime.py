"""AIME: the 30 problems of the American Invitational Mathematics Examinations of a year. The answers are 0 to 999.

    {"problem": "Find the sum of all integer bases $b > 9$ for which ...", "answer": "70"}

`aime24` and `aime25` reproduce the tasks of the same names (version 0.0) in lm-evaluation-harness 0.4.13: one sample at
temperature 0, and a prompt that does not ask for a box, so an answer in words ("The answer is 70.") is wrong. `aime26`
is the same protocol for 2026. `aime24_avg16`, `aime25_avg16` and `aime26_avg16` are our own variants for reasoning
models: 16 samples at temperature 0.6, the prompt of gpt-oss, and the last box, whose number is compared by value.

30 problems determine a score to about ±0.08 at 70 %. The problems belong to the MAA and are downloaded, not included.
"""

import re

from manycall.evals.scoring.latex_answers import dollar_or_box, equal_latex
from manycall.evals.scoring.math_answers import last_boxed
from manycall.evals.scoring.text_answers import UNPARSED, after_thinking
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Task
from manycall.records import Fields

FILES = {
    "24": HubFile(
        "Maxwell-Jia/AIME_2024",
        "8d88b2876a82a080e2f172cc9b25d0d9d2cb4792",
        "aime_2024_problems.parquet",
        modelscope="AI-ModelScope/AIME_2024",
    ),
    "25": HubFile(
        "math-ai/aime25",
        "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        "test.jsonl",
        sha256="b4e273c02d3e7fe1b74b59eae768fc8230bfb0f79539890cb56f4361caac0331",
    ),
    "26": HubFile(
        "math-ai/aime26",
        "79037aebdb6580008fb960d17cb21fd3099083e3",
        "aime2026.jsonl",
        sha256="52822957957a3f577d1e9706c36a66a8108a3f99b6aff424cfb72dff0094a9ee",
    ),
}
BOXED = "\n{{ question }}\nPlease reason step by step, and put your final answer within \\boxed{}.\n"
"""The prompt of gpt-oss (gpt_oss/evals/aime_eval.py)."""


def convert(fields: Fields, file: str) -> Fields:
    """Return the row of a published problem. Its answer may be 33, "033" or "33^\\circ"."""
    published = {name.lower(): value for name, value in fields.items()}
    problem = published["problem"] if "problem" in published else published["question"]
    digits = re.match(r"\d+", str(published["answer"]).strip())
    if not isinstance(problem, str) or digits is None:
        raise ValueError("the problem is not a text, or its answer does not begin with digits")
    return {"question": problem, "answer": int(digits[0])}


def boxed_integer(response: str) -> str:
    """Return the integer in the last box, without leading zeros and `.0`; UNPARSED if there is none."""
    box = last_boxed(after_thinking(response))
    number = re.fullmatch(r"\\?\$?\s*(\d+)(?:\.0*)?\s*\\?\$?", box.replace(r"\text", "").strip("{} "))
    return (number[1].lstrip("0") or "0") if number else UNPARSED


def planted(fields: Fields) -> tuple[str, str]:
    """Return a right and a wrong response."""
    text = "We count the cases, so the answer is $\\boxed{{{}}}$."
    return text.format(fields["answer"]), text.format(fields["answer"] + 1)


def _lm_eval(year: str) -> Task:
    return Task(
        rows=(),
        prompt="Question: {{ question }}\nAnswer:",
        extract={"none": dollar_or_box},
        scorer=equal_latex,
        name=f"aime{year}",
        params={
            "max_tokens": 32_768,
            "temperature": 0.0,
            "stop": ["Question:", "</s>", "<|im_end|>", "<|eot_id|>"],
            "seed": 1234,
        },
        body_format="lm-eval",
        is_fast=True,
        planted=planted,
        loader=PublishedData((FILES[year],), convert, "aime.jsonl"),
    )


def _sampled(year: str) -> Task:
    return Task(
        rows=(),
        prompt=BOXED,
        extract={"boxed": boxed_integer},
        scorer=lambda answer, target: answer == target,
        name=f"aime{year}_avg16",
        params={"max_tokens": 32_768, "temperature": 0.6, "top_p": 0.95},
        samples=16,
        is_fast=True,
        planted=planted,
        loader=PublishedData((FILES[year],), convert, "aime.jsonl"),
    )


BENCHMARKS = tuple(
    Benchmark(task, 30, authority, FILES[year].repo, "parquet" if year == "24" else "", version=version)
    for year in FILES
    for task, authority, version in (
        (_lm_eval(year), LM_EVAL if year != "26" else f"{LM_EVAL}, aime25", 0.0 if year != "26" else None),
        (_sampled(year), "manycall", None),
    )
)

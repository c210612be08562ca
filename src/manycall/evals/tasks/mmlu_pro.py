"""MMLU-Pro: 12,032 questions in 14 categories, with up to ten choices (Wang et al., 2024, arXiv:2406.01574), MIT.

    {"question_id": 70, "category": "business", "question": "Typical advertising regulatory bodies ...", "options":
     ["Safe practices, Fear, Jealousy, Trivial", ...], "answer": "I", "answer_index": 8, "cot_content": "", ...}

The task reproduces the group `mmlu_pro` (version 3.1) of lm-evaluation-harness 0.4.13, in chat form: five examples of
the category, `max_tokens` 2048, and the filter `custom-extract`, which takes the first "answer is (X)".

The filter `official` is the chain of the authors' scripts: the first "answer is (X)", else "Answer: X", else the last
capital letter from A to J that is a word. There, an answer that is not read is replaced by a random one, so that their
scores cannot be reproduced to the last digit. Here it is wrong.
"""

import re
from functools import partial
from string import ascii_uppercase, punctuation

from manycall.evals.scoring.text_answers import UNPARSED, exact_match, extract_regex
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.choice_prompts import lettered, planted_letter
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.subject_shots import SubjectData
from manycall.evals.tasks.task import SubtaskGroup, Task
from manycall.records import Fields

MAX_CHOICES = 10
FIRST_ANSWER = partial(extract_regex, pattern=r"answer is \(?([ABCDEFGHIJ])\)?")


def file(name: str) -> HubFile:
    """Return a file of the dataset at the pinned commit."""
    return HubFile(
        "TIGER-Lab/MMLU-Pro", "527feea0afed1de15a8c115abf7be4c912123315", name, modelscope="TIGER-Lab/MMLU-Pro"
    )


def convert(fields: Fields, _: str) -> Fields:
    """Return the row of a question or an example."""
    choices = [str(choice).strip() for choice in fields["options"]][:MAX_CHOICES]
    answer = str(fields["answer"])
    if not len(choices) >= 1 or answer not in [*ascii_uppercase[: len(choices)]]:
        raise ValueError(f"the answer {answer!r:.20} is none of {len(choices)} choices")
    row = {"id": str(fields["question_id"]), "subject": fields["category"], "question": fields["question"]}
    return {**row, "choices": choices, "answer": answer, "cot_content": fields.get("cot_content") or ""}


def options_prompt(fields: Fields) -> str:
    """Return the user message."""
    return (
        f"Question:\n{fields['question']}\nOptions:\n{lettered(fields['choices'])}\nAnswer: Let's think step by step."
    )


def make_shot(fields: Fields) -> tuple[str, str]:
    """Return a few-shot example. Its answer is the reasoning without its first words, which end the question."""
    return options_prompt(fields), fields["cot_content"].replace("A: Let's think step by step. ", "")


def official(response: str) -> str:
    """Return the letter that the scripts of the authors read; UNPARSED where they guess.

    Their patterns `.*[aA]nswer:\\s*([A-J])` and `\\b[A-J]\\b(?!.*\\b[A-J]\\b)` take quadratic time for a long response.
    The first one finds the last such answer in the first line that has one, the second one the last letter.
    """
    if (letter := FIRST_ANSWER(response)) != UNPARSED:
        return letter
    named = list(re.finditer(r"[aA]nswer:(?=\s*([A-J]))", response))
    if named:
        end = response.find("\n", named[0].start())
        return [each[1] for each in named if end < 0 or each.start() < end][-1]
    letters = re.findall(r"\b[A-J]\b", response)
    return letters[-1] if letters else UNPARSED


TASK = Task(
    rows=(),
    prompt=options_prompt,
    extract={"custom-extract": FIRST_ANSWER, "official": official},
    scorer=partial(exact_match, ignore=(), drop=punctuation),
    name="mmlu_pro",
    system=(
        "The following are multiple choice questions (with answers) about {{ subject }}. Think step by step and then "
        'finish your answer with "the answer is (X)" where X is the correct letter choice.\n'
    ),
    num_fewshot=5,
    params={"max_tokens": 2048, "temperature": 0.0, "stop": ["Question:"], "seed": 1234},
    body_format="lm-eval",
    subtask="subject",
    groups=(SubtaskGroup("mmlu_pro"),),
    is_fast=True,
    planted=planted_letter("Let us see. The answer is ({})."),
    loader=SubjectData(
        files=(file("data/test-00000-of-00001.parquet"),), convert=convert, sample="mmlu_pro.jsonl",
        fewshot_files=(file("data/validation-00000-of-00001.parquet"),), fewshot_sample="mmlu_pro_validation.jsonl",
        make_shot=make_shot,
    ),
)  # fmt: skip
BENCHMARKS = (Benchmark(TASK, 12_032, LM_EVAL, "TIGER-Lab/MMLU-Pro", "parquet", version=3.1),)

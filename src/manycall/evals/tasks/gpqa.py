"""GPQA Diamond: 198 graduate-level questions with four choices (Rein et al., 2023, arXiv:2311.12022), CC BY 4.0.

    Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3, and further columns

The authors ask that the questions are not published as plain text, so that no model is trained on them. The set is
therefore gated on the hub, and no question is part of this package. Do not publish outputs or reports: they contain
questions.

- `gpqa_diamond_cot_zeroshot` reproduces the task of this name (version 2.2) in lm-evaluation-harness 0.4.13, in a run
  with this task alone: its choices are shuffled by one generator for all tasks.
- `gpqa_diamond_simple_evals` reproduces OpenAI's simple-evals: 10 samples, each with its own order of the choices.
- `gpqa_diamond` is manycall's own: the prompt of simple-evals, an order of the choices that depends only on the
  question, and the scorer `choice`, which also reads answers such as `**Answer:** B` and `\\boxed{B}`.
"""

from functools import partial
from string import punctuation

from msgspec.structs import replace

from manycall.evals.scoring.choice_answers import equal_letter, final_letter
from manycall.evals.scoring.choice_texts import letter_or_choice
from manycall.evals.scoring.text_answers import exact_match, extract_regex
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.choice_prompts import lettered, planted_letter
from manycall.evals.tasks.gpqa_data import GpqaData, by_hash, gpqa_row, shuffled
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.task import Task, row_filter
from manycall.records import Fields

SIMPLE_EVALS_SAMPLES = 10
REVISION = "633f5ee89ab8ad4522a9f850766b73f62147ffdd"
GATED = "Idavidrein/gpqa (gated)"
SAME_LETTER = partial(exact_match, ignore=(), drop=punctuation)
DATA = GpqaData((HubFile("Idavidrein/gpqa", REVISION, "gpqa_diamond.csv", gated=True),), gpqa_row, "gpqa_diamond.csv")


def cot_prompt(fields: Fields) -> str:
    """Return the user message of lm-eval. It ends with a space."""
    choices = lettered(fields["choices"], "({}) {}")
    question = fields["question"]
    return f"What is the correct answer to this question:{question}\nChoices:\n{choices}\nLet's think step by step: "


def letter_prompt(fields: Fields) -> str:
    """Return the user message of simple-evals."""
    return (
        "Answer the following multiple choice question. The last line of your response should be of the following "
        "format: 'Answer: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by step before answering."
        f"\n\n{fields['question']}\n\n{lettered(fields['choices'], '{}) {}')}"
    )


COT_ZEROSHOT = Task(
    rows=(),
    prompt=cot_prompt,
    extract={
        "strict-match": partial(extract_regex, pattern=r"(?<=The answer is )(.*)(?=.)"),
        "flexible-extract": row_filter(lambda response, row: letter_or_choice(response, row["choices"]), SAME_LETTER),
    },
    scorer=SAME_LETTER,
    name="gpqa_diamond_cot_zeroshot",
    params={"max_tokens": 256, "temperature": 0.0, "stop": ["</s>"], "seed": 1234},
    body_format="lm-eval",
    is_fast=True,
    planted=planted_letter("The answer is ({})."),
    loader=replace(DATA, arrange=shuffled),
)
SIMPLE_EVALS = Task(
    rows=(),
    prompt=letter_prompt,
    extract={"first": partial(extract_regex, pattern=r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?")},
    scorer=lambda answer, target: float(answer == target),
    name="gpqa_diamond_simple_evals",
    samples=SIMPLE_EVALS_SAMPLES,
    is_fast=True,
    planted=planted_letter("Answer: {}"),
    loader=DATA,
)
OURS = replace(
    SIMPLE_EVALS, extract={"choice": final_letter}, scorer=equal_letter, name="gpqa_diamond", samples=None,
    loader=replace(DATA, arrange=by_hash),
)  # fmt: skip
BENCHMARKS = (
    Benchmark(OURS, 198, "manycall", GATED),
    Benchmark(COT_ZEROSHOT, 198, LM_EVAL, GATED, version=2.2),
    Benchmark(SIMPLE_EVALS, 198, "openai/simple-evals", GATED),
)

"""GPQA Diamond: 198 graduate-level questions with four choices (Rein et al., 2023, arXiv:2311.12022), CC BY 4.0.

    Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3, and further columns

The authors ask that the questions are not published as plain text, so that no model is trained on them. The set is
therefore gated on the hub, and no question is part of this package. Do not publish outputs or reports: they contain
questions.

- `gpqa_diamond_cot_zeroshot` reproduces the task of this name (version 2.2) in lm-evaluation-harness 0.4.13, in a run
  with this task alone: its choices are shuffled by one generator for all tasks.
- `gpqa_diamond_simple_evals` reproduces OpenAI's simple-evals: each sample has its own order of the choices; 10 samples.
- `gpqa_diamond` is manycall's own: the prompt of simple-evals, an order of the choices that depends only on the
  question, and the scorer `choice`, which also reads answers such as `**Answer:** B` and `\\boxed{B}`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from string import punctuation

from msgspec.structs import replace

from manycall.evals.scoring.choice_answers import chosen_letter, equal_letter
from manycall.evals.scoring.choice_texts import letter_or_choice
from manycall.evals.scoring.text_answers import exact_match, extract_regex
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.choice_order import order_by_hash, sampled_orders, shuffled_orders
from manycall.evals.tasks.choice_prompts import lettered, planted_letter
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Task, row_filter
from manycall.records import Fields

COLUMNS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
SIMPLE_EVALS_SAMPLES = 10
LETTERS = "ABCD"
REVISION = "633f5ee89ab8ad4522a9f850766b73f62147ffdd"
FILES = (HubFile("Idavidrein/gpqa", REVISION, "gpqa_diamond.csv", gated=True),)
SAMPLE_FILE = "gpqa_diamond.csv"
SAME_LETTER = partial(exact_match, ignore=(), drop=punctuation)


def convert(fields: Fields, _: str) -> Fields:
    """Return the row of a question. Its first choice is the right one."""
    return {"question": fields["Question"], "choices": [fields[name] for name in COLUMNS]}


def reorder(fields: Fields, order: Sequence[int], form: str = "{}") -> Fields:
    """Return the row with its choices in this order and the letter of the right one, which is the first before."""
    choices = [fields["choices"][n] for n in order]
    return {**fields, "choices": choices, "answer": form.format(LETTERS[choices.index(fields["choices"][0])])}


def _incorrect_first(order: Sequence[int]) -> list[int]:
    """Return an order of the incorrect choices and the correct one as one of the correct choice and the incorrect."""
    return [(n + 1) % len(LETTERS) for n in order]


def shuffled(rows: list[Fields]) -> list[Fields]:
    """Return the rows with their choices as lm-eval cleans and shuffles them."""
    orders = shuffled_orders(len(rows), len(LETTERS))
    tidy = [{**row, "choices": [_tidy(text) for text in row["choices"]]} for row in rows]
    return [reorder(row, _incorrect_first(order), "({})") for row, order in zip(tidy, orders, strict=True)]


def _tidy(text: str | None) -> str:
    return " " if text in (None, "") else str(text).strip().replace(" [title]", ". ").replace("  ", " ")


def by_hash(rows: list[Fields]) -> list[Fields]:
    """Return the rows with their choices in an order that depends only on the question, as in evalscope."""
    return [reorder(row, _incorrect_first(order_by_hash(row["question"], len(LETTERS)))) for row in rows]


def vary(fields: Fields, sample: int, questions: int) -> Fields:
    """Return a row with the order of its choices in this sample, as simple-evals draws it for all questions."""
    return reorder(fields, sampled_orders(questions, len(LETTERS), sample)[fields["position"]])


class GpqaData(PublishedData, frozen=True, kw_only=True):
    """Loader of a GPQA task.

    Attributes:
        arrange: brings the choices of all questions into the order of the protocol; None: each sample has its own.
    """

    arrange: Callable[[list[Fields]], list[Fields]] | None = None

    def with_rows(self, task: Task, data: str | Path | None) -> Task:
        """Return the task with its rows, whose choices are in the order of the protocol."""
        task = super().with_rows(task, data)
        assert isinstance(task.rows, list)
        if self.arrange is not None:
            return replace(task, rows=self.arrange(task.rows))
        rows = [{**row, "position": n} for n, row in enumerate(task.rows)]
        return replace(task, rows=rows, vary=partial(vary, questions=len(rows)))


def lm_eval_prompt(fields: Fields) -> str:
    """Return the user message of lm-eval. It ends with a space."""
    choices = lettered(fields["choices"], "({}) {}")
    question = fields["question"]
    return f"What is the correct answer to this question:{question}\nChoices:\n{choices}\nLet's think step by step: "


def simple_evals_prompt(fields: Fields) -> str:
    """Return the user message of simple-evals."""
    return (
        "Answer the following multiple choice question. The last line of your response should be of the following "
        "format: 'Answer: $LETTER' (without quotes) where LETTER is one of ABCD. Think step by step before answering."
        f"\n\n{fields['question']}\n\n{lettered(fields['choices'], '{}) {}')}"
    )


COT_ZEROSHOT = Task(
    rows=(),
    prompt=lm_eval_prompt,
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
    loader=GpqaData(files=FILES, convert=convert, sample=SAMPLE_FILE, arrange=shuffled),
)
SIMPLE_EVALS = Task(
    rows=(),
    prompt=simple_evals_prompt,
    extract={"first": partial(extract_regex, pattern=r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?")},
    scorer=lambda answer, target: float(answer == target),
    name="gpqa_diamond_simple_evals",
    samples=SIMPLE_EVALS_SAMPLES,
    is_fast=True,
    planted=planted_letter("Answer: {}"),
    loader=GpqaData(files=FILES, convert=convert, sample=SAMPLE_FILE),
)
OURS = replace(
    SIMPLE_EVALS, extract={"choice": chosen_letter}, scorer=equal_letter, name="gpqa_diamond", samples=None,
    loader=GpqaData(files=FILES, convert=convert, sample=SAMPLE_FILE, arrange=by_hash),
)  # fmt: skip
BENCHMARKS = (
    Benchmark(OURS, 198, "manycall", "Idavidrein/gpqa (gated)"),
    Benchmark(COT_ZEROSHOT, 198, LM_EVAL, "Idavidrein/gpqa (gated)", version=2.2),
    Benchmark(SIMPLE_EVALS, 198, "simple-evals", "Idavidrein/gpqa (gated)"),
)

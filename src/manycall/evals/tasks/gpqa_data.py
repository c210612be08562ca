"""Rows of GPQA, and the orders in which the protocols show their choices."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from manycall.evals.tasks.choice_order import order_by_hash, sampled_orders, shuffled_orders
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Task
from manycall.records import Fields

COLUMNS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
LETTERS = "ABCD"


def gpqa_row(fields: Fields, _: str) -> Fields:
    """Return the row of a question. Its first choice is the right one."""
    question, choices = fields["Question"], [fields[name] for name in COLUMNS]
    if not isinstance(question, str) or not choices[0]:
        raise ValueError("the question is not a text, or its correct answer is empty")
    return {"question": question, "choices": choices}


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
    orders = (_incorrect_first(order_by_hash(row["question"], len(LETTERS))) for row in rows)
    plain = ({**row, "choices": [str(text or "").strip() for text in row["choices"]]} for row in rows)
    return [reorder(row, order) for row, order in zip(plain, orders, strict=True)]


def vary_choices(fields: Fields, sample: int, questions: int) -> Fields:
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
        return replace(task, rows=rows, vary=partial(vary_choices, questions=len(rows)))

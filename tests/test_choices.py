"""Multiple choice: orders of choices, readers, and rows of the user's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from manycall.errors import UsageError
from manycall.evals.scoring.choice_texts import letter_or_choice
from manycall.evals.tasks.choice_order import order_by_hash, sampled_orders, shuffled_orders
from manycall.evals.tasks.custom import custom_task
from manycall.evals.tasks.task import Task


def test_the_orders_of_lm_eval_and_of_simple_evals_are_reproduced() -> None:
    assert shuffled_orders(3, 4) == [[2, 0, 1, 3], [0, 1, 3, 2], [0, 2, 1, 3]]
    assert sampled_orders(3, 4, 0) == [[3, 1, 0, 2], [3, 1, 2, 0], [2, 3, 0, 1]]
    assert sampled_orders(3, 4, 1) == sampled_orders(6, 4, 0)[3:]


def test_an_order_by_hash_depends_only_on_the_text() -> None:
    orders = [order_by_hash(f"Question {n}?", 4) for n in range(50)]
    assert orders[7] == order_by_hash(" Question 7?\n", 4)
    assert {order[0] for order in orders} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("(A) is wrong, so (B).", "(B)"),
        ("It is (Z).", "(Z)"),
        ("It is guilty of romance!", "(B)"),
        ("GUILTY, I say", "(A)"),
        ("So: C", "(C)"),
        ("So: E", "[invalid]"),
        ("I do not know.", "[invalid]"),
        ("", "[invalid]"),
    ],
)
def test_a_letter_is_read_with_the_help_of_the_choices(response: str, answer: str) -> None:
    assert letter_or_choice(response, ["Guilty", "Guilty of Romance", "x^2", "(d)"]) == answer


def test_a_choice_of_punctuation_disables_the_comparison_of_texts() -> None:
    assert letter_or_choice("red", ["red", "..."]) == "[invalid]"
    assert letter_or_choice("answer: B", ["red", "..."]) == "(B)"


# rows of the user's own


def own_task(scorer: str, *rows: dict[str, Any]) -> Task:
    """Return the task of a file with these rows."""
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return custom_task(Path("mine.jsonl"), None, scorer)


@pytest.mark.parametrize("scorer", ["choice", "exact", "regex:([A-Z])"])
def test_choices_are_shown_without_a_prompt_whatever_the_scorer(scorer: str) -> None:
    task = own_task(scorer, {"question": "Which?", "choices": ["red", "blue"], "answer": "B"})
    assert task.prompt == "{{ question | trim }}\n{% for each in choices %}{{ 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[loop.index0] }}. {{ each }}\n{% endfor %}Answer:"


def test_a_question_without_choices_is_sent_as_it_is() -> None:
    assert own_task("exact", {"question": "Which?", "answer": "blue"}).prompt == "{{ question }}"


def test_a_whole_number_is_the_position_of_the_right_choice_counted_from_0() -> None:
    row = {"question": "Which?", "choices": ["red", "blue", "green"], "answer": 2}
    task = own_task("choice", row)
    assert [task.score_response(text, row)["choice"][1] for text in ("C", "B", "Answer: C")] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("answer", [3, "3", "D", ["A", "D"]])
def test_a_right_answer_that_is_no_choice_is_refused_before_any_call(answer: Any) -> None:
    good = {"question": "Which?", "choices": ["red", "blue", "green"], "answer": 1}
    with pytest.raises(UsageError, match=r"line 2: the right answer .* is none of the 3 choices.*counted from 0"):
        own_task("choice", good, {**good, "answer": answer})

"""BIG-Bench Hard: what is sent, and how each subtask's answer is read."""

import json
from pathlib import Path

import pytest

from manycall.errors import UsageError
from manycall.evals.evaluate import resolve_task
from manycall.evals.scoring.bbh_answers import READERS, few_shot_answer, flexible_answer, strict_answer
from manycall.evals.scoring.number_words import last_number_words
from manycall.evals.tasks.bbh import chat_answer
from manycall.evals.tasks.bbh_files import PROMPT_FILES, QUESTION_FILES
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Row

WORDS = "Sort the following words: List: oak ash oak elm"
CHOICES = "Which?\nOptions:\n(A) the cat\n(B) the cat is black\n(C) 12/01"


@pytest.mark.parametrize(
    ("subtask", "question", "response", "read"),
    [
        ("boolean_expressions", "", "not True is False. True", "True"),
        ("navigate", "", "Yes, no; Know", "no"),
        ("formal_fallacies", "", "It is invalid, not valid.", "valid"),
        ("dyck_languages", "", "So: ] } >.", "] } >"),
        ("object_counting", "", "2 + 3 = 5.", "5"),
        ("object_counting", "", "There are twenty five things", "25"),
        ("multistep_arithmetic_two", "", "= -12", "-12"),
        ("multistep_arithmetic_two", "", "zilch", "[invalid]"),
        ("sports_understanding", "", "It is Not plausible.", "no"),
        ("sports_understanding", "", "That is implausible; plausible", "yes"),
        ("web_of_lies", "", "Ann is not telling the truth", "no"),
        ("word_sorting", WORDS, "oak, ash: elm ash oak", "elm ash oak"),
        ("word_sorting", WORDS, "Nothing", ""),
        ("snarks", CHOICES, "(A)? No, (Z).", "(Z)"),
        ("snarks", CHOICES, "It is The cat is black!", "(B)"),
        ("snarks", CHOICES, "Answer: C", "(C)"),
        ("snarks", "No choices?", "Answer: C", "[invalid]"),
    ],
)
def test_the_answer_of_a_subtask_is_read_in_its_way(subtask: str, question: str, response: str, read: str) -> None:
    assert flexible_answer(response, {"subtask": subtask, "question": question}) == read


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("twelve", "12"), ("I see three, no: four cats", "4"), ("six", None), ("sixty-one", "1"),
        ("eight hundred and ten", "810"),
        ("two thousand five hundred", "2500"), ("thousand million", None), ("", None), ("the band", None),
    ],
)  # fmt: skip
def test_number_words_are_read_as_word2number_does_with_its_slips(text: str, number: str | None) -> None:
    assert last_number_words(text) == number


@pytest.mark.timeout(20)
def test_long_responses_take_linear_time() -> None:
    for unit in ("one ", " ", "eight", "and", "(A", ", ", "oak "):
        for subtask in READERS:
            flexible_answer(unit * 20_000, {"subtask": subtask, "question": f"{CHOICES}\n{WORDS}"})


def test_the_strict_readers_lose_the_last_character_as_lm_eval_does() -> None:
    assert strict_answer("The answer is True") == "Tru"
    assert strict_answer("The final answer: no.\nthe answer is yes.") == "no"
    assert few_shot_answer("So the answer is (A).") == "(A)"
    assert few_shot_answer("The answer is (A).") == "[invalid]"


def test_the_chat_variant_reads_its_last_line() -> None:
    row = {"subtask": "snarks", "question": CHOICES}
    assert chat_answer("(A)? So the answer is (B).", row) == "(B)"
    assert chat_answer("<think>So the answer is (A)</think> (C)", row) == "(C)"
    assert chat_answer("<think>So the answer is (A)", row) == "[invalid]"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository with one question."""
    (tmp_path / "bbh").mkdir()
    (tmp_path / "cot-prompts").mkdir()
    rows = {"canary": "c", "examples": [{"input": "True and", "target": "True"}]}
    (tmp_path / "bbh" / "boolean_expressions.json").write_text(json.dumps(rows))
    shots = "\n\nQ: a\nb\nA: Let's think step by step.\nThus.\nSo c.\n\nQ: d\nA: Let's think step by step. So e."
    (tmp_path / "cot-prompts" / "boolean_expressions.txt").write_text(f"canary\n-----\nDo it.\n\nWell.{shots}")
    return tmp_path


def test_the_prompt_is_made_from_the_published_files(copy: Path) -> None:
    task = resolve_task("bbh_cot_fewshot", data=copy)
    assert isinstance(task.rows, list)
    system, *turns = TaskPrompt(task).messages(Row("x", task.rows[0], 0))
    assert system == {"role": "system", "content": "Do it.\n\nWell.\n\n"}
    assert [turn["content"] for turn in turns] == [
        "Q: a\nb\nA: Let's think step by step.\n", "Thus.\nSo c.", "Q: d\nA: Let's think step by step.\n", "So e.",
        "Q: True and\nA: Let's think step by step.\n",
    ]  # fmt: skip
    fewer = resolve_task("bbh_cot_fewshot", data=copy, num_fewshot=1)
    assert len(TaskPrompt(fewer).messages(Row("x", task.rows[0], 0))) == 4
    assert TaskPrompt(fewer).identity != TaskPrompt(task).identity


def test_every_subtask_has_a_reader_and_pinned_files() -> None:
    assert READERS.keys() == PROMPT_FILES.keys()
    assert len(QUESTION_FILES) == 27


@pytest.mark.parametrize("text", ["[]", '{"examples": [{"input": "x"}]}', "{"])
def test_a_file_in_another_form_is_refused(text: str, copy: Path) -> None:
    (copy / "bbh" / "boolean_expressions.json").write_text(text)
    with pytest.raises(UsageError, match=r"boolean_expressions\.json"):
        resolve_task("bbh_cot_zeroshot", data=copy)


@pytest.mark.parametrize("name", ["bbh_cot_zeroshot", "bbh_cot_fewshot", "bbh_chat"])
def test_the_planted_responses_are_read(name: str) -> None:
    task = resolve_task(name, data="sample")
    assert task.planted is not None
    assert isinstance(task.rows, list)
    for row in task.rows:
        right, wrong = (task.score_response(text, row) for text in task.planted(row))
        assert {score for _, score in right.values()} == {1.0}
        assert {score for _, score in wrong.values()} == {0.0}

"""SimpleQA, which a judge grades, and DROP."""

import json
from pathlib import Path

import pytest

import manycall
from manycall.errors import UsageError
from manycall.evals.evaluate import resolve_task
from manycall.evals.scoring.drop_answers import best_exact_match, best_word_f1, drop_words, stated_answer
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.judging.built_in_rubrics import GRADES, RUBRICS, LetterFormat, derived_scores
from manycall.records import Row
from test_judge import judging


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("A", "CORRECT"), (" b.", None), ("**B**", "INCORRECT"), ("C: NOT_ATTEMPTED", "NOT_ATTEMPTED"),
        ("NOT ATTEMPTED", "NOT_ATTEMPTED"),
        ("CORRECT", "CORRECT"), ("A:【正确】", "CORRECT"), ("A: INCORRECT", None),
        ("The grade is A", None), ("", None), ("AB", None),
    ],
)  # fmt: skip
def test_a_grade_is_a_letter_or_its_word_and_nothing_else(reply: str, grade: str | None) -> None:
    if grade is not None:
        assert LetterFormat(GRADES).parse(reply) == grade
        return
    with pytest.raises(ValueError, match="one of the letters"):
        LetterFormat(GRADES).parse(reply)


def test_simpleqas_numbers_follow_from_the_grades() -> None:
    counts = {"CORRECT": 3, "INCORRECT": 1, "NOT_ATTEMPTED": 4}
    assert dict(derived_scores(counts)) == {
        "correct given attempted": 0.75,
        "F1": pytest.approx(2 * 0.75 * 0.375 / 1.125),
    }
    assert dict(derived_scores(dict.fromkeys(GRADES, 0))) == {"correct given attempted": 0.0, "F1": 0.0}


@pytest.mark.parametrize("name", RUBRICS)
def test_a_judge_gets_the_authors_prompt_alone_and_is_asked_again_for_a_letter(name: str, tmp_path: Path) -> None:
    rows = [{"id": "7", "question": "Who {{ x }}?", "answer": "Ann", "response": "It was Ann."}]
    with judging(lambda messages: "A" if "one letter" in messages[-1]["content"] else "Well, hm.") as (url, asked):
        result = manycall.judge(rows, name, model="j", out=tmp_path / "j.jsonl", base_url=url, progress=False)
    first, again = asked
    assert [turn["role"] for turn in first] == (["user"] if name == "simpleqa" else ["system", "user"])
    assert "Who {{ x }}?" in first[-1]["content"]
    assert "It was Ann." in first[-1]["content"]
    assert "Verdict" not in first[-1]["content"]
    assert again[: len(first)] == first
    assert (result.derived, result.reasked_rows) == ([("correct given attempted", 1.0), ("F1", 1.0)], 1)


def test_a_built_in_rubric_has_its_own_labels(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rubric='simpleqa' and scale= cannot be combined"):
        manycall.judge([], "simpleqa", model="j", out=tmp_path / "j.jsonl", scale="1-5")


def test_a_row_without_the_right_answer_cannot_be_graded_by_the_simulated_judge_either(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "x", "response": "x"}, {"question": "q", "response": "x"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = manycall.judge(
        tmp_path / "a.jsonl", "simpleqa", model="j", out=tmp_path / "j.jsonl", base_url="sim", progress=False
    )
    assert (judged.scored_rows, judged.failed) == (1, 1)


def test_an_evaluation_names_the_command_that_grades_it(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    result = manycall.evaluate("chinese_simpleqa", model="m", out=out, base_url="sim", progress=False)
    assert any(f'manycall.judge({str(out)!r}, "chinese_simpleqa"' in message for message in result.messages())
    judged = manycall.judge(
        out, "chinese_simpleqa", model="j", out=tmp_path / "j.jsonl", base_url="sim", progress=False
    )
    assert judged.score is not None
    assert judged.score.value == result.score("answer-in-text").value


@pytest.mark.parametrize(
    ("answer", "references", "exact", "f1"),
    [
        ("The 21-yard field goal", "21 yard field goal", 1.0, 1.0), ("3500.0", "3,500", 1.0, 1.0),
        ("21 goals", "22 goals", 0.0, 0.0),
        ("Odell Marsh", "nobody|Marsh", 0.0, 0.6667), ("", "x", 0.0, 0.0), ("x", "|", 0.0, 0.0), ("the", "a", 1.0, 1.0),
    ],
)  # fmt: skip
def test_drop_compares_words_and_numbers_with_the_best_reference(
    answer: str, references: str, exact: float, f1: float
) -> None:
    assert best_exact_match(answer, references) == exact
    assert best_word_f1(answer, references) == pytest.approx(f1, abs=1e-4)


def test_the_stated_answer_of_drop_is_a_line() -> None:
    assert stated_answer("Hm.\n**Answer:** 3 dogs\nAnswer: 4") == "** 3 dogs"
    assert stated_answer("3 dogs") == "3 dogs"
    assert drop_words("An U.S. 1,000 $5 x-y") == ["us", "1000.0", "5.0", "x", "y"]


def test_drop_draws_its_examples_in_the_order_of_the_file(tmp_path: Path) -> None:
    task = resolve_task("drop_simple_evals", data="sample")
    assert isinstance(task.rows, list)
    texts = [TaskPrompt(task).messages(Row("x", row, 0))[0]["content"] for row in task.rows]
    assert all(text.count("\n---\n") == 4 for text in texts)
    assert len({text.partition("# Your Task")[0] for text in texts}) > 1
    first = json.dumps({"context": "c", "completion": " d", "ref_text": "d"}) + "\n"
    (tmp_path / "few.jsonl").write_text(first)
    with pytest.raises(UsageError, match="needs 3 examples, but the file has 1"):
        resolve_task("drop_simple_evals", data="sample", fewshot_data=tmp_path / "few.jsonl")
    zero = resolve_task("drop_simple_evals", data="sample", num_fewshot=0)
    assert TaskPrompt(zero).messages(Row("x", task.rows[0], 0))[0]["content"].count("\n---\n") == 1


@pytest.mark.parametrize("name", ["drop_simple_evals", "simpleqa", "chinese_simpleqa"])
def test_the_planted_responses_are_scored(name: str) -> None:
    task = resolve_task(name, data="sample")
    assert task.planted is not None
    assert isinstance(task.rows, list)
    for row in task.rows:
        right, wrong = (task.score_response(text, row) for text in task.planted(row))
        assert {score for _, score in right.values()} == {1.0}
        assert {score for _, score in wrong.values()} == {0.0}

"""Multiple choice: orders of choices, readers, and rows of the user's own."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

import manycall
from crosscheck.choices import RECORDED, compare_fuzz, compare_whole, lm_eval_whole
from crosscheck.our_choices import LM_EVAL, our_whole, prepared, recorded_forms
from manycall.errors import InvalidResponse, SettingsMismatch, UsageError
from manycall.evals.evaluate import resolve_task
from manycall.evals.scoring.choice_texts import letter_or_choice
from manycall.evals.scoring.letter_logprobs import most_likely_letter
from manycall.evals.tasks import ceval, cmmlu, gpqa, mmlu_pro, mmlu_redux
from manycall.evals.tasks.choice_order import order_by_hash, sampled_orders, shuffled_orders
from manycall.evals.tasks.custom import custom_task
from manycall.evals.tasks.mmlu_redux import repaired
from manycall.evals.tasks.published_data import SAMPLES_FOLDER
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Completion, Row, Usage
from servers import http, saying, serving

LM_EVAL_PYTHON = os.environ.get("LM_EVAL_PYTHON") or str(Path(__file__).parents[1] / ".venv-lmeval" / "bin" / "python")
MODULES = (gpqa, mmlu_pro, mmlu_redux, ceval, cmmlu)


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
    assert letter_or_choice(response, ["Guilty", "Guilty of Romance", "x^2", "(17)"]) == answer


def test_a_choice_of_punctuation_disables_the_comparison_of_texts() -> None:
    assert letter_or_choice("red", ["red", "..."]) == "[invalid]"
    assert letter_or_choice("answer: B", ["red", "..."]) == "(B)"


# rows of the user's own


def own_task(scorer: str, *rows: dict[str, Any]) -> Task:
    """Return the task of a file with these rows."""
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return custom_task(Path("mine.jsonl"), None, scorer)


@pytest.mark.parametrize("scorer", ["choice", "exact", "regex:([A-Z])"])
def test_choices_are_shown_without_a_prompt_with_every_scorer(scorer: str) -> None:
    row = {"question": "Which?", "choices": ["red", "blue"], "answer": "B"}
    (message,) = TaskPrompt(own_task(scorer, row)).messages(Row("x", row, 0))
    assert message["content"] == "Which?\nA. red\nB. blue\nAnswer:"


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


def test_prompts_answers_and_scores_are_those_that_the_authorities_gave(tmp_path: Path) -> None:
    """`make crosscheck` compares with their own code, on more responses, and writes the file."""
    assert recorded_forms(tmp_path) == json.loads(RECORDED.read_text())


@pytest.mark.skipif(not Path(LM_EVAL_PYTHON).exists(), reason="lm-eval is not installed: make crosscheck")
@pytest.mark.parametrize("name", LM_EVAL)
def test_lm_eval_still_gives_the_same_messages_answers_and_scores(name: str, tmp_path: Path) -> None:
    task, data, said = prepared(name, tmp_path / "ours")
    theirs = lm_eval_whole(LM_EVAL_PYTHON, task, data, said, tmp_path / "lm-eval")
    assert compare_whole(task, our_whole(task, said, tmp_path), theirs) == []
    assert compare_fuzz(LM_EVAL_PYTHON, name, 300, tmp_path / "fuzz") == []


def reply_with(logprobs: Any) -> bytes:
    """Return a chat completion with these log probabilities."""
    choice = {"message": {"content": " The"}, "finish_reason": "length", "logprobs": logprobs}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()


def alternatives(**probabilities: float) -> Any:
    """Return log probabilities of the first token; `_B` is the token " B"."""
    top = [{"token": name.replace("_", " "), "logprob": math.log(p)} for name, p in probabilities.items()]
    return {"content": [{"token": " The", "logprob": -0.1, "top_logprobs": top}]}


@pytest.mark.parametrize(
    ("logprobs", "letter"),
    [
        (alternatives(The=0.5, A=0.2, B=0.15, _B=0.15), "B"),
        (alternatives(The=0.9, b=0.05, AB=0.05), ""),
        ({"content": [{"top_logprobs": []}]}, ""),
    ],
)
def test_the_letter_with_the_highest_probability_is_the_answer(logprobs: Any, letter: str) -> None:
    assert most_likely_letter(Completion("The", "length", Usage(1, 1), reply_with(logprobs)), {}) == letter


def test_a_letter_that_is_no_choice_of_the_row_is_no_answer() -> None:
    """A likely "I" may begin "I think": of four choices, it is none."""
    reply = Completion("I", "length", Usage(1, 1), reply_with(alternatives(I=0.5, B=0.3, A=0.1)))
    assert most_likely_letter(reply, {"choices": ["w", "x", "y", "z"]}) == "B"
    assert most_likely_letter(reply, {"A": "w", "B": "x"}) == "B"
    assert most_likely_letter(reply, {"options": {"A": "w", "I": "x"}}) == "I"
    assert most_likely_letter(reply, {"question": "Which?"}) == "I"


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [{"top_logprobs": [7]}]}]
)
def test_a_reply_without_log_probabilities_is_no_answer(logprobs: Any) -> None:
    with pytest.raises(InvalidResponse, match="no log probabilities"):
        most_likely_letter(Completion("The", "length", Usage(1, 1), reply_with(logprobs)), {})


def test_letters_by_log_probability_are_written_and_scored_and_not_truncated() -> None:
    row = {"question": "Which?", "choices": ["red", "blue"], "answer": 1}
    Path("mine.jsonl").write_text(json.dumps(row) + "\n")
    with serving(saying(http(200, reply_with(alternatives(A=0.3, B=0.6))))) as url:
        result = manycall.evaluate(
            "mine.jsonl", scorer="letter-logprob", model="any", base_url=url, out="out.jsonl", progress=False
        )
    assert (result.score("letter-logprob").value, result.truncated) == (1.0, 0)
    assert json.loads(Path("out.jsonl").read_text())["response"] == "B"
    assert manycall.score("out.jsonl", scorer="choice").scores[0].value == 1.0


# the user's rows grow


def test_added_rows_are_asked_and_the_others_are_not_asked_again() -> None:
    lines = [json.dumps({"question": f"Is {n} odd?", "choices": ["yes", "no"], "answer": n % 2}) for n in range(5)]
    with serving(saying(http(200, reply_with(None)))) as url:
        options: dict[str, Any] = {"scorer": "choice", "model": "any", "base_url": url, "out": "out.jsonl"}
        Path("mine.jsonl").write_text("\n".join(lines[:3]))
        manycall.evaluate("mine.jsonl", **options, progress=False)
        Path("mine.jsonl").write_text("\n".join(lines))
        with pytest.raises(SettingsMismatch, match=r"from_?[= ]'?out.jsonl"):
            manycall.evaluate("mine.jsonl", **options, progress=False)
        grown = manycall.evaluate("mine.jsonl", **options, progress=False, from_="out.jsonl")
    assert grown.run is not None
    assert (grown.scored_rows, grown.run.calls) == (5, 2)


# the built-in tasks


@pytest.mark.parametrize("name", [each.task.name for module in MODULES for each in module.BENCHMARKS])
def test_a_task_reads_the_planted_responses_of_its_made_up_rows(name: str) -> None:
    task = resolve_task(name, data="sample")
    assert task.planted is not None
    assert isinstance(task.rows, list)
    rows = task.rows if task.vary is None else [task.vary(row, 3) for row in task.rows]
    for row in rows:
        right, wrong = task.planted(row)
        assert {value for _, value in task.score_response(right, row).values()} == {1.0}
        assert {value for _, value in task.score_response(wrong, row).values()} == {0.0}


def test_few_shot_examples_are_the_first_ones_of_the_subject() -> None:
    task = resolve_task("mmlu_pro", data="sample", num_fewshot=2)
    assert isinstance(task.rows, list)
    for index, row in enumerate(task.rows):
        sent = TaskPrompt(task).messages(Row("x", row, index))
        assert (len(sent), row["subject"] in sent[0]["content"]) == (6, True)
    assert task.identity["num_fewshot"] == 2
    assert (
        TaskPrompt(resolve_task("mmlu_pro", data="sample", num_fewshot=0)).messages(Row("x", task.rows[0], 0))[2:] == []
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ceval", r"Download ceval-exam\.zip of the dataset ceval/ceval-exam .*, and pass data='FOLDER/val'\.$"),
        ("ceval_opencompass", "pass data='FOLDER/val' and fewshot_data='FOLDER/dev'"),
        ("cmmlu", r"cmmlu_v1_0_1\.zip .* pass data='FOLDER/test'"),
    ],
)
def test_data_that_must_not_be_downloaded_is_asked_for(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve_task(name)


def test_the_questions_of_several_splits_are_not_mixed(tmp_path: Path) -> None:
    for split in ("dev", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"logic_{split}.csv").write_text("id,question,A,B,C,D,answer\n0,q,a,b,c,d,A\n")
    with pytest.raises(UsageError, match=r"has the folders dev, val\. Pass one of them\."):
        resolve_task("ceval", data=tmp_path)
    assert resolve_task("ceval", data=tmp_path / "val").identity["data"]


def test_a_question_of_gpqa_has_other_orders_in_other_samples_and_the_same_in_part_of_the_set(tmp_path: Path) -> None:
    whole = resolve_task("gpqa_diamond", data="sample")
    lines = (SAMPLES_FOLDER / "gpqa_diamond.csv").read_text().splitlines()
    (tmp_path / "gpqa_diamond.csv").write_text("\n".join([lines[0], *lines[3:5]]))
    part = resolve_task("gpqa_diamond", data=tmp_path / "gpqa_diamond.csv")
    assert isinstance(whole.rows, list)
    assert isinstance(part.rows, list)
    assert [row["choices"] for row in part.rows] == [row["choices"] for row in whole.rows[2:4]]
    sampled = resolve_task("gpqa_diamond_simple_evals", data="sample")
    assert sampled.vary is not None
    assert isinstance(sampled.rows, list)
    assert len({tuple(sampled.vary(sampled.rows[0], sample)["choices"]) for sample in range(10)}) > 3


@pytest.mark.parametrize(
    ("error_type", "note", "choices", "answer"),
    [
        ("ok", None, "abcd", "A"),
        ("no_correct_answer", "e", "ebcd", "A"),
        ("wrong_groundtruth", "2", "abcd", ["C"]),
        ("wrong_groundtruth", "C", "abcd", ["C"]),
        ("multiple_correct_answers", "(0, 2)", "abcd", ["A", "C"]),
        ("multiple_correct_answers", "B and D", "abcd", ["B", "D"]),
        ("multiple_correct_answers", "b, d", "abcd", ["B", "D"]),
        ("multiple_correct_answers", "several", "abcd", ["A", "B", "C", "D"]),
        ("bad_question_clarity", None, "abcd", "A"),
    ],
)
def test_right_answers_of_mmlu_redux_are_repaired(error_type: str, note: Any, choices: str, answer: Any) -> None:
    published = {"subject": "anatomy", "question": "?", "choices": [*"abcd"], "answer": 0}
    row = repaired({**published, "error_type": error_type, "correct_answer": note}, "")
    assert (row["choices"], row["answer"]) == ([*choices], answer)


def test_mmlu_redux_is_read_from_the_folders_of_the_dataset(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    published = {"question": "Which?", "choices": [*"abcd"], "answer": 1, "error_type": "ok", "correct_answer": None}
    table = pyarrow.Table.from_pylist([published])
    for subject in ("virology", "anatomy"):
        folder = tmp_path / subject
        folder.mkdir()
        (folder / "state.json").write_text("{}")
        with pyarrow.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as stream:
            stream.write_table(table)
    rows = resolve_task("mmlu_redux", data=tmp_path).rows
    assert isinstance(rows, list)
    assert [(row["id"], row["answer"]) for row in rows] == [("anatomy-0", "B"), ("virology-0", "B")]


@pytest.mark.parametrize("name", ["gpqa_diamond", "mmlu_redux", "ceval", "cmmlu"])
def test_our_own_variants_read_no_letter_in_the_thinking_text(name: str) -> None:
    task = resolve_task(name, data="sample")
    assert isinstance(task.rows, list)
    row = task.rows[0] if task.vary is None else task.vary(task.rows[0], 0)
    read = {
        text: task.score_response(text, row)["choice"][0]
        for text in (r"<think>\boxed{A}, no</think> Answer: B", "<think>The answer is C", "Answer: D")
    }
    assert [*read.values()] == ["B", "[invalid]", "D"]

"""IFEval's checks: what follows an instruction, at its limits."""

import json
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.errors import UsageError
from manycall.evals.evaluate import resolve_task
from manycall.evals.ifeval.instruction_checks import CHECKS, followed_instructions, follows, loose_variants

for module in ("langdetect", "punkt", "regex"):
    pytest.importorskip(module, reason="the ifeval extra is not installed: pip install -e '.[ifeval]'")

BULLETS = "detectable_format:number_bullet_lists"
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["fox", "Dog"]}, "foxes and a dog", "a fox"),
    ("keywords:frequency", {"keyword": "ha", "frequency": 2, "relation": "at least"}, "Haha", "ha"),
    ("keywords:frequency", {"keyword": " ha ", "frequency": 2, "relation": "less than"}, "ha", "hahaha"),
    ("keywords:forbidden_words", {"forbidden_words": ["pine"]}, "pineapple", "a Pine."),
    ("keywords:letter_frequency", {"letter": "A", "let_frequency": 2, "let_relation": "at least"}, "Aa", "a"),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, "# x #", "#"),
    ("language:response_language", {"language": "fr"}, "C'est une très belle journée.", "It is a fine day."),
    ("language:response_language", {"language": "fr"}, "12345", "This is plain English."),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "Dr. A. Go.", "Dr. A"),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}, "So ! ! x", "So !"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "it is", "it is so"),
    ("length_constraints:number_words", {"num_words": 2, "relation": "less than"}, "cafe\u0301", "it's"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***a\n***\nb***", "a******b"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Go"}, "a\n\n'go, b", "a\n\ngoing",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [[b]", "[a\n] [b]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Hi\np. s. bye", "P.S bye"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P. P. S", "P.S."),
    (BULLETS, {"num_bullets": 2}, "* a\n\n - b", "* a\n**b**"),
    (BULLETS, {"num_bullets": 1}, "---", "a - b"),
    ("detectable_format:constrained_response", {}, "So: My answer is no.", "My answer is no"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "*a* ** **"),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 Day2", "day 1 Day 2"),
    ("detectable_format:json_format", {}, "```json\n{}\n```", "Here: {}"),
    ("detectable_format:title", {}, "a <<b>>", "<< >>"),
    ("combination:two_responses", {}, "a\n******\nb", "a******a"),
    ("combination:repeat_prompt", {"prompt_to_repeat": " Say HI "}, "say hi: hi", "Well. Say hi"),
    ("startend:end_checker", {"end_phrase": "The End."}, 'x "the end." ', "The End"),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "CANNOT", "CAN"),
    ("change_case:english_capital", {}, "THIS IS A TEXT THAT WAS WRITTEN IN PLAIN ENGLISH.", "This is English"),
    ("change_case:english_lowercase", {}, "this is plain english", "это простой русский текст"),
    ("punctuation:no_comma", {}, "a，b", "a, b"),
    ("startend:quotation", {}, ' "a" ', '"'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "right", "wrong"), CASES)
def test_a_response_follows_an_instruction_up_to_its_limit(
    name: str, arguments: dict[str, Any], right: str, wrong: str
) -> None:
    assert follows(name, arguments, right)
    assert not follows(name, arguments, wrong)


def test_every_instruction_has_a_case() -> None:
    assert {name for name, *_ in CASES} == CHECKS.keys()
    assert len(CHECKS) == 25


def test_an_empty_response_follows_no_instruction() -> None:
    assert not any(follows(name, arguments, "\n ") for name, arguments, *_ in CASES)


def test_the_loose_score_forgives_a_first_and_a_last_line_and_asterisks() -> None:
    row = {"instruction_id_list": ["startend:quotation", "punctuation:no_comma"], "kwargs": [{}, {"unused": None}]}
    response = 'Sure, here it is:\n**"Hello"**\nBye'
    assert followed_instructions(row, response) == [False, False]
    assert followed_instructions(row, response, loose=True) == [True, True]
    assert loose_variants("*a*\nb") == ["*a*\nb", "a\nb", "b", "*a*", "a", ""]


def test_an_unknown_instruction_or_argument_is_an_error() -> None:
    with pytest.raises(ValueError, match="instruction 'a:b' is not known"):
        follows("a:b", {}, "x")
    with pytest.raises(TypeError):
        follows("punctuation:no_comma", {"most": 3}, "x")
    with pytest.raises(ValueError, match="'more than' must be"):
        follows("length_constraints:number_words", {"num_words": 3, "relation": "more than"}, "x")


@pytest.mark.timeout(30)
def test_long_hostile_responses_take_linear_time() -> None:
    for name, arguments, *_ in CASES:
        for text in ("[", "<", "\n", "*", "- ", '{"a":', "! "):
            follows(name, arguments, text * 10_000)


def test_the_planted_responses_follow_the_instructions_of_their_rows() -> None:
    task = resolve_task("ifeval", data="sample")
    assert task.planted is not None
    assert isinstance(task.rows, list)
    for row in task.rows:
        right, wrong = (task.score_response(text, row) for text in task.planted(row))
        assert {score for _, score in right.values()} == {1.0}
        assert wrong["prompt_level_loose_acc"][1] == 0.0


def test_the_share_of_instructions_is_over_all_rows(tmp_path: Path) -> None:
    rows = [
        {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}], "response": "a, b"},
        {
            "instruction_id_list": ["punctuation:no_comma", "startend:quotation", BULLETS],
            "kwargs": [{}, {}, {"num_bullets": 1}], "response": "* a\n* b",
        },
    ]  # fmt: skip
    (tmp_path / "out.jsonl").write_text("".join(json.dumps({"id": str(n), **row}) + "\n" for n, row in enumerate(rows)))
    scores = manycall.score(tmp_path / "out.jsonl", scorer="ifeval")
    assert scores.score("prompt_level_strict_acc").value == 0
    assert (scores.score("inst_level_strict_acc").value, scores.score("inst_level_strict_acc").stderr) == (0.25, None)
    assert scores.score("inst_level_loose_acc").value == 0.5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"instruction_id_list": ["a:b"]}, "instruction 'a:b' is not known"),
        ({"kwargs": [{"most": 3}]}, "unexpected keyword argument 'most'"),
        ({"kwargs": []}, "is shorter"),
    ],
)
def test_a_row_with_unknown_instructions_is_refused(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    row = {"key": 1, "prompt": "Hi", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}], **changed}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match=said):
        resolve_task("ifeval", data=tmp_path / "rows.jsonl")

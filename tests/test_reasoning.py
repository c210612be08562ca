"""Separating thinking text from the answer in texts that contain both."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.providers.reasoning import split

FINISHES = st.sampled_from(["stop", "length", ""])
MARKERS = ["<think>", "</think>", "[THINK]", "[/THINK]", "<seed:think>", "</seed:think>", "```\n", "\n```", "\n~~~\n"]
HARMONY = [
    "<|start|>assistant",
    "<|channel|>analysis<|message|>",
    "<|channel|>final<|message|>",
    "<|end|>",
    "<|return|>",
]
TEXTS = st.lists(st.sampled_from([*MARKERS, *HARMONY, "analysis", "assistantfinal"]) | st.text(max_size=9)).map("".join)
PLAIN = st.text().filter(lambda text: not re.search(r"[<\[`~]", text))
TAGS = st.sampled_from(["<think>", "<thinking>", "<thought>", "<seed:think>", "[THINK]"])


def closing(tag: str) -> str:
    return f"{tag[0]}/{tag[1:]}"


def words(text: str) -> str:
    return "".join(text.split())


@given(TAGS, PLAIN, PLAIN, st.booleans(), FINISHES)
def test_a_text_that_begins_with_a_tag_is_split_at_the_closing_tag(
    tag: str, thought: str, answer: str, is_thinker: bool, finish: str
) -> None:
    text = f"{tag}{thought}{closing(tag)}{answer}"
    assert split(text, is_thinker=is_thinker, finish=finish) == (thought.strip(), answer.lstrip())
    assert split(f" \n{text}", is_thinker=is_thinker, finish=finish) == (thought.strip(), answer.lstrip())


@given(TAGS, PLAIN, PLAIN, FINISHES)
def test_the_text_of_a_declared_thinker_is_split_without_an_opening_tag(
    tag: str, thought: str, answer: str, finish: str
) -> None:
    text = f"{thought}{closing(tag)}{answer}"
    assert split(text, is_thinker=True, finish=finish) == (thought.strip(), answer.lstrip())
    assert split(text, is_thinker=False, finish=finish) == ("", text)


@given(TAGS, PLAIN, st.booleans(), FINISHES)
def test_a_tag_that_is_never_closed_leaves_no_answer(tag: str, thought: str, is_thinker: bool, finish: str) -> None:
    assert split(tag + thought, is_thinker=is_thinker, finish=finish) == (thought.strip(), "")


@given(PLAIN)
def test_a_text_without_tags_is_an_answer_unless_a_declared_thinker_was_truncated(text: str) -> None:
    assert split(text, is_thinker=False, finish="length") == ("", text)
    assert split(text, is_thinker=True, finish="stop") == ("", text)
    assert split(text, is_thinker=True, finish="length") == (text.strip(), "")


@given(TEXTS, st.booleans(), FINISHES)
def test_no_text_is_invented_and_the_answer_is_a_part_of_the_text(text: str, is_thinker: bool, finish: str) -> None:
    thought, answer = split(text, is_thinker=is_thinker, finish=finish)
    assert answer in text
    assert len(words(thought)) + len(words(answer)) <= len(words(text))


@given(st.text(min_size=1, max_size=9).filter(lambda text: not text.isspace()), TEXTS, FINISHES)
def test_a_text_that_begins_with_an_answer_is_never_split(beginning: str, text: str, finish: str) -> None:
    text = f"Answer {beginning}{text}"
    assert split(text, is_thinker=False, finish=finish) == ("", text)


@pytest.mark.parametrize(
    "answer",
    [
        "The tags are `<think>` and `</think>`.",
        "Write <think>first</think>, then the answer.",
        "analysis of the text: assistantfinal",
        "<b>bold</b>",
        "[1] a source",
        "<thinker>a</thinker>",
        "</think>",
        "",
    ],
)
def test_a_quoted_tag_is_a_part_of_the_answer(answer: str) -> None:
    assert split(answer, is_thinker=False, finish="stop") == ("", answer)


def test_a_declared_thinker_that_quotes_both_tags_is_not_split() -> None:
    text = "Write <think>first</think>, then the answer."
    assert split(text, is_thinker=True, finish="stop") == ("", text)


@pytest.mark.parametrize(
    ("text", "finish", "expected"),
    [
        ("<think>I write <think>.\n</think>\n42", "stop", ("I write <think>.", "42")),
        ("<think>Is </think> a tag?</think>42", "stop", ("Is </think> a tag?", "42")),
        ("<think>a</think>Like so:\n```\n</think>\n```\n", "stop", ("a", "Like so:\n```\n</think>\n```\n")),
        ("<think>\n```py\nx = 1\n</think>\n42", "stop", ("```py\nx = 1", "42")),
        ("<think>\n```\n</think>\n```\nnot yet", "length", ("```\n</think>\n```\nnot yet", "")),
        ("<think>a\n```py\n</think>\n```py\nx\n```\n", "stop", ("a\n```py", "```py\nx\n```\n")),
        ("<think>\n```py\nx\n```py\n```\n</think>\n```\ny", "length", ("```py\nx\n```py\n```", "```\ny")),
        ("<think>a</think><think>b</think>42", "stop", ("a</think><think>b", "42")),
        ("<think>a</think>\n<thinking>b</thinking>42", "stop", ("a\n\nb", "42")),
        ("<think>a</think>\n<thinking>b", "length", ("a\n\nb", "")),
    ],
)
def test_the_last_closing_tag_outside_of_code_ends_the_thinking_text(
    text: str, finish: str, expected: tuple[str, str]
) -> None:
    assert split(text, is_thinker=False, finish=finish) == expected


START, ANALYSIS = "<|start|>assistant", "<|channel|>analysis<|message|>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ANALYSIS}6 · 7<|end|>{START}<|channel|>final<|message|>42<|return|>", ("6 · 7", "42")),
        (f"{START}{ANALYSIS}6 · 7<|end|>{START}<|channel|>final<|message|>42", ("6 · 7", "42")),
        (f"{ANALYSIS}a<|end|>{START}{ANALYSIS}b<|end|>{START}<|channel|>final<|message|>c<|end|>", ("a\n\nb", "c")),
        ('<|channel|>final <|constrain|>json<|message|>{"a": 1}<|return|>', ("", '{"a": 1}')),
        (f"{ANALYSIS}never done", ("never done", "")),
        (f"{ANALYSIS}a<|end|>{START}<|channel|>commentary to=functions.f<|message|>{{}}<|call|>", ("a\n\n{}", "")),
    ],
)
def test_the_answer_of_a_harmony_text_is_its_last_final_message(text: str, expected: tuple[str, str]) -> None:
    assert split(text, is_thinker=False, finish="stop") == expected


def test_harmony_without_its_special_tokens_is_read_for_a_declared_thinker() -> None:
    assert split("analysis6 · 7assistantfinal42", is_thinker=True, finish="stop") == ("6 · 7", "42")


def test_a_million_tags_and_fences_take_no_more_than_linear_time() -> None:
    for unit in ("</think>\n```\n", "```x\n</think>\n", "<think>", "<|channel|>final", "<|start|>", "~~~\n", " "):
        text = "<think>" + unit * 200_000
        split(text, is_thinker=True, finish="length")
        split(unit * 200_000, is_thinker=True, finish="length")

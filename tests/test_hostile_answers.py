"""No answer makes a built-in parser slow: each takes time linear in the length of the answer."""

import random
import re

import pytest

from hostile_answers import hostile_answers, readers, seconds
from manycall.evals.scoring.text_answers import GSM8K_IGNORE
from manycall.evals.tasks.mmlu import parse_letter
from manycall.judging.verdict_format import VerdictFormat, parse_labels, parse_number, scale_labels

READERS = readers()
LM_EVAL_IGNORES = (",", r"\$", r"(?s).*#### ", r"\.$")
"""As its GSM8K tasks have them."""
PIECES = (
    "#### ",
    "####",
    " ",
    "\n",
    "\r",
    "\x0b",
    "\x85",
    "\u2028",
    "\0",
    "$",
    ",",
    ".",
    "-",
    "1",
    "18",
    "A",
    "B",
    ".\n",
)


@pytest.mark.parametrize("name", READERS)
def test_no_answer_makes_a_parser_slow(name: str) -> None:
    slow = [what for what, answer in hostile_answers(60_000).items() if seconds(READERS[name], answer) > 0.5]
    assert slow == []


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = random.Random(1)
    return ["".join(rng.choices(PIECES, k=rng.randrange(1, 12))) for _ in range(20_000)]


def test_what_is_removed_before_comparing_is_what_lm_evals_patterns_remove(texts: list[str]) -> None:
    for text in texts:
        for pattern, remove in zip(LM_EVAL_IGNORES, GSM8K_IGNORE, strict=True):
            assert remove(text) == re.sub(pattern, "", text), repr(text)


def test_the_letter_is_what_lm_evals_two_patterns_read(texts: list[str]) -> None:
    for text in texts:
        line = re.findall(r"^(.*?)(?=\n|$)", text)[0].strip()
        assert parse_letter(text) == re.findall(r"^(.*?)\s*$", line)[0].strip(), repr(text)


@pytest.mark.parametrize("said", ["4", "4.0", "4.000", "4/5", "4 / 5", "4.0/5", "**4**"])
def test_a_verdict_may_name_the_scale(said: str) -> None:
    assert VerdictFormat(scale_labels("1-5")).parse(f"Fine.\nVerdict: {said}") == "4"


@pytest.mark.parametrize("said", ["good/bad", "good.0", "bad / bad"])
def test_a_verdict_of_words_has_no_scale_to_name(said: str) -> None:
    with pytest.raises(ValueError, match="is not one of good, bad"):
        VerdictFormat(parse_labels("good,bad")).parse(f"Verdict: {said}")


@pytest.mark.parametrize(
    ("answer", "given"),
    [
        ("4", 4),
        ("From 1-5: 4", 4),
        ("4 of 5", 4),
        ("On a scale of 1 to 5, this story is a 4.", 4),
        ("I rate it 4 on a scale of 1 through 5.", 4),
        ("1,111 words.\n4.5", 4.5),
        ("满分 5，3 分", 3),
        ("3 分", 3),
        ("2 to 4: 3", 3),
    ],
)
def test_a_range_and_a_maximum_are_no_scores(answer: str, given: float) -> None:
    assert parse_number(answer, 1, 5) == given

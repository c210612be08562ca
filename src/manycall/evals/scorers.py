"""What was answered, and whether it is right: pure functions of text.

`extract` and `exact_match` follow lm-evaluation-harness 0.4.13 (filters `regex` and `take_first`, metric
`exact_match`) to the letter, oddities included; scores carry its names only because of that.
"""

import ast
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

INVALID = "[invalid]"
"""What is extracted where nothing fits; it never equals an answer."""


def extract(response: str, pattern: str, which: int = 0) -> str:
    """The match of `pattern` in a response: the first (`which` 0) or the last (-1); INVALID if there is none.

    Where the pattern has several groups, the first non-empty one counts.
    """
    matches = re.findall(pattern, response)
    if not matches:
        return INVALID
    match = matches[which]
    if isinstance(match, tuple):
        match = next((group for group in match if group), INVALID)
    return str(match).strip()


GSM8K_IGNORE = (",", r"\$", r"(?s).*#### ", r"\.$")
"""What the GSM8K tasks remove, in this order, from an answer and from a target before comparing."""


def exact_match(answer: str, target: str, ignore: Sequence[str] = GSM8K_IGNORE, drop: str = "") -> float:
    """1.0 if answer and target are equal, whatever their case, once the patterns of `ignore` and then the characters
    of `drop` are removed from both; else 0.0."""
    return float(_normal(answer, ignore, drop) == _normal(target, ignore, drop))


def _normal(text: str, ignore: Sequence[str], drop: str) -> str:
    text = text.rstrip("\0")  # numpy, in which lm-eval works, drops NULs at the end
    for pattern in ignore:
        text = re.sub(pattern, "", text).rstrip("\0")
    return text.lower().translate(str.maketrans("", "", drop)).rstrip("\0")


def last_integer(response: str) -> str:
    """The last digits, commas removed; INVALID if there are none, or if they begin with a zero.

    As `get_answer_value` in the GSM8K scripts of vLLM (tests/evals/gsm8k) and SGLang (benchmark/gsm8k): no sign, no
    decimals.
    """
    digits = re.findall(r"\d+", response.replace(",", ""))
    try:
        return str(ast.literal_eval(digits[-1]))
    except (IndexError, SyntaxError, ValueError):
        return INVALID


def same_integer(answer: str, target: str) -> float:
    """1.0 if the last integer of the target is the answer."""
    return float(answer != INVALID and answer == last_integer(target))


_NUMBER = re.compile(r"(?:(?<![\w)])-)?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)")
_SIGNS = str.maketrans({"−": "-", "$": None})


def last_number(text: str) -> str:
    """The last number in a text, with sign, commas and decimals; INVALID if there is none.

    A minus after a digit or a word is none: 10-4 ends in 4.
    """
    found = _NUMBER.findall(text.translate(_SIGNS))
    return str(found[-1]) if found else INVALID


def same_number(answer: str, target: str) -> float:
    """1.0 if the last number of the target has the same value: 1,200 is 1200.0."""
    value = _value(answer)
    return float(value is not None and value == _value(last_number(target)))


def _value(number: str) -> Decimal | None:
    return Decimal(number.replace(",", "")) if _NUMBER.fullmatch(number) else None


def boxed(response: str) -> str:
    r"""What stands in the last \boxed{...}, with its braces balanced; INVALID if there is none."""
    start = response.rfind(r"\boxed{")
    depth = 0
    for at in range(start, len(response)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(response[at], 0)
        if response[at] == "}" and not depth:
            return response[start + len(r"\boxed{") : at].strip()
    return INVALID


def same_value(answer: str, target: str) -> float:
    """1.0 if answer and target are the same number, or the same text but for spaces and dollar signs."""
    bare, aim = (re.sub(r"\\?[\s$]|\\[,;!]", "", text) for text in (answer, target.rpartition("#### ")[2]))
    value = _value(bare)
    return float(bare == aim or (value is not None and value == _value(aim)))


_SAID = re.compile(r"(?i:answer|choice|option)[\s:*]*(?i:is|would be|should be)?[\s:*]*\(?([A-Z])\b(?!['’])")
_BOXED_LETTER = re.compile(r"\\boxed\{\s*(?:\\text\{)?\s*\(?([A-Z])\b")
_ALONE = re.compile(r"^[\s*(]*([A-Z])(?:[).:*]|\s*$)", re.MULTILINE)


def choice(response: str) -> str:
    """The letter that was chosen: the last that is boxed, or said to be the answer, or begins a line; else INVALID."""
    for pattern in (_BOXED_LETTER, _SAID, _ALONE):
        if letters := pattern.findall(response):
            return str(letters[-1])
    return INVALID


def same_text(answer: str, target: str) -> float:
    """1.0 if they are equal but for white space at the ends."""
    return float(answer.strip() == target.strip())


def one_of(same: Callable[[str, str], float]) -> Callable[[str, Any], float]:
    """The same comparison, where a target may be a list of answers of which any is right."""

    def score(answer: str, target: Any) -> float:
        return max(
            (same(answer, str(each)) for each in (target if isinstance(target, list) else [target])), default=0.0
        )

    return score

"""What was answered, and whether it is right: pure functions of text.

`extract` and `exact_match` follow lm-evaluation-harness 0.4.13 (filters `regex` and `take_first`, metric
`exact_match`) to the letter, oddities included; scores carry its names only because of that.
"""

import ast
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from manycall.records import as_text

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


def _after_marker(text: str) -> str:
    """`re.sub(r"(?s).*#### ", "", text)` in linear time; the pattern itself rescans the text from every position."""
    return text.rpartition("#### ")[2]


Remove = Callable[[str], str]
"""Return a text without a part that does not count."""
GSM8K_IGNORE: tuple[Remove, ...] = (
    lambda text: text.replace(",", ""),
    lambda text: text.replace("$", ""),
    _after_marker,
    partial(re.compile(r"\.$").sub, ""),
)
"""The four `regexes_to_ignore` of the GSM8K tasks, in their order: `,`, `\\$`, `(?s).*#### `, `\\.$`."""


def exact_match(answer: str, target: str, ignore: Sequence[Remove] = GSM8K_IGNORE, drop: str = "") -> float:
    """Return 1.0 if answer and target are equal, else 0.0.

    Both are compared in lower case, after each function of `ignore` and without the characters of `drop`.
    """
    return float(_normal(answer, ignore, drop) == _normal(target, ignore, drop))


def _normal(text: str, ignore: Sequence[Remove], drop: str) -> str:
    text = text.rstrip("\0")  # numpy, in which lm-eval works, drops NULs at the end
    for remove in ignore:
        text = remove(text).rstrip("\0")
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


_NUMBER = re.compile(
    r"(?:(?<![A-Za-z0-9)])-)?(?<![A-Za-z0-9])(?<!\d\.)"  # a minus, if it is none between two; and not the 2 of CO2
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d{1,3}(?!\d))?"
)
_TIMES_TEN = re.compile(
    r"(?<=\d)\s*(?:[×·*x]|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*(?:\{\s*)?([-+]?\d{1,3}(?!\d))\s*\}?"
)
_POWER = re.compile(r"\^(?:\{\s*)?[-+]?\d+\s*\}?")
_SIGNS = str.maketrans({"−": "-", "$": None})


def _spelled(text: str) -> str:
    """The text with its numbers as programs write them: 6.02 × 10^23 is 6.02e23; and without powers, as in m^2."""
    plain = text.translate(_SIGNS).replace("{,}", ",")
    return _POWER.sub("", _TIMES_TEN.sub(r"e\1", plain))


def last_number(text: str) -> str:
    """The last number in a text, with sign, commas, decimals and exponent; INVALID if there is none.

    A minus after a digit or a letter is none: 10-4 ends in 4. Nor are digits after a letter, or powers: CO2, m^2.
    """
    found = _NUMBER.findall(_spelled(text))
    return str(found[-1]) if found else INVALID


def same_number(answer: str, target: str) -> float:
    """1.0 if answer and target have the same value: 1,200 is 1200.0 and 1.2e3.

    Raises:
        ValueError: the target (if it is a solution as GSM8K's: what stands behind ####) does not hold one number.
    """
    aims = _NUMBER.findall(_spelled(target.rpartition("####")[2]))
    if len(aims) != 1:
        raise ValueError(f"the right answer {target!r:.100} does not hold one number, but {len(aims)}")
    return float(_value(answer) == _value(aims[0]))


def _value(number: str) -> Decimal | None:
    spelled = _spelled(number)
    return Decimal(spelled.replace(",", "")) if _NUMBER.fullmatch(spelled) else None


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


def same_text(answer: str, target: str) -> float:
    """1.0 if they are equal but for white space at the ends."""
    return float(answer.strip() == target.strip())


def one_of(same: Callable[[str, str], float]) -> Callable[[str, Any], float]:
    """The same comparison, where a target may be a list of answers of which any is right.

    It raises ValueError if there is nothing to compare with: null, an object, an empty list.
    """

    def score(answer: str, target: Any) -> float:
        aims = target if isinstance(target, list) else [target]
        if not aims or any(isinstance(aim, list | dict | None) for aim in aims):
            raise ValueError(f"the right answer is {as_text(target):.100}, with which nothing can be compared")
        return max(same(answer, as_text(aim)) for aim in aims)

    return score

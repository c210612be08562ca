"""Pure functions that extract an answer from a text and compare it with the right answer.

`extract_regex` and `exact_match` reproduce lm-evaluation-harness 0.4.13 (filters `regex` and `take_first`, metric
`exact_match`) exactly, including its quirks. Only for this reason do the scores carry lm-eval's names.
"""

import ast
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from manycall.render import as_text

UNPARSED = "[invalid]"
"""Extracted answer when nothing matches. It never equals a right answer."""


def extract_regex(response: str, pattern: str, index: int = 0) -> str:
    """Return the first (`index` 0) or last (-1) match of `pattern` in a response; UNPARSED if there is none.

    If the pattern has several groups, the first non-empty group is returned.
    """
    matches = re.findall(pattern, response)
    if not matches:
        return UNPARSED
    match = matches[index]
    if isinstance(match, tuple):
        match = next((group for group in match if group), UNPARSED)
    return str(match).strip()


def _after_marker(text: str) -> str:
    """Return `re.sub(r"(?s).*#### ", "", text)` in linear time; the pattern rescans the text from every position."""
    return text.rpartition("#### ")[2]


Remove = Callable[[str], str]
"""Removes a part of a text that is ignored in comparisons."""
GSM8K_IGNORE: tuple[Remove, ...] = (
    lambda text: text.replace(",", ""),
    lambda text: text.replace("$", ""),
    _after_marker,
    partial(re.compile(r"\.$").sub, ""),
)
"""The four `regexes_to_ignore` of the GSM8K tasks, in their order: `,`, `\\$`, `(?s).*#### `, `\\.$`."""


def exact_match(answer: str, target: str, ignore: Sequence[Remove] = GSM8K_IGNORE, drop: str = "") -> float:
    """Return 1.0 if answer and target are equal, else 0.0.

    Both are compared in lower case, after applying each function in `ignore` and removing the characters in `drop`.
    """
    return float(_normal(answer, ignore, drop) == _normal(target, ignore, drop))


def _normal(text: str, ignore: Sequence[Remove], drop: str) -> str:
    text = text.rstrip("\0")  # numpy, in which lm-eval works, drops NULs at the end
    for remove in ignore:
        text = remove(text).rstrip("\0")
    return text.lower().translate(str.maketrans("", "", drop)).rstrip("\0")


def last_integer(response: str) -> str:
    """Return the last digits after removing commas; UNPARSED if there are none or if they begin with a zero.

    Equivalent to `get_answer_value` in the GSM8K scripts of vLLM (tests/evals/gsm8k) and SGLang (benchmark/gsm8k),
    which ignore signs and decimals.
    """
    digits = re.findall(r"\d+", response.replace(",", ""))
    try:
        return str(ast.literal_eval(digits[-1]))
    except (IndexError, SyntaxError, ValueError):
        return UNPARSED


def equal_integer(answer: str, target: str) -> float:
    """Return 1.0 if the answer is the last integer of the target, else 0.0."""
    return float(answer != UNPARSED and answer == last_integer(target))


_NUMBER = re.compile(
    r"(?:(?<![A-Za-z0-9)])-)?(?<![A-Za-z0-9])(?<!\d\.)"  # a minus sign, but not a subtraction; and not the 2 of CO2
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d{1,3}(?!\d))?"
)
_TIMES_TEN = re.compile(
    r"(?<=\d)\s*(?:[×·*x]|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*(?:\{\s*)?([-+]?\d{1,3}(?!\d))\s*\}?"
)
_POWER = re.compile(r"\^(?:\{\s*)?[-+]?\d+\s*\}?")
_SIGNS = str.maketrans({"−": "-", "$": None})


def _normalized(text: str) -> str:
    """Return the text with numbers in program notation (6.02 × 10^23 becomes 6.02e23) and without powers (m^2)."""
    plain = text.translate(_SIGNS).replace("{,}", ",")
    return _POWER.sub("", _TIMES_TEN.sub(r"e\1", plain))


def last_number(text: str) -> str:
    """Return the last number in a text, with sign, commas, decimals and exponent; UNPARSED if there is none.

    A minus sign after a digit or a letter is not part of the number: 10-4 ends in 4. Digits after a letter (CO2) and
    powers (m^2) are not numbers.
    """
    numbers = _NUMBER.findall(_normalized(text))
    return str(numbers[-1]) if numbers else UNPARSED


def equal_number(answer: str, target: str) -> float:
    """Return 1.0 if answer and target have the same value, else 0.0: 1,200 equals 1200.0 and 1.2e3.

    Raises:
        ValueError: the target does not contain exactly one number. If it is a solution in the format of GSM8K, only
            the text after #### counts.
    """
    numbers = _NUMBER.findall(_normalized(target.rpartition("####")[2]))
    if len(numbers) != 1:
        raise ValueError(
            f"the right answer {target!r:.100} must contain exactly one number, but contains {len(numbers)}"
        )
    return float(_value(answer) == _value(numbers[0]))


def _value(number: str) -> Decimal | None:
    normalized = _normalized(number)
    return Decimal(normalized.replace(",", "")) if _NUMBER.fullmatch(normalized) else None


def last_boxed(response: str) -> str:
    r"""Return the content of the last \boxed{...} with balanced braces; UNPARSED if there is none."""
    start = response.rfind(r"\boxed{")
    depth = 0
    for at in range(start, len(response)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(response[at], 0)
        if response[at] == "}" and not depth:
            return response[start + len(r"\boxed{") : at].strip()
    return UNPARSED


def equal_value(answer: str, target: str) -> float:
    """Return 1.0 if answer and target are the same number, or the same text without spaces and dollar signs."""
    stripped, expected = (re.sub(r"\\?[\s$]|\\[,;!]", "", text) for text in (answer, target.rpartition("#### ")[2]))
    value = _value(stripped)
    return float(stripped == expected or (value is not None and value == _value(expected)))


def equal_text(answer: str, target: str) -> float:
    """Return 1.0 if answer and target are equal after stripping white space at both ends, else 0.0."""
    return float(answer.strip() == target.strip())


def any_target(compare: Callable[[str, str], float]) -> Callable[[str, Any], float]:
    """Return the same comparison for a target that can also be a list of right answers.

    The comparison raises ValueError if the target is null, an object or an empty list, or a list with such an item.
    """

    def score(answer: str, target: Any) -> float:
        targets = target if isinstance(target, list) else [target]
        if not targets or any(isinstance(each, list | dict | None) for each in targets):
            raise ValueError(f"the right answer is {as_text(target):.100}, which cannot be compared with an answer")
        return max(compare(answer, as_text(each)) for each in targets)

    return score

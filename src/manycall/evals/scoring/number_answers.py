"""Extract a number from a response and compare it, by value, with the right answer."""

import ast
import re
from decimal import Decimal

from manycall.evals.scoring.text_answers import UNPARSED


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


def all_numbers(text: str) -> list[str]:
    """Return the numbers in a text, in the notations of `last_number`."""
    return _NUMBER.findall(_normalized(text))


def last_number(text: str) -> str:
    """Return the last number in a text, with sign, commas, decimals and exponent; UNPARSED if there is none.

    A minus sign after a digit or a letter is not part of the number: 10-4 ends in 4. Digits after a letter (CO2) and
    powers (m^2) are not numbers.
    """
    numbers = all_numbers(text)
    return numbers[-1] if numbers else UNPARSED


def equal_number(answer: str, target: str) -> float:
    """Return 1.0 if answer and target have the same value, else 0.0: 1,200 equals 1200.0 and 1.2e3.

    Raises:
        ValueError: the target does not contain exactly one number. If it is a solution in the format of GSM8K, only
            the text after #### counts.
    """
    numbers = all_numbers(target.rpartition("####")[2])
    if len(numbers) != 1:
        raise ValueError(
            f"the right answer {target!r:.100} must contain exactly one number, but contains {len(numbers)}"
        )
    return float(number_value(answer) == number_value(numbers[0]))


def number_value(number: str) -> Decimal | None:
    """Return the value of a text that consists of one number, in the notations of `last_number`; None for others."""
    normalized = _normalized(number)
    return Decimal(normalized.replace(",", "")) if _NUMBER.fullmatch(normalized) else None

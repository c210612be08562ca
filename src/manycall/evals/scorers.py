"""What was answered, and whether it is right: pure functions of text.

`extract` and `exact_match` follow lm-evaluation-harness 0.4.13 (filters `regex` and `take_first`, metric
`exact_match`) to the letter, oddities included; scores carry its names only because of that.
"""

import re
from collections.abc import Sequence

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


def exact_match(answer: str, target: str, ignore: Sequence[str] = GSM8K_IGNORE) -> float:
    """1.0 if answer and target are equal once `ignore` is removed from both, whatever their case; else 0.0."""
    return float(_normal(answer, ignore) == _normal(target, ignore))


def _normal(text: str, ignore: Sequence[str]) -> str:
    for pattern in ignore:
        text = re.sub(pattern, "", text).rstrip("\0")  # numpy, in which lm-eval works, drops NULs at the end
    return text.lower()

"""Extract a text from a response and compare it with the right answer.

`extract_regex` and `exact_match` reproduce lm-evaluation-harness 0.4.13 (filters `regex` and `take_first`, metric
`exact_match`) exactly, including its quirks. Only for this reason do the scores carry lm-eval's names.
"""

import re
from collections.abc import Callable, Sequence
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


_THINKING_START, _THINKING_END = "<think>", "</think>"


def after_thinking(response: str) -> str:
    """Return what follows the last `</think>`; "" if thinking text has begun and not ended; else the whole response."""
    _, end, answer = response.rpartition(_THINKING_END)
    if end:
        return answer.lstrip()
    return "" if _THINKING_START in response else response

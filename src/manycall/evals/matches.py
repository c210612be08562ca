"""`--match`: ways to read an answer and to compare it, for benchmarks of one's own and for scoring again."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.evals import choices, scorers


class Match(msgspec.Struct, frozen=True):
    """How to read an answer, and what it must equal."""

    extract: Callable[[str], str]
    score: Callable[[str, Any], float]


MATCHES = {
    "exact": Match(str.strip, scorers.one_of(scorers.same_text)),
    "numeric": Match(scorers.last_number, scorers.one_of(scorers.same_number)),
    "choice": Match(choices.choice, scorers.one_of(choices.same_letter)),
    "boxed": Match(scorers.boxed, scorers.one_of(scorers.same_value)),
    "vllm": Match(scorers.last_integer, scorers.one_of(scorers.same_integer)),
}
"""exact: the whole response. numeric: its last number, by value. choice: its letter. boxed: what stands in its last
\\boxed{}, by value if it is a number. vllm: its last integer, as the GSM8K scripts of vLLM and SGLang have it."""

REGEX = "regex:"


def match(name: str) -> Match:
    r"""The match of this name; `regex:PATTERN` reads the last match of the pattern (of its group, if it has one).

    Raises:
        UsageError: there is none, or the pattern is not one.
    """
    if name.startswith(REGEX):
        pattern = name.removeprefix(REGEX)
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--match {name}: not a regular expression: {error}") from None
        return Match(partial(scorers.extract, pattern=pattern, which=-1), scorers.one_of(scorers.same_text))
    if name == "judge":
        raise UsageError("a judge needs answers: take any --match now, then `manycall judge OUT --rubric RUBRIC`")
    if name not in MATCHES:
        raise UsageError(f"there is no match {name!r}; there are {', '.join(MATCHES)} and regex:PATTERN")
    return MATCHES[name]

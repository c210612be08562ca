"""Scorers by name, for your own benchmarks and for scoring an output again."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.evals.scoring import answers, choice_answers
from manycall.option_flags import option


class Scorer(msgspec.Struct, frozen=True):
    """Pair of functions: `extract` returns the answer in a response, `scorer` compares it with the right answer."""

    extract: Callable[[str], str]
    scorer: Callable[[str, Any], float]


SCORERS = {
    "exact": Scorer(str.strip, answers.any_target(answers.equal_text)),
    "numeric": Scorer(answers.last_number, answers.any_target(answers.equal_number)),
    "choice": Scorer(choice_answers.chosen_letter, answers.any_target(choice_answers.equal_letter)),
    "boxed": Scorer(answers.last_boxed, answers.any_target(answers.equal_value)),
    "last-integer": Scorer(answers.last_integer, answers.any_target(answers.equal_integer)),
}
"""Built-in scorers. They compare:

- exact: the whole response
- numeric: its last number, by value
- choice: its chosen letter
- boxed: the content of its last \\boxed{}, by value if it is a number
- last-integer: its last integer, as in the GSM8K scripts of vLLM and SGLang
"""

REGEX_PREFIX = "regex:"


def get_scorer(name: str) -> Scorer:
    r"""Return the scorer with this name.

    `regex:PATTERN` extracts the last match of the pattern, or of its group if it has one.

    Raises:
        UsageError: there is no scorer with this name, or the pattern is not a regular expression.
    """
    if name.startswith(REGEX_PREFIX):
        pattern = name.removeprefix(REGEX_PREFIX)
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"{option('scorer', name)} is not a valid regular expression: {error}.") from None
        return Scorer(partial(answers.extract_regex, pattern=pattern, index=-1), answers.any_target(answers.equal_text))
    if name == "judge":
        raise UsageError(
            f"'judge' is not a scorer. Use any {option('scorer')} first, then run `manycall judge OUT --rubric RUBRIC`."
        )
    if name not in SCORERS:
        raise UsageError(f"Unknown scorer {name!r}. Available scorers: {', '.join(SCORERS)} and regex:PATTERN.")
    return SCORERS[name]

"""Scorers by name, for your own benchmarks and for scoring an output again."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.evals.scoring.choice_answers import chosen_letter, equal_letter
from manycall.evals.scoring.letter_logprobs import LOGPROB_PARAMS, most_likely_letter
from manycall.evals.scoring.math_answers import equal_value, last_boxed
from manycall.evals.scoring.number_answers import equal_integer, equal_number, last_integer, last_number
from manycall.evals.scoring.text_answers import any_target, equal_text, extract_regex
from manycall.option_flags import option, spelled
from manycall.records import Completion, Fields


class Scorer(msgspec.Struct, frozen=True):
    """Pair of functions: `extract` returns the answer in a response, `scorer` compares it with the right answer.

    Attributes:
        needs_choices: rows without choices cannot be asked without a prompt.
        answer_text: see `Task.answer_text`.
        params: parameters of every call.
    """

    extract: Callable[[str], str]
    scorer: Callable[[str, Any], float]
    needs_choices: bool = False
    answer_text: Callable[[Completion, Fields], str] | None = None
    params: dict[str, Any] = {}


SCORERS = {
    "exact": Scorer(str.strip, any_target(equal_text)),
    "numeric": Scorer(last_number, any_target(equal_number)),
    "choice": Scorer(chosen_letter, any_target(equal_letter), needs_choices=True),
    "letter-logprob": Scorer(
        str.strip, any_target(equal_letter), needs_choices=True, answer_text=most_likely_letter, params=LOGPROB_PARAMS
    ),
    "boxed": Scorer(last_boxed, any_target(equal_value)),
    "last-integer": Scorer(last_integer, any_target(equal_integer)),
}
"""Built-in scorers. They compare:

- exact: the whole response
- numeric: its last number, by value
- choice: its chosen letter
- letter-logprob: the most likely letter, from the log probabilities of its first token
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
        return Scorer(partial(extract_regex, pattern=pattern, index=-1), any_target(equal_text))
    if name == "judge":
        raise UsageError(
            f"'judge' is not a scorer. Use any {option('scorer')} first, then run "
            f"`{spelled('manycall judge OUT --rubric RUBRIC', 'manycall.judge(out, rubric, ...)')}`."
        )
    if name not in SCORERS:
        raise UsageError(f"Unknown scorer {name!r}. Available scorers: {', '.join(SCORERS)} and regex:PATTERN.")
    return SCORERS[name]

r"""Extract the answer to a question of BIG-Bench Hard, for each of its 27 subtasks.

The readers reproduce the filter `flexible-extract` of the task `bbh_cot_zeroshot` in lm-evaluation-harness 0.4.13.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

from manycall.evals.scoring.choice_texts import letter_or_choice
from manycall.evals.scoring.number_words import last_number_words
from manycall.evals.scoring.text_answers import UNPARSED, extract_regex
from manycall.records import Fields

SubtaskReader = Callable[[str, Fields], str]
"""(response, fields of the row) -> answer."""


def _last(pattern: str) -> SubtaskReader:
    return lambda response, _: extract_regex(response, pattern, index=-1)


def _last_wording(wordings: Mapping[str, str]) -> SubtaskReader:
    """Return a reader of the last wording, in lower case, that returns what it stands for."""
    pattern = re.compile("|".join(rf"\b{wording}\b" for wording in wordings))

    def read(response: str, _: Fields) -> str:
        found = pattern.findall(response.lower())
        return wordings[found[-1]] if found else UNPARSED

    return read


def _number(response: str, _: Fields) -> str:
    """Return the last run of digits and hyphens; without any, the last number in words."""
    digits = extract_regex(response, "([-0-9]+)", index=-1)
    return digits if digits != UNPARSED else last_number_words(response) or UNPARSED


def _choice(response: str, fields: Fields) -> str:
    choices = re.findall(r"\([A-Z]\)([^\n^(]*)", fields["question"])
    return letter_or_choice(response, choices) if choices else extract_regex(response, r"\([A-Z]\)", index=-1)


def _sorted_words(response: str, fields: Fields) -> str:
    """Return the words of the list that occur in the response, in the order of their last occurrences."""
    words = fields["question"].split("List:")[1].split()
    found = re.findall("|".join(rf"\b{word}\b" for word in words), response)
    return " ".join(reversed(dict.fromkeys(reversed(found))))


_YES_OR_NO = _last(r"\b(Yes|No|yes|no)\b")
READERS: Mapping[str, SubtaskReader] = {
    "boolean_expressions": _last(r"\b(True|False)\b"),
    "causal_judgement": _YES_OR_NO,
    "date_understanding": _choice,
    "disambiguation_qa": _choice,
    "dyck_languages": _last(r'(?<= )([" \[\(<{}>\)\]]+)|([" \[\(<{}>\)\]]+)'),
    "formal_fallacies": _last(r"\b(valid|invalid)\b"),
    "geometric_shapes": _choice,
    "hyperbaton": _choice,
    "logical_deduction_five_objects": _choice,
    "logical_deduction_seven_objects": _choice,
    "logical_deduction_three_objects": _choice,
    "movie_recommendation": _choice,
    "multistep_arithmetic_two": _number,
    "navigate": _YES_OR_NO,
    "object_counting": _number,
    "penguins_in_a_table": _choice,
    "reasoning_about_colored_objects": _choice,
    "ruin_names": _choice,
    "salient_translation_error_detection": _choice,
    "snarks": _choice,
    "sports_understanding": _last_wording({"no": "no", "not plausible": "no", "yes": "yes", "plausible": "yes"}),
    "temporal_sequences": _choice,
    "tracking_shuffled_objects_five_objects": _choice,
    "tracking_shuffled_objects_seven_objects": _choice,
    "tracking_shuffled_objects_three_objects": _choice,
    "web_of_lies": _last_wording(
        {
            "no": "no", "does not tell the truth": "no", "is not telling the truth": "no",
            "yes": "yes", "tells the truth": "yes", "is telling the truth": "yes",
        }
    ),
    "word_sorting": _sorted_words,
}  # fmt: skip
"""Readers by the name of the subtask."""

strict_answer = partial(
    extract_regex,
    pattern="(" + "|".join(rf"(?<={words} )(.*)(?=.)" for words in (
        "The answer is", "the answer is", "The answer:", "The final answer:",
    )) + ")",
)  # fmt: skip
"""The first line after one of these wordings, without its last character (lm-eval's `strict-match`)."""
few_shot_answer = partial(extract_regex, pattern=r"(?<=the answer is )(.*)(?=.)")
"""The first line after "the answer is", without its last character: "the answer is True" at the very end is "Tru"."""

IGNORED = (
    partial(re.compile(r"\.$").sub, ""),
    lambda text: text.translate(str.maketrans("", "", ',\\\n"')),
)
"""What the zero-shot comparison ignores: lm-eval's `regexes_to_ignore`."""


def flexible_answer(response: str, fields: Fields) -> str:
    """Return the answer to a row, by the reader of its subtask."""
    return READERS[fields["subtask"]](response, fields)

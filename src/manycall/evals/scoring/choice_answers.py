"""Prompts for questions with lettered choices, and extraction of the chosen letter.

The letter is recognised in English and Chinese answers. If it is not clear, the answer is UNPARSED.
"""

import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from manycall.evals.scoring.text_answers import UNPARSED, after_thinking

_BEFORE = r"(?:[\s*_`\"'“‘「(（\[{$]|\\[(\[]|\\(?:text|textbf|mathbf|mathrm|bf|rm)\b){0,9}"
_LETTER = r"([A-Z])(?![A-Za-z0-9]|['’][A-Za-z]|\s+(?:think|believe|guess|would)\b)"
_AFTER = r"[\s*_`\"'”’」)）\]}$.,:：。]{0,9}"
_IS = r"(?:is|would be|should be|must be)\b"
_LAST = [
    rf"\\boxed\{{{_BEFORE}{_LETTER}",
    rf"(?i:\b(?:answer(?:\s+(?!{_IS})[\w'’,-]++){{0,6}}|choice|option)[\s*_]*(?:\s{_IS}|[:：=])"
    rf"|答案(?:应?[是为选])?|[故应]选)[\s:：*]{{0,9}}{_BEFORE}(?i:(?:option|choice|选项)\b)?{_BEFORE}{_LETTER}",
    rf"(?m:^{_BEFORE}{_LETTER}{_AFTER}$)",
]
"""Patterns of a final answer: in a box, in words, alone on a line. The last match counts."""
_ONLY = [
    rf"(?m:^{_BEFORE}{_LETTER}[*_`\s]*[)）\].:：、,，])",
    rf"(?i:\b(?:answer|choice|option)|选项?)\s*{_BEFORE}{_LETTER}",
]
"""Patterns of a mentioned letter, possibly a rejected one: at the beginning of a line, or called an option."""
LAST_LETTER, ONLY_LETTER = (tuple(map(re.compile, patterns)) for patterns in (_LAST, _ONLY))


def chosen_letter(response: str) -> str:
    """Return the letter that a model has chosen; UNPARSED if it is not clear.

    The last letter that is boxed is returned; else the last that is named as the answer; else the last that is alone
    on a line. Otherwise a letter at the beginning of a line, or called an option, is returned if it is the only one.
    """
    for pattern in LAST_LETTER:
        if letters := pattern.findall(response):
            return str(letters[-1])
    for pattern in ONLY_LETTER:
        if len(named := set(pattern.findall(response))) == 1:
            return str(named.pop())
    return UNPARSED


def final_letter(response: str) -> str:
    """Return the letter that a model has chosen after its thinking text (`chosen_letter`)."""
    return chosen_letter(after_thinking(response))


def equal_letter(answer: str, target: str) -> float:
    """Return 1.0 if the target is this letter, else 0.0. See `target_letter`.

    Raises:
        ValueError: the target is not a letter.
    """
    return float(answer == target_letter(target))


def target_letter(target: str) -> str:
    """Return the letter of a right answer that is written as b, (B), B, or as a position: 0 is A, as in the hub's MMLU.

    Raises:
        ValueError: it is neither a letter nor a position.
    """
    letter = target.strip(" ().").upper()
    if letter.isdecimal() and letter.isascii() and int(letter) < MAX_CHOICES:
        return ascii_uppercase[int(letter)]
    if not re.fullmatch("[A-Z]", letter):
        raise ValueError(f"the right answer {target!r:.100} is not a letter")
    return letter


LIST_FIELDS = ("choices", "options")
MAX_CHOICES = len(ascii_uppercase)


def choices_of(fields: Mapping[str, Any]) -> tuple[str, list[str]] | None:
    """Return where a row has its choices, and their letters; None if it has none.

    The choices are a list or an object ({"A": "…", "B": "…"}) in the field `choices` or `options`, or fields named
    A, B, C, …, for which the name is "".
    """
    for name in LIST_FIELDS:
        match fields.get(name):
            case list() as listed if 2 <= len(listed) <= MAX_CHOICES:
                return name, [*ascii_uppercase[: len(listed)]]
            case dict() as lettered if len(lettered) >= 2 and {*lettered} <= {*ascii_uppercase}:
                return name, [*lettered]
    letters = [letter for letter in ascii_uppercase if letter in fields]
    return ("", letters) if letters[:2] == ["A", "B"] else None


def question_with_choices(fields: Mapping[str, Any]) -> str | None:
    """Return a prompt template for rows with these fields: the question, its choices as "A. …" lines, "Answer:".

    This is the format of lm-eval's MMLU. None if the row has no choices (`choices_of`).
    """
    found = choices_of(fields)
    if found is None:
        return None
    name, letters = found
    if not name:
        lines = "".join(f"{letter}. {{{{ {letter} }}}}\n" for letter in letters)
    elif isinstance(fields[name], list):
        letter = f"'{ascii_uppercase}'[loop.index0]"
        lines = f"{{% for each in {name} %}}{{{{ {letter} }}}}. {{{{ each }}}}\n{{% endfor %}}"
    else:
        lines = f"{{% for letter in {name} %}}{{{{ letter }}}}. {{{{ {name}[letter] }}}}\n{{% endfor %}}"
    return f"{{{{ question | trim }}}}\n{lines}Answer:"

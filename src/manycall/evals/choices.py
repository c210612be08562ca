"""Questions with lettered choices: how they are asked, and which letter a model has chosen; never guessed.

Models say the letter in English or Chinese.
"""

import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from manycall.evals.scorers import INVALID

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
"""Where the answer is said: in a box, in words, alone on a line. The last counts."""
_ONLY = [
    rf"(?m:^{_BEFORE}{_LETTER}[*_`\s]*[)）\].:：、,，])",
    rf"(?i:\b(?:answer|choice|option)|选项?)\s*{_BEFORE}{_LETTER}",
]
"""Where letters are named, be it only to be rejected: at the beginning of a line, as an option."""
LAST, ONLY = (tuple(map(re.compile, patterns)) for patterns in (_LAST, _ONLY))


def choice(response: str) -> str:
    """The last letter that is boxed, or said to be the answer, or alone on a line; else that which begins a line, or
    is called an option, if only one is; else INVALID."""
    for pattern in LAST:
        if letters := pattern.findall(response):
            return str(letters[-1])
    for pattern in ONLY:
        if len(named := set(pattern.findall(response))) == 1:
            return str(named.pop())
    return INVALID


def same_letter(answer: str, target: str) -> float:
    """1.0 if the target is this letter, which may stand there as b, (B) or B.

    Raises:
        ValueError: it is no letter.
    """
    letter = target.strip(" ().").upper()
    if not re.fullmatch("[A-Z]", letter):
        raise ValueError(f"the right answer {target!r:.100} is no letter")
    return float(answer == letter)


LIST_FIELDS = ("choices", "options")
MOST_CHOICES = len(ascii_uppercase)


def question_with_choices(fields: Mapping[str, Any]) -> str | None:
    """Return a template for rows such as this one: the question, its choices as "A. …" lines, "Answer:".

    So lm-eval's MMLU asks. The choices are a list in the field `choices` or `options`, an object there
    ({"A": "…", "B": "…"}), or fields called A, B, C, …; None if the row has none of these.
    """
    for name in LIST_FIELDS:
        match fields.get(name):
            case list() as listed if 2 <= len(listed) <= MOST_CHOICES:
                letter = f"'{ascii_uppercase}'[loop.index0]"
                return _asked(f"{{% for each in {name} %}}{{{{ {letter} }}}}. {{{{ each }}}}\n{{% endfor %}}")
            case dict() as lettered if len(lettered) >= 2 and {*lettered} <= {*ascii_uppercase}:
                return _asked(f"{{% for letter in {name} %}}{{{{ letter }}}}. {{{{ {name}[letter] }}}}\n{{% endfor %}}")
    letters = [letter for letter in ascii_uppercase if letter in fields]
    if letters[:2] != ["A", "B"]:
        return None
    return _asked("".join(f"{letter}. {{{{ {letter} }}}}\n" for letter in letters))


def _asked(lines: str) -> str:
    return f"{{{{ question | trim }}}}\n{lines}Answer:"

r"""Final answers as lm-evaluation-harness 0.4.13 reads and normalises them in `minerva_math` (version 3.1).

The prompt asks for the last line `Final Answer: The final answer is $X$. I hope it is correct.` The rules go back to
appendix D of Lewkowycz et al. (2022), arXiv:2206.14858; lm-eval has since corrected some of them.
"""

import re

from manycall.evals.scoring.math_equality import equal_by_sympy

INVALID_ANSWER = "[invalidanswer]"
"""lm-eval's text for an answer that is not there."""
_END = "I hope it is correct."
_FINAL = re.compile(r"Final Answer: The final answer is(.*?). I hope it is correct.")
"""Its dot before "I hope" is a wildcard: one character before it is always lost."""
_REPLACED = (
    ("an ", ""), ("a ", ""), (".$", "$"), ("\\$", ""), (r"\ ", ""), (" ", ""), ("mbox", "text"), (",\\text{and}", ","),
    ("\\text{and}", ","), ("\\text{m}", "\\text{}"),
)  # fmt: skip
_UNIT_WORDS = (
    "square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units", "sue", "points", "feet",
    "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges", "students",
    "childrentickets", "multiples",
)  # fmt: skip
_REMOVED = (
    *_UNIT_WORDS[:10], "\\ldots", *_UNIT_WORDS[10:], "\\text{s}", "\\text{.}", "\\text{\ns}", "\\text{}^2",
    "\\text{}^3", "\\text{\n}", "\\text{}", r"\mathrm{th}", r"^\circ", r"^{\circ}", r"\;", r",\!", "{,}", '"',
    "\\dots",
)  # fmt: skip
"""The order decides: removing one text can create another."""
_UNITS_APART = tuple(re.compile(rf"(?<!\\)\b{word}\b") for word in _UNIT_WORDS)
_COMMAND = re.compile(r"(\\[a-zA-Z]+)")
_UNWRAPPED = (
    (re.compile(r"(.*?)(\$)(.*?)(\$)(.*)"), r"$\3$"),
    (re.compile(r"(\\text\{)(.*?)(\})"), r"\2"),
    (re.compile(r"(\\textbf\{)(.*?)(\})"), r"\2"),
    (re.compile(r"(\\overline\{)(.*?)(\})"), r"\2"),
    (re.compile(r"(\\boxed\{)(.*)(\})"), r"\2"),
    (re.compile(r"(frac)([^{])(.)"), r"frac{\2}{\3}"),
    (re.compile(r"(sqrt)(\[[^\]]*\])(\w)"), r"\1\2{\3}"),
    (re.compile(r"(sqrt)(?!\[)([^{])"), r"sqrt{\2}"),
)
"""Mathematics within dollar signs, boxes and styles without them; then braces around arguments without braces."""
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+")


def final_answer(response: str) -> str:
    """Return the final answer of a response, normalised; INVALID_ANSWER if there is none."""
    found = _FINAL.search(response + _END)
    return normalize_answer(found[1].strip() if found else INVALID_ANSWER)


def normalize_answer(text: str) -> str:
    """Return an answer without units and styles, as lm-eval's `normalize_final_answer` does."""
    text = text.rpartition("=")[2]
    for unit in _UNITS_APART:
        text = unit.sub("", text)
    for old, new in _REPLACED:
        text = text.replace(old, new)
    for removed in _REMOVED:
        text = _without_word(text, removed) if removed.isalpha() else text.replace(removed, "")
    for pattern, unwrapped in _UNWRAPPED:
        text = pattern.sub(unwrapped, text)
    text = text.replace("$", "")
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def _without_word(text: str, word: str) -> str:
    """Return a text without a word, except in the names of commands: `ft` stays in `\\left`."""
    parts = _COMMAND.split(text)
    parts[::2] = (part.replace(word, "") for part in parts[::2])
    return "".join(parts)


def equal_minerva(answer: str, target: str) -> float:
    """Return 1.0 if two normalised answers are the same text, or if sympy finds that they are equal."""
    return 1.0 if answer and answer == target else equal_by_sympy(answer, target)

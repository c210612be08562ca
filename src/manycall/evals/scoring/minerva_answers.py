r"""Final answers as lm-evaluation-harness 0.4.13 reads and normalises them in `minerva_math` (version 3.1).

The prompt asks for the last line `Final Answer: The final answer is $X$. I hope it is correct.` The rules go back to
appendix D of Lewkowycz et al. (2022), arXiv:2206.14858; lm-eval has since corrected some of them. Its regular
expressions take quadratic time for some texts, so the same is done here without them.
"""

import re

from manycall.evals.scoring.math_equality import equal_by_sympy

INVALID_ANSWER = "[invalidanswer]"
"""lm-eval's text for an answer that is not there."""
_START, _END = "Final Answer: The final answer is", " I hope it is correct"
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
_FRACTION = re.compile(r"(frac)([^{])(.)")
_ROOT = re.compile(r"(sqrt)(?!\[)([^{])")
_WORD = re.compile(r"\w")
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+")


def final_answer(response: str) -> str:
    """Return the final answer of a response, normalised; INVALID_ANSWER if there is none.

    It is what lm-eval's pattern `Final Answer: The final answer is(.*?). I hope it is correct.` matches first. The dots
    are wildcards: one character before " I hope" is always lost.
    """
    for line in f"{response}{_END[1:]}.".split("\n"):
        start = line.find(_START) + len(_START)
        end = line.find(_END, start + 1) if start >= len(_START) else -1
        if 0 <= end < len(line) - len(_END):
            return normalize_answer(line[start : end - 1].strip())
    return normalize_answer(INVALID_ANSWER)


def normalize_answer(text: str) -> str:
    """Return an answer without units and styles, as lm-eval's `normalize_final_answer` does."""
    text = text.rpartition("=")[2]
    for unit in _UNITS_APART:
        text = unit.sub("", text)
    for old, new in _REPLACED:
        text = text.replace(old, new)
    for removed in _REMOVED:
        text = _without_word(text, removed) if removed.isalpha() else text.replace(removed, "")
    text = "\n".join(map(_unwrapped, text.split("\n")))
    text = _ROOT.sub(r"sqrt{\2}", _with_braces_after_index(_FRACTION.sub(r"frac{\2}{\3}", text))).replace("$", "")
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def _without_word(text: str, word: str) -> str:
    """Return a text without a word, except in the names of commands: `ft` stays in `\\left`."""
    parts = _COMMAND.split(text)
    parts[::2] = (part.replace(word, "") for part in parts[::2])
    return "".join(parts)


def _unwrapped(line: str) -> str:
    """Return the mathematics within the first two dollar signs of a line, without styles and without a box."""
    if line.count("$") > 1:
        line = f"${line.split('$', 2)[1]}$"
    for command in ("\\text{", "\\textbf{", "\\overline{"):
        line = _without_command(line, command)
    before, command, rest = line.partition("\\boxed{")
    inside, brace, after = rest.rpartition("}")
    return f"{before}{inside}{after}" if command and brace else line


def _without_command(line: str, command: str) -> str:
    """Return a line with `command{X}` replaced by X, where X ends at the next brace."""
    parts, at = [], 0
    while (start := line.find(command, at)) >= 0 and (end := line.find("}", start + len(command))) >= 0:
        parts += [line[at:start], line[start + len(command) : end]]
        at = end + 1
    return "".join([*parts, line[at:]])


def _with_braces_after_index(text: str) -> str:
    """Return a text with `sqrt[3]8` replaced by `sqrt[3]{8}`."""
    parts, at, search, end = [], 0, 0, -1
    while (start := text.find("sqrt[", search)) >= 0:
        if end < start + len("sqrt["):
            end = text.find("]", start + len("sqrt["))
        if end < 0:
            break
        search = start + len("sqrt[")
        if _WORD.match(text, end + 1):
            parts.append(f"{text[at : end + 1]}{{{text[end + 1]}}}")
            at = search = end + 2
    return "".join([*parts, text[at:]])


def equal_minerva(answer: str, target: str) -> float:
    """Return 1.0 if two normalised answers are the same text, or if sympy finds that they are equal.

    A missing answer is wrong. lm-eval lets sympy read INVALID_ANSWER as a product of letters, which takes 30 ms and
    equals no right answer.
    """
    if answer == INVALID_ANSWER:
        return 0.0
    return 1.0 if answer and answer == target else equal_by_sympy(answer, target)

r"""Boxes and LaTeX as lm-evaluation-harness reads and compares them (`tasks/aime/utils.py`).

They go back to the code of Hendrycks et al. (2021), arXiv:2103.03874. The functions return what lm-eval's return for
every text, including what looks like a mistake. Our own reader of boxes is `math_answers.last_boxed`.
"""

import re

_BOX_WITH_SPACE = r"\boxed "
_REMOVED_FIRST = ("\n", r"\!")
_REMOVED = (r"\left", r"\right", r"^{\circ}", r"^\circ", r"\$")
_UNIT = r"\text{ "


def hendrycks_box(response: str) -> str | None:
    r"""Return the content of the last box; None if there is no box or lm-eval ignores it.

    If the text contains `\boxed ` with a space, the box is what follows the last one, up to a dollar sign. Otherwise it
    is what follows the last `\boxed`, in balanced braces. An unclosed box, and one with something between `\boxed` and
    its brace, are ignored.
    """
    if _BOX_WITH_SPACE in response:
        return response.rpartition(_BOX_WITH_SPACE)[2].partition("$")[0]
    start = response.rfind(r"\boxed")
    if start < 0 or not response.startswith(r"\boxed{", start):
        return None  # an \fbox is found by lm-eval, but it then fails an assertion
    depth = 0
    for brace in re.finditer("[{}]", response[start:]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return response[start + len(r"\boxed{") : start + brace.start()]
    return None


def dollar_or_box(response: str) -> str:
    """Return the last box; else the text between the first and the last dollar sign; else the whole response."""
    box = hendrycks_box(response)
    if box is not None:
        return box
    first, last = response.find("$"), response.rfind("$")
    return response if first == last else response[first + 1 : last]


def equal_latex(answer: str, target: str) -> float:
    """Return 1.0 if both are equal after `normalize_latex`; if that fails for one of them, if the texts are equal."""
    try:
        return float(normalize_latex(answer) == normalize_latex(target))
    except ValueError:
        return float(answer == target)


def normalize_latex(text: str) -> str:
    r"""Return LaTeX in the form in which it is compared: `\frac12` and `1/2` as `\frac{1}{2}`, no spaces and no units.

    The steps and their order are those of `strip_string`.

    Raises:
        ValueError: lm-eval's function raises an exception.
    """
    for piece in _REMOVED_FIRST:
        text = text.replace(piece, "")
    text = text.replace(r"\\", "\\").replace("tfrac", "frac").replace("dfrac", "frac")
    for piece in _REMOVED:
        text = text.replace(piece, "")
    if text.count(_UNIT) > 1:
        raise ValueError("the text has two units")
    text = text.partition(_UNIT)[0].replace(r"\%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    text = f"0{text}" if text.startswith(".") else text
    name, equals, value = text.partition("=")
    if equals and "=" not in value and len(name) <= 2:
        text = value
    text = _with_braces_after_sqrt(text).replace(" ", "")
    text = _with_braces_after_frac(text)
    return _slash_as_frac(r"\frac{1}{2}" if text == "0.5" else text)


def _with_braces_after_sqrt(text: str) -> str:
    head, *roots = text.split(r"\sqrt")
    if not all(roots):
        raise ValueError("a root has no argument")
    return head + "".join(rf"\sqrt{root}" if root[0] == "{" else rf"\sqrt{{{root[0]}}}{root[1:]}" for root in roots)


def _with_braces_after_frac(text: str) -> str:
    head, *fractions = text.split(r"\frac")
    parts = [head]
    for part in fractions:
        if not part:
            raise ValueError("a fraction has no arguments")
        if part[0] == "{":
            parts.append(rf"\frac{part}")
        elif len(part) < 2:
            return text
        else:
            above, below, rest = part[0], part[1], part[2:]
            parts.append(rf"\frac{{{above}}}{below}{rest}" if below == "{" else rf"\frac{{{above}}}{{{below}}}{rest}")
    return "".join(parts)


def _slash_as_frac(text: str) -> str:
    parts = text.split("/")
    if len(parts) != 2:
        return text
    above, below = int(parts[0]), int(parts[1])  # ValueError, as in lm-eval, if one of them is not an integer
    return rf"\frac{{{above}}}{{{below}}}" if text == f"{above}/{below}" else text

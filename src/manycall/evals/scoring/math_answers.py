"""Extract a mathematical expression from a response and compare it with the right answer."""

import re

from manycall.evals.scoring.number_answers import number_value
from manycall.evals.scoring.text_answers import UNPARSED


def last_boxed(response: str) -> str:
    r"""Return the content of the last \boxed{...} with balanced braces; UNPARSED if there is none."""
    start = response.rfind(r"\boxed{")
    depth = 0
    for at in range(start, len(response)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(response[at], 0)
        if response[at] == "}" and not depth:
            return response[start + len(r"\boxed{") : at].strip()
    return UNPARSED


def equal_value(answer: str, target: str) -> float:
    """Return 1.0 if answer and target are the same number, or the same text without spaces and dollar signs."""
    stripped, expected = (re.sub(r"\\?[\s$]|\\[,;!]", "", text) for text in (answer, target.rpartition("#### ")[2]))
    value = number_value(stripped)
    return float(stripped == expected or (value is not None and value == number_value(expected)))

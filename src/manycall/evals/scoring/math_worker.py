"""The comparisons of math_equality.py, as they run in a process of their own. It imports math-verify and sympy."""

import logging
import resource
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import sympy
from math_verify import parse, verify
from sympy.parsing.latex import parse_latex

from manycall.evals.scoring.text_answers import UNPARSED
from manycall.evals.tasks.task import Filter, Task
from manycall.records import Fields

MEMORY_BYTES = 4 << 30
SIMPLIFY_SECONDS = 5
"""As in lm-eval. The default limits of math-verify are 5 s as well."""


def worker_task() -> Task:
    """Return the task whose only filter makes the comparison that a row asks for. Limits the memory of the process."""
    logging.disable()  # math-verify logs every timeout, and the terminal belongs to the user
    warnings.simplefilter("ignore")  # math-verify uses sympy in ways that sympy warns of
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    _warm_up()
    return Task((), "", Filter(_compare), lambda answer, target: 0.0)


def _warm_up() -> None:
    """Make one comparison of each kind without a time limit: the first one builds the parsers, for seconds if the
    machine is busy."""
    half = parse(r"$\frac12$", parsing_timeout=None)
    verify(half, parse(r"\boxed{0.5}", parsing_timeout=None), timeout_seconds=None)
    sympy.simplify(parse_latex("1"))


def _compare(answer: str, fields: Fields) -> tuple[str, float]:
    return WAYS[fields["way"]](answer, fields["answer"])


def _verify_response(response: str, gold: str) -> tuple[str, float]:
    found = parse(response)
    return str(found[-1]) if found else UNPARSED, float(verify(gold=parse(gold), target=found))


def _equal_expressions(answer: str, target: str) -> tuple[str, float]:
    read = parse(rf"\boxed{{{answer}}}", extraction_mode="first_match")  # all of it: the default tries parts as well
    return answer, float(verify(gold=parse(f"${target}$"), target=read))


def _equal_by_sympy(answer: str, target: str) -> tuple[str, float]:
    signal.signal(signal.SIGALRM, _raise_timeout)
    signal.alarm(SIMPLIFY_SECONDS)
    try:
        return answer, float(sympy.simplify(parse_latex(answer) - parse_latex(target)) == 0)
    except Exception:  # an expression that cannot be parsed, subtracted or simplified in time is not equal
        return answer, 0.0
    finally:
        signal.alarm(0)


def _raise_timeout(number: int, frame: Any) -> None:
    raise TimeoutError


WAYS: dict[str, Callable[[str, str], tuple[str, float]]] = {
    "verify_response": _verify_response,
    "equal_expressions": _equal_expressions,
    "equal_by_sympy": _equal_by_sympy,
}
"""Name of a function of math_equality -> what it does here."""

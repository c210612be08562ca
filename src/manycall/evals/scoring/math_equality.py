r"""Compare mathematical answers with math-verify and sympy, in processes that can be killed (the `math` extra).

Both are slow on some answers (sympy computes 9^{9^{9^9}} as far as the memory reaches) and work only in the main thread
of a process. Therefore each comparison runs in a process of a separate pool (scorer_process.py), which is killed after
`SECONDS`. The answer is then wrong, and what was extracted is `TIMED_OUT`.
"""

from functools import cache

from manycall.evals.scoring.scorer_process import ScorerFailed, ScorerNotLoaded, ScorerProcesses, ScorerTooSlow
from manycall.evals.tasks.extras import require_extra

MATH_PREFIX = "math:"
"""Origin from which a process loads `math_worker.worker_task`."""
SECONDS = 10.0
ATTEMPTS = 2
"""Number of processes that try an answer: an idle process may have been killed before it got the answer."""
TIMED_OUT = "[timeout]"
"""Extracted answer if the comparison took too long or too much memory. It counts as wrong."""


def verify_response(response: str, gold: str) -> tuple[str, float]:
    """Return (answer that math-verify reads in the response, whether it equals that in `gold`).

    Both texts are read whole, with the default settings of math-verify, which is not symmetric.
    """
    return _ask("verify_response", response, gold)


def equal_expressions(answer: str, target: str) -> float:
    """Return 1.0 if math-verify reads two whole expressions in LaTeX and finds that they are equal, else 0.0."""
    return _ask("equal_expressions", answer, target)[1]


def equal_by_sympy(answer: str, target: str) -> float:
    """Return 1.0 if the difference of two expressions in LaTeX simplifies to 0, else 0.0."""
    return _ask("equal_by_sympy", answer, target)[1]


def _ask(way: str, answer: str, target: str) -> tuple[str, float]:
    for _ in range(ATTEMPTS):
        try:
            return _processes().grade(answer, {"way": way, "answer": target})["score"]
        except ScorerTooSlow:
            break
        except ScorerNotLoaded:  # the row has failed: an answer that was not compared is not wrong
            raise
        except ScorerFailed:  # the process has ended, perhaps long before this answer
            continue
    return TIMED_OUT, 0.0


@cache
def _processes() -> ScorerProcesses:
    """Return the pool of this process, which starts a process with the first comparison.

    Raises:
        UsageError: the extra is not installed.
    """
    require_extra("math", "Comparing mathematical answers")
    return ScorerProcesses(MATH_PREFIX, SECONDS)

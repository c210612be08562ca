"""Fields of an answer by a user's regular expression, as a task: each group is a filter.

The pattern runs in a process that can be killed (scorer_process.py), like every regular expression of a user.
"""

import re
from functools import partial
from typing import Any

from manycall.evals.tasks.task import Task

EXTRACT_PREFIX = "extract:"
"""Prefix of the origin from which a process loads the task."""
EXTRACT_SECONDS = 5.0
"""Seconds that one answer may take."""
ONLY_GROUP = ""
"""Name of the filter for the first group, if the pattern has no named groups, or for the whole match."""


def extraction_task(pattern: str) -> Task:
    """Return a task whose filters are the named groups of a pattern; ONLY_GROUP if it has none.

    Raises:
        re.error: the pattern is not a regular expression.
    """
    compiled = re.compile(pattern)
    groups: dict[str, int] = dict(compiled.groupindex) or {ONLY_GROUP: min(1, compiled.groups)}
    filters = {name: partial(_extract_group, compiled, number) for name, number in groups.items()}
    return Task((), "", filters, _no_score, origin=f"{EXTRACT_PREFIX}{pattern}", scoring_timeout=EXTRACT_SECONDS)


def _extract_group(pattern: re.Pattern[str], group: int, text: str) -> str | None:
    """Return a group of the last match that is not empty; None if there is no such match or the group took no part."""
    last = None
    for match in pattern.finditer(text):
        if match[0]:
            last = match
    return None if last is None else last[group]


def _no_score(answer: Any, target: Any) -> float:
    return 0.0

"""Where the scores of a row come from: graded again by the task as it is now, or as they stand.

What stands in a row is of the day when it was answered; the functions may have been mended since.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall.errors import UsageError
from manycall.evals.metrics import NO_SCORE
from manycall.evals.scorer_process import ScorerFailed, grade_function
from manycall.evals.tasks import Task

Grades = Mapping[str, tuple[Any, float]]
"""Filter -> (what was read, score)."""
Grader = Callable[[int, Mapping[str, Any]], Grades]
"""(offset in the file, row) -> its grades."""


def grader(path: Path, task: Task) -> Grader:
    """What grades the rows of an output.

    Raises:
        UsageError: from what is returned: a row without a response or a right answer, or one that cannot be scored.
    """

    graded = grade_function(task)

    def grade(offset: int, row: Mapping[str, Any]) -> Grades:
        where = f"{path}, the row at byte {offset:,}"
        if not isinstance(row.get("response"), str) or task.target not in row:
            raise UsageError(f"{where}: to be scored it needs the fields response and {task.target}")
        try:
            return graded(row["response"], row[task.target])
        except ScorerFailed as failed:
            raise UsageError(f"{where}: {task.name} cannot score it: {failed}") from None
        except Exception as error:  # the user's own functions
            raise UsageError(f"{where}: {task.name} cannot score it: {type(error).__name__}: {error}") from error

    return grade


def standing(fields: Sequence[str], by: str | None = None) -> Grader:
    """What takes the scores as they stand in a row.

    Args:
        fields: "score", which holds a number or several by name, and those that a judge has written.
        by: take but this one of them, or else the number in this field, `judge.score`.
    """

    def grades(_: int, row: Mapping[str, Any]) -> Grades:
        found: dict[str, Any] = {}
        for field in fields:
            held = row.get(field)
            if not isinstance(held, dict):
                found[field] = held
            elif field == "score":
                found |= held
            else:
                found[field] = held.get("score")
        if by is not None:
            found = {by: found.get(by, _field(row, by))}
        extracted = row.get("extracted")
        read = extracted if isinstance(extracted, dict) else {}
        return {
            name: (read.get(name, ""), float(value))
            for name, value in found.items()
            if isinstance(value, int | float) and abs(value) < NO_SCORE
        }

    return grades


def _field(row: Any, path: str) -> Any:
    """What stands at `judge.score`; None if nothing does."""
    for name in path.split("."):
        row = row.get(name) if isinstance(row, Mapping) else None
    return row

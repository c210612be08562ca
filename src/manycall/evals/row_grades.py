"""Scores of a row: computed again by the task, or as stored in the output.

Stored scores were computed when the row was answered. The functions of the task may have changed since.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall.errors import UsageError
from manycall.evals.scoring.scorer_process import ScorerFailed, grade_function
from manycall.evals.stats.mean import MAX_SCORE_MAGNITUDE
from manycall.evals.tasks.task import Task

RowGrades = Mapping[str, tuple[Any, float]]
"""Filter name -> (extracted answer, score)."""
RowGrader = Callable[[int, Mapping[str, Any]], RowGrades]
"""(byte offset in the file, row) -> grades of the row."""


def task_grader(path: Path, task: Task) -> RowGrader:
    """Return a function that scores the rows of an output with a task.

    The function raises UsageError for a row that has no response or no right answer, or that cannot be scored.
    """
    grade_response = grade_function(task)

    def grade(offset: int, row: Mapping[str, Any]) -> RowGrades:
        location = f"{path}, the row at byte {offset:,}"
        if not isinstance(row.get("response"), str) or task.target not in row:
            raise UsageError(f"{location}: scoring needs the fields response and {task.target}.")
        try:
            return grade_response(row["response"], dict(row))
        except UsageError:
            raise
        except ScorerFailed as failed:
            raise UsageError(f"{location}: {task.name} cannot score it: {failed}") from None
        except Exception as error:  # the user's own functions
            raise UsageError(f"{location}: {task.name} cannot score it: {type(error).__name__}: {error}") from error

    return grade


def stored_grader(fields: Sequence[str], by: str | None = None) -> RowGrader:
    """Return a function that reads the scores stored in a row.

    Args:
        fields: fields with scores: "score", which holds a number or an object of numbers by name, and fields that a
            judge wrote.
        by: read only this score, or the number in this field, for example `judge.score`.
    """

    def grades(_: int, row: Mapping[str, Any]) -> RowGrades:
        scores: dict[str, Any] = {}
        for field in fields:
            stored = row.get(field)
            if not isinstance(stored, dict):
                scores[field] = stored
            elif field == "score":
                scores |= stored
            else:
                scores[field] = stored.get("score")
        if by is not None:
            scores = {by: scores.get(by, _field(row, by))}
        extracted = row.get("extracted")
        answers = extracted if isinstance(extracted, dict) else {}
        return {
            name: (answers.get(name, ""), float(value))
            for name, value in scores.items()
            if isinstance(value, int | float) and abs(value) < MAX_SCORE_MAGNITUDE
        }

    return grades


def _field(row: Any, path: str) -> Any:
    """Return the value at a dotted path such as `judge.score`; None if there is none."""
    for name in path.split("."):
        row = row.get(name) if isinstance(row, Mapping) else None
    return row


PROMPT_FIELDS = ("question", "answer")
"""Fields that must be equal in two runs over the same questions, if both rows have them."""


def have_different_questions(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two rows with the same id contain different questions or answers."""
    return any(name in row and name in other and row[name] != other[name] for name in PROMPT_FIELDS)

"""Scores of a row: computed again by the task, or as stored in the output.

Stored scores were computed when the row was answered. The functions of the task may have changed since.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manycall.errors import UsageError
from manycall.evals.no_answer import no_answer_grades
from manycall.evals.scoring.scorer_process import ScorerFailed, grade_function
from manycall.evals.stats.mean import MAX_SCORE_MAGNITUDE
from manycall.evals.tasks.task import Task
from manycall.providers import reasoning
from manycall.store.output_reader import OutputReader

RowGrades = Mapping[str, tuple[Any, float]]
"""Filter name -> (extracted answer, score)."""
RowGrader = Callable[[int, Mapping[str, Any]], RowGrades]
"""(byte offset in the file, row) -> grades of the row."""


def may_contain_thinking(output: OutputReader) -> bool:
    """Return whether responses may begin with thinking text that is not a part of the answer.

    manycall separates it before `eval` scores an answer. lm-eval scores it, so its samples keep lm-eval's scores.
    """
    return output.manifest is None or output.settings.get("reasoning") == "inline"


def task_grader(output: OutputReader, task: Task) -> RowGrader:
    """Return a function that scores the rows of an output with a task.

    If responses may contain thinking text, it is not scored, and a response without anything else is wrong.
    The function raises UsageError for a row that has no response or no right answer, or that cannot be scored.
    """
    grade_response, splits = grade_function(task), may_contain_thinking(output)

    def grade(offset: int, row: Mapping[str, Any]) -> RowGrades:
        location = f"{output.path}, the row at byte {offset:,}"
        if not isinstance(row.get("response"), str) or task.target not in row:
            raise UsageError(f"{location}: scoring needs the fields response and {task.target}.")
        answer = row["response"]
        if splits and reasoning.begins_with_thinking(answer):
            _, answer = reasoning.split(answer, is_thinker=False, finish=str(row.get("finish_reason", "")))
            if not answer:
                return no_answer_grades(task.filters)
        try:
            return grade_response(answer, dict(row))
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

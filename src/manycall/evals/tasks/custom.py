"""Tasks from the user's files: rows with the fields `question` and `answer`, a prompt and a scorer."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from manycall.data.prompt_template import PromptLike
from manycall.data.row_files import read_rows
from manycall.errors import UsageError
from manycall.evals.scoring.choice_answers import question_with_choices
from manycall.evals.scoring.scorers import REGEX_PREFIX, SCORERS, get_scorer
from manycall.evals.scoring.text_answers import UNPARSED
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.option_flags import option, quoted_option

QUESTION_PROMPT = "{{ question }}"
TASK_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def custom_task(rows: Path, prompt: PromptLike | None = None, scorer: str | None = None) -> Task:
    """Return the task in a file of rows.

    Args:
        rows: the file.
        prompt: a template over a row's fields. Default: the question, with its choices for the scorer `choice`.
        scorer: name of the scorer that extracts and compares answers, see `SCORERS`. It is required.

    Raises:
        UsageError: the scorer is missing or unknown, or a row has no answer, no choices, or an answer that the scorer
            cannot compare with.
    """
    if not rows.is_file():
        raise UsageError(f"{rows}: file not found.")
    if scorer is None:
        available = "|".join([*SCORERS, f"{REGEX_PREFIX}PATTERN"])
        raise UsageError(f"{rows}: missing scorer. Pass {option('scorer', available)}.")
    task, has_prompt = scorer_task(scorer), prompt is not None
    for where, fields in read_rows(rows):
        if "answer" not in fields:
            raise UsageError(f"{rows}, {where}: missing field 'answer'. The row's fields: {', '.join(fields)}.")
        try:
            task.compare(UNPARSED, fields["answer"])
        except ValueError as error:
            raise UsageError(
                f"{rows}, {where}: {error}, so {option('scorer', scorer)} cannot score this row."
            ) from None
        if scorer == "choice" and not has_prompt:
            prompt = _choices_template(fields, prompt, f"{rows}, {where}")
    return replace(task, rows=rows, prompt=prompt or QUESTION_PROMPT, name=rows.name, answer_key=str(rows))


def _choices_template(fields: dict[str, Any], previous: PromptLike | None, where: str) -> str:
    """Return the template that shows the choices of a row.

    Raises:
        UsageError: the row has no choices, or has them in other fields than the rows before.
    """
    template = question_with_choices(fields)
    if template is None:
        raise UsageError(
            f"{where}: {option('scorer', 'choice')} found no choices to show. The row needs a list `choices` or the "
            f"fields A, B, …. If the question already contains them, pass {quoted_option('prompt', '{{ question }}')}."
        )
    if previous is not None and template != previous:
        raise UsageError(
            f"{where}: the choices are not in the same fields as in the first row. Pass {option('prompt', 'TEMPLATE')}."
        )
    return template


def scorer_task(name: str) -> Task:
    """Return a task without rows that uses the scorer with this name.

    Raises:
        UsageError: there is no such scorer.
    """
    scorer = get_scorer(name)
    origin = name if name.startswith(REGEX_PREFIX) else ""
    return Task(
        (), QUESTION_PROMPT, {name: scorer.extract}, scorer.scorer, name=name, is_fast=not origin, origin=origin
    )


def find_scorer(name: str) -> tuple[Task, str]:
    """Return (task without rows, filter name or "") for the name of a task, TASK/FILTER or the name of a scorer.

    Raises:
        UsageError: there is no such task, filter or scorer.
    """
    head, _, filter_name = name.partition("/")
    if head in TASKS:
        if filter_name and filter_name not in {*TASKS[head].filters, *TASKS[head].votes}:
            raise UsageError(f"{head} has no filter {filter_name!r}. Its filters: {', '.join(TASKS[head].filters)}.")
        return TASKS[head], filter_name
    if name in SCORERS or name.startswith(REGEX_PREFIX):
        return scorer_task(name), ""
    raise UsageError(f"Unknown scorer {name!r}. Available scorers: {scorer_names()}.")


def scorer_names() -> str:
    """Return the names of all tasks and scorers as a text."""
    return f"{task_names()}; or, for any task, {', '.join(SCORERS)} and {REGEX_PREFIX}PATTERN"


def task_names() -> str:
    """Return the names of all tasks as a text."""
    return ", ".join(TASKS)

"""Tasks from the user's files: rows with the fields `question` and `answer`, a prompt and a scorer."""

from pathlib import Path

from msgspec.structs import replace

from manycall.data.prompt_template import PromptLike
from manycall.data.row_files import read_rows
from manycall.errors import UsageError
from manycall.evals.scoring.choice_answers import choices_of, question_with_choices, target_letter
from manycall.evals.scoring.scorers import REGEX_PREFIX, SCORERS, get_scorer
from manycall.evals.scoring.text_answers import UNPARSED
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.option_flags import option, quoted_option
from manycall.records import Fields
from manycall.render import as_text

QUESTION_PROMPT = "{{ question }}"
TASK_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def custom_task(rows: Path, prompt: PromptLike | None = None, scorer: str | None = None) -> Task:
    """Return the task in a file of rows.

    Args:
        rows: the file.
        prompt: a template over a row's fields. Default: the question, with its choices if the rows have any.
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
    task, has_prompt, needs_choices = scorer_task(scorer), prompt is not None, get_scorer(scorer).needs_choices
    for where, fields in read_rows(rows):
        if "answer" not in fields:
            raise UsageError(f"{rows}, {where}: missing field 'answer'. The row's fields: {', '.join(fields)}.")
        try:
            task.compare(UNPARSED, fields["answer"])
        except ValueError as error:
            raise UsageError(
                f"{rows}, {where}: {error}, so {option('scorer', scorer)} cannot score this row."
            ) from None
        if needs_choices:
            _check_choice(fields, f"{rows}, {where}")
        if not has_prompt:
            template = _default_template(fields, f"{rows}, {where}", scorer if needs_choices else "")
            if prompt is not None and template != prompt:
                raise UsageError(
                    f"{rows}, {where}: the choices are not in the same fields as in the first row. "
                    f"Pass {option('prompt', 'TEMPLATE')}."
                )
            prompt = template
    return replace(task, rows=rows, prompt=prompt or QUESTION_PROMPT, name=rows.name, answer_key=str(rows))


def _default_template(fields: Fields, where: str, scorer: str) -> str:
    """Return the template that shows the question of a row, with its choices if it has any.

    Args:
        scorer: name of the scorer if it needs choices.

    Raises:
        UsageError: the row needs choices and has none.
    """
    template = question_with_choices(fields)
    if template is None and scorer:
        raise UsageError(
            f"{where}: {option('scorer', scorer)} found no choices to show. The row needs a list `choices` or the "
            f"fields A, B, …. If the question already contains them, pass {quoted_option('prompt', '{{ question }}')}."
        )
    return template or QUESTION_PROMPT


def _check_choice(fields: Fields, where: str) -> None:
    """Check that the right answer is one of the choices, if the row has any.

    Raises:
        UsageError: it is not.
    """
    found, answers = choices_of(fields), fields["answer"]
    for answer in answers if isinstance(answers, list) else [answers]:
        if found is not None and target_letter(as_text(answer)) not in found[1]:
            raise UsageError(
                f"{where}: the right answer {as_text(answer):.100} is none of the {len(found[1])} choices. "
                "An answer is a letter, or a position that is counted from 0."
            )


def scorer_task(name: str) -> Task:
    """Return a task without rows that uses the scorer with this name.

    Raises:
        UsageError: there is no such scorer.
    """
    scorer = get_scorer(name)
    origin = name if name.startswith(REGEX_PREFIX) else ""
    return Task(
        (),
        QUESTION_PROMPT,
        {name: scorer.extract},
        scorer.scorer,
        name=name,
        is_fast=not origin,
        origin=origin,
        answer_text=scorer.answer_text,
        params=scorer.params,
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

"""A benchmark of one's own: a file with the fields `question` and `answer`, a prompt, and a match."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from manycall.data.files import read
from manycall.data.templates import Prompt
from manycall.errors import UsageError
from manycall.evals.choices import question_with_choices
from manycall.evals.matches import MATCHES, REGEX, match
from manycall.evals.scorers import INVALID
from manycall.evals.tasks import TASKS, Task

QUESTION = "{{ question }}"
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def own(rows: Path, prompt: Prompt | None = None, matched: str | None = None) -> Task:
    """The task in a file.

    Args:
        prompt: over a row's fields; default: the question, with its choices if the match is `choice`.
        matched: how an answer is read and compared: see `MATCHES`.

    Raises:
        UsageError: a row without an answer or without choices, or with an answer that this match cannot compare with;
            no such match, or none.
    """
    if not rows.is_file():
        raise UsageError(f"{rows}: there is no such file")
    if matched is None:
        raise UsageError(f"{rows}: say how answers are compared: --match {'|'.join(MATCHES)}|{REGEX}PATTERN")
    task, is_given = as_task(matched), prompt is not None
    for where, fields in read(rows):
        if "answer" not in fields:
            raise UsageError(f"{rows}, {where}: a question needs the field answer; the row has {', '.join(fields)}")
        try:
            task.compare(INVALID, fields["answer"])
        except ValueError as error:
            raise UsageError(f"{rows}, {where}: {error}: --match {matched} cannot use it") from None
        if matched == "choice" and not is_given:
            prompt = _with_choices(fields, prompt, f"{rows}, {where}")
    return replace(task, rows=rows, prompt=prompt or QUESTION, name=rows.name, key=str(rows))


def _with_choices(fields: dict[str, Any], before: Prompt | None, where: str) -> str:
    """Return the template that shows this row's choices.

    Raises:
        UsageError: it has none, or others than the rows before.
    """
    template = question_with_choices(fields)
    if template is None:
        raise UsageError(
            f"{where}: --match choice finds no choices to show: the row needs a list `choices`, or the fields A, B, …; "
            "if the question holds them already, say -p '{{ question }}'"
        )
    if before is not None and template != before:
        raise UsageError(f"{where}: the choices are not in the same fields as those of the first row: say -p TEMPLATE")
    return template


def as_task(matched: str) -> Task:
    """A task that reads and compares answers in this way, without rows.

    Raises:
        UsageError: there is no such match.
    """
    way = match(matched)
    origin = matched if matched.startswith(REGEX) else ""
    return Task((), QUESTION, {matched: way.extract}, way.score, name=matched, quick=not origin, origin=origin)


def scoring(name: str) -> tuple[Task, str]:
    """(task, its one filter or "") for `--as`: a task, TASK/FILTER, or a match; enough to score with, without rows.

    Raises:
        UsageError: there is no such thing.
    """
    head, _, only = name.partition("/")
    if head in TASKS:
        if only and only not in {*TASKS[head].filters, *TASKS[head].votes}:
            raise UsageError(f"{head} has no filter {only!r}; it has {', '.join(TASKS[head].filters)}")
        return TASKS[head], only
    if name in MATCHES or name.startswith(REGEX):
        return as_task(name), ""
    raise UsageError(f"there is no task {name!r}; there are {ways()}")


def ways() -> str:
    """All that answers can be scored with."""
    return f"{listed()}; and, whatever the task, {', '.join(MATCHES)} and {REGEX}PATTERN"


def listed() -> str:
    """The names of all tasks."""
    return ", ".join(TASKS)

"""Score the responses of an existing output without making calls."""

from functools import partial
from pathlib import Path

from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.answer_checks import AnswerChecks
from manycall.evals.eval_result import CRASHED, MAX_WRONG_EXAMPLES, EvalResult, WrongAnswer
from manycall.evals.grouped_scores import GroupedScores, subtask_group_scores
from manycall.evals.lm_eval.samples import LmEvalSamples, open_output
from manycall.evals.no_answer import NoAnswer, UnansweredRows, no_answer_grades
from manycall.evals.protocol_changes import protocol_changes
from manycall.evals.row_grades import task_grader
from manycall.evals.score_accumulator import ScoreAccumulator
from manycall.evals.tasks.custom import TASK_SUFFIXES, find_scorer, scorer_names, scorer_task
from manycall.evals.tasks.fewshot import protocol_num_fewshot
from manycall.evals.tasks.published_data import SAMPLE_SETTING
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.option_flags import option, rerun, spelled
from manycall.store.output_reader import OutputReader


def score(
    output: str | Path,
    *,
    scorer: str | Task | None = None,
    group_by: str | None = None,
    no_answer: NoAnswer = "wrong",
) -> EvalResult:
    """Score the responses in an output again without making calls.

    Args:
        output: an output of `evaluate`, any file of rows with `response` and `answer`, or a samples_*.jsonl of lm-eval.
        scorer: a `Task`, "task", "task/filter", or the name of a scorer ("numeric", "regex:PATTERN"). Default: the task
            that wrote the output.
        group_by: a field of the rows, for example "subject". Scores are also reported for each of its values. Default:
            the field with the subtasks of the task, if it has any.
        no_answer: "wrong" scores rows without an answer (only thinking text, an empty text, a refusal) as 0, as lm-eval
            does. "exclude" leaves them out of the scores. Rows whose call failed are never scored.

    Raises:
        UsageError: the file, task or filter does not exist, or a row lacks the response or the field `group_by`.
    """
    reader = open_output(output)
    task, only = find_scorer(scorer) if isinstance(scorer, str) else (scorer or task_of(reader), "")
    grade, names = task_grader(reader, task), [only] if only in task.filters else list(task.filters)
    unanswered = UnansweredRows(reader, no_answer)
    new_accumulator = partial(ScoreAccumulator, task.name, task.filters, reader, unanswered.failed)
    accumulator, checks = new_accumulator(), AnswerChecks(reader)
    field = task.subtask if group_by is None else group_by
    groups = GroupedScores(field, new_accumulator, required=group_by is not None)
    rows = truncated = 0
    wrong: list[WrongAnswer] = []
    for offset, row in reader.rows():
        grades, is_truncated = grade(offset, row), row.get("finish_reason") == "length"
        rows += 1
        truncated += is_truncated
        row_id = str(row.get("id", ""))
        unanswered.discard(row_id)
        weights = task.weights(row)
        accumulator.add(row_id, grades, weights)
        groups.add(row, grades, weights)
        checks.add(row_id, row["response"], grades)
        if len(wrong) < MAX_WRONG_EXAMPLES and not is_truncated and any(grades[name][1] == 0 for name in names):
            wrong.append(WrongAnswer.of(row, {name: str(grades[name][0]) for name in names}, task.target))
    for row_id, failed in unanswered.items():
        grades, weights = no_answer_grades(task.filters), task.weights(failed.fields)
        accumulator.add(row_id, grades, weights)
        groups.add({field: "no answer", **failed.fields, "id": row_id}, grades, weights)
    crashed = CRASHED in reader.failure_counts  # lm-eval would have crashed too and reported no score
    scores = [
        replace(
            score, unparsed=checks.unparsed[score.filter], failed_as_wrong=None if crashed else score.failed_as_wrong
        )
        for score in accumulator.scores(task.votes)
        if only in ("", score.filter)
    ]
    by_group = {name: [s for s in each if only in ("", s.filter)] for name, each in groups.scores(task.votes)}
    has_subtasks = bool(task.subtask) and field == task.subtask
    return EvalResult(
        task=task.name, out=reader.path, scores=scores, scored_rows=rows + len(unanswered), no_answer=len(unanswered),
        no_answer_counts=unanswered.counts, truncated=truncated, failed=unanswered.failed,
        failure_counts=unanswered.failure_counts, incomplete=reader.incomplete_message(rows), wrong_examples=wrong,
        notes=[*_rubric_note(task, reader.path), *reader.retry_notes, *checks.notes()], num_fewshot=num_fewshot(reader),
        protocol_num_fewshot=_protocol_num_fewshot(reader, task),
        groups=by_group, aggregates=dict(subtask_group_scores(task.groups if has_subtasks else (), by_group)),
        made_up_rows=reader.settings.get(SAMPLE_SETTING) is True,
        protocol_changes=protocol_changes(reader),
    )  # fmt: skip


def _rubric_note(task: Task, out: Path) -> list[str]:
    """Return how to grade the answers of a task whose own scores are not those of the benchmark."""
    if not task.rubric:
        return []
    command = spelled(
        f"manycall judge {out} --rubric {task.rubric} -m JUDGE -o OUT",
        f'manycall.judge({str(out)!r}, "{task.rubric}", model=..., out=...)',
    )
    return [f"The answers of {task.name} are graded by a model. Run `{command}`. The score above is not that grade."]


def num_fewshot(output: OutputReader) -> int | None:
    """Return the number of few-shot examples of an output; None if it is that of the protocol."""
    count = output.settings.get("num_fewshot")
    return count if isinstance(count, int) else None


def _protocol_num_fewshot(output: OutputReader, task: Task) -> int | None:
    """Return the number of few-shot examples in the protocol of the task that wrote an output; None if unknown."""
    if num_fewshot(output) is None or output.settings.get("job") != f"eval {task.name}":
        return None
    return protocol_num_fewshot(task)


def task_remedy() -> str:
    """Return the sentence that says how to pass a task of the user's own."""
    return spelled("Pass --scorer FILE.py:task.", "Pass your Task as scorer=.")


def task_of(output: OutputReader) -> Task:
    """Return the task that wrote an output, with all that is needed to score it again.

    Raises:
        UsageError: the task is not known.
    """
    job, _, name = str(output.settings.get("job", "")).partition(" ")
    if job == "eval" and name in TASKS:
        return TASKS[name]
    if (
        job == "eval" and Path(name).suffix in TASK_SUFFIXES
    ):  # a custom task file: the name of its scorer is in every row
        _, row = next(output.rows(), (0, {}))
        scores = row.get("score")
        for scorer in scores if isinstance(scores, dict) else ():
            return replace(scorer_task(scorer), name=name)
    if job == "judge":
        raise UsageError(
            f"{output.path} was written by `{spelled('manycall judge', 'manycall.judge')}`. "
            f"{rerun().capitalize()} to show its scores without a call."
        )
    if job != "eval" or not name:
        reason = "does not record which task wrote it."
    elif isinstance(output, LmEvalSamples):
        reason = f"was written by the lm-eval task {name}, which is not built in."
    else:
        reason = f"was written by {name}, which is your own task. {task_remedy()}"
    raise UsageError(f"{output.path} {reason} Choose a scorer with {option('scorer')}: {scorer_names()}.")

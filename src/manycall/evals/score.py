"""Score what stands in a file, with no call."""

from functools import partial
from pathlib import Path

from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.groups import Groups
from manycall.evals.lmeval import Samples, opened
from manycall.evals.oddities import Oddities
from manycall.evals.own import ENDINGS, as_task, scoring, ways
from manycall.evals.regrade import grader
from manycall.evals.report import CRASHED, MOST_WRONG, Evaluation, Wrong
from manycall.evals.tally import Tally
from manycall.evals.tasks import TASKS, Task
from manycall.store.output import Output


def score(out: str | Path, *, as_: str | Task | None = None, by: str | None = None) -> Evaluation:
    """Score the responses in an output again, with no call.

    Args:
        out: what `evaluate` wrote, or any rows with `response` and `answer`; or lm-eval's samples_*.jsonl.
        as_: a `Task`, "task", "task/filter", or a match ("numeric", "regex:PATTERN"); default: the task that wrote it.
        by: a field of the rows, as "subject": rows in which it differs are also scored apart.

    Raises:
        UsageError: no such file, task or filter, or a row without a response, or without the field `by`.
    """
    output = opened(out)
    task, only = scoring(as_) if isinstance(as_, str) else (as_ or written_by(output), "")
    grade, names = grader(output.path, task), [only] if only in task.filters else list(task.filters)
    empty = partial(Tally, task.name, task.filters, output)
    tally, groups, odd = empty(), Groups(by, empty), Oddities(output)
    rows = truncated = 0
    wrong: list[Wrong] = []
    for offset, row in output.rows():
        grades, cut = grade(offset, row), row.get("finish_reason") == "length"
        rows += 1
        truncated += cut
        name = str(row.get("id", ""))
        tally.add(name, grades)
        groups.add(row, grades)
        odd.look(name, row["response"], grades)
        if len(wrong) < MOST_WRONG and not cut and any(grades[name][1] == 0 for name in names):
            wrong.append(Wrong.of(row, {name: str(grades[name][0]) for name in names}, task.target))
    crashed = CRASHED in output.unfinished  # lm-eval would have, too
    scores = [
        replace(score, unread=odd.unread[score.filter], as_lm_eval=None if crashed else score.as_lm_eval)
        for score in tally.scores(task.votes)
        if only in ("", score.filter)
    ]
    return Evaluation(
        task=task.name, out=output.path, scores=scores, rows=rows, truncated=truncated, failed=output.failed,
        unfinished=output.unfinished, missing=output.missing(rows), wrong=wrong, odd=odd.remarks(),
        groups={name: [s for s in each if only in ("", s.filter)] for name, each in groups.scores(task.votes)},
    )  # fmt: skip


def written_by(output: Output) -> Task:
    """What wrote this output, as far as it is needed to score it again.

    Raises:
        UsageError: that cannot be known.
    """
    job, _, name = str(output.identity.get("job", "")).partition(" ")
    if job == "eval" and name in TASKS:
        return TASKS[name]
    if job == "eval" and Path(name).suffix in ENDINGS:  # a file of one's own: its match stands in every row
        _, row = next(output.rows(), (0, {}))
        found = row.get("score")
        for matched in found if isinstance(found, dict) else ():
            return replace(as_task(matched), name=name)
    if job == "judge":
        raise UsageError(
            f"{output.path} was written by a judge: the same `manycall judge` shows its scores, without a call"
        )
    whose = "which is lm-eval's" if isinstance(output, Samples) else "whose functions are yours: --as FILE.py:task"
    told = f"was written by {name}, {whose}" if job == "eval" and name else "does not say which task wrote it"
    raise UsageError(f"{output.path} {told}; name one with --as: {ways()}")

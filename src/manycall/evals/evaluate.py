"""Build the job that sends the questions of a task and scores the answers."""

import asyncio
import inspect
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace

from manycall.client.body_adapter import dropped_names
from manycall.data.prompt_error import PromptError
from manycall.data.prompt_template import PromptLike
from manycall.errors import InvalidResponse, UsageError
from manycall.evals.eval_result import EvalResult
from manycall.evals.no_answer import NoAnswer
from manycall.evals.planted_answers import uses_sim, write_answer_key
from manycall.evals.rescore import score
from manycall.evals.scoring.scorer_process import grade_function
from manycall.evals.stats.mean import Mean
from manycall.evals.tasks.custom import TASK_SUFFIXES, custom_task
from manycall.evals.tasks.fewshot import check_num_fewshot, with_num_fewshot
from manycall.evals.tasks.published_data import SAMPLE, has_sample
from manycall.evals.tasks.refused import refusal_reason
from manycall.evals.tasks.registry import TASKS, similar_names
from manycall.evals.tasks.sample_fields import sample_fields
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.option_flags import option, spelled
from manycall.records import NO_ANSWER_KINDS, Completion, Fields, Request, Row
from manycall.run.argument_types import check_types, with_checked_types
from manycall.run.dry_run import DryRunResult
from manycall.run.input_rows import files_folder, open_rows
from manycall.run.job import Job
from manycall.run.options import RunOptions, check_choice
from manycall.run.outcome import failure_kind
from manycall.run.reasoning_field import ReasoningField, refuse_inline
from manycall.run.row_client import RowClient
from manycall.run.run_result import RunResult


@with_checked_types
def evaluate_job(
    task: str | PathLike[str] | Task,
    options: RunOptions,
    *,
    data: str | PathLike[str] | None = None,
    fewshot_data: str | PathLike[str] | None = None,
    num_fewshot: int | None = None,
    prompt: PromptLike | None = None,
    scorer: str | None = None,
    samples: int | None = None,
    no_answer: NoAnswer = "wrong",
) -> Job[EvalResult]:
    """Build the job of `manycall.evaluate`, which describes the arguments.

    Raises:
        UsageError: an argument is not valid, or no prompt can be made for the first row.
    """
    check_choice("no_answer", no_answer, NoAnswer)
    simulated = uses_sim(options)
    if simulated and data is None and isinstance(task, str) and task in TASKS and has_sample(TASKS[task]):
        data = SAMPLE  # a score of the simulated endpoint means nothing, so nothing is downloaded for it
    resolved = resolve_task(
        task, data=data, fewshot_data=fewshot_data, num_fewshot=num_fewshot, prompt=prompt, scorer=scorer
    )
    repeats_seed = samples is None  # like lm-eval, a task with its own `samples` sends all of them with one seed
    samples = resolved.samples if samples is None else samples
    sampler = sample_fields(resolved, has_numbers=samples is not None)
    source = open_rows(resolved.rows, options, samples=samples, sampler=sampler)
    task_prompt, folder = TaskPrompt(resolved), files_folder(source.path)
    source.check_first_row(lambda row: (_target(resolved, row.fields), task_prompt.messages(row)))
    refuse_inline(options.reasoning, "scorers do not get thinking text.")
    thinking = ReasoningField("response", options.reasoning)
    running_means, grade = {name: Mean() for name in resolved.filters}, grade_function(resolved)

    async def process_row(row: Row, llm: RowClient) -> dict[str, Any]:
        fields = row.fields
        _target(resolved, fields)
        params = llm.params if repeats_seed else _sample_seed(llm.params, row.sample)
        request = Request("chat", llm.model, task_prompt.load(row, folder), params, resolved.body_format)
        try:
            reply = await llm.send(request)
        except InvalidResponse as error:
            if no_answer == "wrong" and failure_kind(error) in NO_ANSWER_KINDS:
                for mean in running_means.values():
                    mean.add(0.0)
            raise
        assert isinstance(reply, Completion)
        # a user's functions may be slow; in a thread they do not delay other calls
        text, finish_reason = _answer(resolved, reply, fields)
        grades = grade(text, fields) if resolved.is_fast else await asyncio.to_thread(grade, text, fields)
        for name, (_, value) in grades.items():
            running_means[name].add(value)
        return {
            "response": text,
            **thinking.fields(reply),
            "extracted": {name: answer for name, (answer, _) in grades.items()},
            "score": {name: value for name, (_, value) in grades.items()},
            "finish_reason": finish_reason,
        }

    def finish(run: RunResult) -> EvalResult:
        if isinstance(run, DryRunResult):
            return EvalResult(task=resolved.name, out=run.out, scores=[], scored_rows=0, truncated=0, failed=0, run=run)
        return replace(score(run.out, scorer=resolved, no_answer=no_answer), run=run)

    _check_drop(resolved, options)
    checksum = {"data": digest} if (digest := source.checksum()) else {}
    return Job(
        name=resolved.name,
        settings={
            "job": f"eval {resolved.name}",
            "samples": samples is not None,
            **checksum,
            **task_prompt.identity,
            **thinking.identity,
        },
        source=source,
        process_row=process_row,
        finish=finish,
        params=resolved.params,
        status_note=partial(_running_score, running_means, samples),
        output_fields=("response", *thinking.writes, "extracted", "score", "finish_reason"),
        finish_reason_field="finish_reason",
        answer_key=resolved.answer_key or (write_answer_key(resolved, options.limit, samples) if simulated else ""),
    )


def _running_score(means: dict[str, Mean], samples: int | None) -> str:
    """Return the score of the last filter so far, for the status line.

    The standard error is left out if questions have several samples: it would be too small.
    """
    name, mean = list(means.items())[-1]
    if not mean.count:
        return ""
    return f"{name} {mean}" if (samples or 1) == 1 else f"{name} {mean.value:.3f}"


def _check_drop(task: Task, options: RunOptions) -> None:
    """Check that the task sends the parameters that should be dropped: a misspelt name would change nothing.

    Raises:
        UsageError: it sends no such parameter.
    """
    given = {name for name in ("temperature", "max_tokens") if getattr(options, name) is not None}
    sent = {*task.params, *(options.params or {}), *given}
    if unknown := {*dropped_names(options.drop)} - sent - {"seed"}:
        known = ", ".join(sorted(sent)) or "none"
        raise UsageError(f"{option('drop', min(unknown))}: {task.name} sends no such parameter. It sends: {known}.")


def resolve_task(
    task: str | PathLike[str] | Task,
    *,
    data: str | PathLike[str] | None = None,
    fewshot_data: str | PathLike[str] | None = None,
    num_fewshot: int | None = None,
    prompt: PromptLike | None = None,
    scorer: str | None = None,
) -> Task:
    """Return a task with its rows, from the name of a built-in task, a file of rows or a `Task`.

    Raises:
        UsageError: there is no such task, or an argument does not apply to it.
    """
    if not isinstance(task, str | PathLike | Task):
        raise UsageError(
            f"Expected a task name, a path or a manycall.Task, got {type(task).__name__}. Use Task(rows=…) for rows."
        )
    is_built_in = isinstance(task, str) and task in TASKS
    if not is_built_in and not isinstance(task, Task) and not _is_file_of_rows(Path(task)):
        raise UsageError(_unknown_task(str(task)))
    if not is_built_in and (data is not None or fewshot_data is not None):
        raise UsageError(
            f"{option('data')} and {option('fewshot_data')} only apply to built-in tasks. "
            "A task file contains its own rows."
        )
    if (is_built_in or isinstance(task, Task)) and (prompt is not None or scorer is not None):
        raise UsageError(f"{option('prompt')} and {option('scorer')} only apply to a file of rows. A task has its own.")
    check_num_fewshot(num_fewshot)
    if isinstance(task, Task):
        check_types(asdict(task), "Task.{}".format)
        if not task.filters:
            raise UsageError(f"The task {task.name} has no filter: extract is empty.")
        if inspect.isgenerator(task.rows) and inspect.getgeneratorstate(task.rows) == inspect.GEN_CLOSED:
            raise UsageError(f"The rows of the task {task.name} have been read. Pass a list, or a new generator.")
        return with_num_fewshot(task, num_fewshot)
    if is_built_in:
        named = TASKS[str(task)]
        return named if named.loader is None else named.loader(named, _path(data), _path(fewshot_data), num_fewshot)
    return with_num_fewshot(custom_task(Path(task), prompt, scorer), num_fewshot)


def _is_file_of_rows(path: Path) -> bool:
    """Return whether the path may be a file of rows or of a task."""
    return path.suffix.lower() in TASK_SUFFIXES or path.is_file()


def _unknown_task(name: str) -> str:
    """Return the message for a task that does not exist, with the reason if it is left out on purpose."""
    if reason := refusal_reason(name):
        return f"{name} is not included: {reason}"
    names = [part.strip() for part in name.split(",")]
    if len(names) > 1 and all(each in TASKS for each in names):
        return f"{name!r} is several tasks. " + spelled(
            f"Separate them with spaces: {' '.join(names)}.", "Pass a list of them to manycall.evaluate_all."
        )
    similar = f" Similar names: {', '.join(found)}." if (found := similar_names(name)) else ""
    command = spelled("Run `manycall eval --list` to list the tasks", "manycall.evals.tasks.registry.TASKS lists them")
    return f"Unknown task {name!r:.100}.{similar} {command}, or pass a file of rows (.jsonl, .csv)."


def _sample_seed(params: dict[str, Any], sample: int) -> dict[str, Any]:
    """Return the parameters with a different seed for each sample.

    With one seed, a server that honours it would give the same answer to all samples of a question.
    """
    seed = params.get("seed")
    return {**params, "seed": seed + sample} if sample and isinstance(seed, int) else params


def _answer(task: Task, reply: Completion, fields: Fields) -> tuple[str, str]:
    """Return the text to score, and the finish reason. Of a text that is not the model's own, nothing is truncated."""
    if task.answer_text is None:
        return reply.text, reply.finish_reason
    return task.answer_text(reply, fields), "logprobs"


def _target(task: Task, fields: dict[str, Any]) -> Any:
    if task.target not in fields:
        raise PromptError(
            f"The row has no field {task.target!r}, which should contain the right answer. Set target= to its field."
        )
    return fields[task.target]


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)

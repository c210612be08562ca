"""Several tasks with several models: one job and one output for each pair."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from manycall.data.prompt_template import PromptLike
from manycall.errors import UsageError
from manycall.evals.eval_result import EvalResult
from manycall.evals.evaluate import evaluate_job
from manycall.evals.no_answer import NoAnswer
from manycall.evals.tasks.registry import BENCHMARKS
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.run.job import Job
from manycall.run.options import RunOptions

TaskLike = str | PathLike[str] | Task


class SuitePair(NamedTuple):
    """One task with one model.

    Attributes:
        samples: number of samples of each question.
        options: the options of the job, with the output of the pair.
    """

    task: str
    model: str
    samples: int
    job: Job[EvalResult]
    options: RunOptions

    @property
    def name(self) -> str:
        """The name of the pair in messages."""
        return f"{self.task}, {self.model}"


def suite_pairs(
    tasks: TaskLike | Sequence[TaskLike],
    models: str | Sequence[str],
    options: dict[str, Any],
    folder: str | PathLike[str],
    *,
    samples: int | None = None,
    num_fewshot: int | None = None,
    prompt: PromptLike | None = None,
    scorer: str | None = None,
    no_answer: NoAnswer = "wrong",
) -> list[SuitePair]:
    """Return the jobs of all pairs, in the order of the models and then of the tasks.

    Args:
        options: the run options of all jobs, except the model and the output.
        folder: gets the outputs: MODEL/TASK.jsonl.

    Raises:
        UsageError: an argument is not valid, or two pairs would have the same output.
    """
    tasks = [tasks] if isinstance(tasks, str | PathLike | Task) else tasks
    models = [models] if isinstance(models, str) else models
    if not tasks or not models:
        raise UsageError(f"Expected at least one task and one model ({option('model')}).")
    if Path(folder).is_file():
        raise UsageError(f"{folder} is a file. With several tasks or models, {option('out')} names a folder.")
    for task in tasks if len(models) > 1 else ():
        if isinstance(task, Task) and isinstance(task.rows, Iterator | AsyncIterator):
            raise UsageError(
                f"The rows of the task {task.name} are an iterator, so the models would divide them. Pass a list, or "
                "write them to a file."
            )
    pairs, outputs = list[SuitePair](), set[Path]()
    for model in models:
        for task in tasks:
            run_options = RunOptions(model=model, out=pair_output(folder, _name(task), model), **options)
            job = evaluate_job(
                task, run_options, num_fewshot=num_fewshot, prompt=prompt, scorer=scorer, samples=samples,
                no_answer=no_answer,
            )  # fmt: skip
            out = Path(run_options.out)
            if out in outputs:
                raise UsageError(f"{job.name} with {model} is named twice, or has the same output as another: {out}.")
            outputs.add(out)
            pairs.append(SuitePair(job.name, model, job.source.rows_per_input, job, run_options))
    for out in () if options.get("dry_run") else outputs:
        out.parent.mkdir(parents=True, exist_ok=True)
    return pairs


def pair_output(folder: str | PathLike[str], task: str, model: str) -> Path:
    """Return the output of a pair. A slash in a name becomes "__", as in the folders of lm-evaluation-harness."""
    model_name, task_name = (re.sub(r"[^\w.+-]", "_", each.replace("/", "__")).lstrip(".") for each in (model, task))
    return Path(folder) / (model_name or "_") / f"{task_name or '_'}.jsonl"


def _name(task: TaskLike) -> str:
    """Return the name of a task for its output: that of a file without its folder and its suffix."""
    if isinstance(task, Task):
        return task.name
    return task if isinstance(task, str) and task in BENCHMARKS else Path(task).stem

"""Export of an output in the file formats of lm-evaluation-harness 0.4.13: results_*.json and samples_*.jsonl.

    FOLDER/<model>/results_2026-01-31T12-00-00.000000.json
    FOLDER/<model>/samples_gsm8k_2026-01-31T12-00-00.000000.jsonl

These are the files that `--output_path FOLDER --log_samples` writes, so tools that read lm-eval's files can read them.
A benchmark with groups of subtasks, such as `mmlu_pro`, has a samples file and a result for each subtask, and its
groups are in `groups` and `group_subtasks`.

As in lm-eval, a question without an answer has an empty text and score 0. Questions whose call failed are in neither
file. `n-samples` contains the number of questions with and without these, and the key `manycall` the number of failed
rows and the scores that lm-eval would have reported.
"""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from manycall import clock
from manycall._version import __version__
from manycall.data.function_identity import is_function_identity
from manycall.errors import UsageError
from manycall.evals.eval_result import EvalResult
from manycall.evals.evaluate import resolve_task
from manycall.evals.lm_eval.export_samples import SamplesWriter, TaskSamples, sha256_hex
from manycall.evals.lm_eval.results_file import group_entries, group_members, task_entry
from manycall.evals.lm_eval.task_names import metric_name
from manycall.evals.protocol_changes import sent_params
from manycall.evals.rescore import num_fewshot, score, task_of
from manycall.evals.tasks.custom import custom_task, find_scorer
from manycall.evals.tasks.fewshot import with_num_fewshot
from manycall.evals.tasks.published_data import SAMPLE, SAMPLE_SETTING
from manycall.evals.tasks.registry import BENCHMARKS
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.run.async_bridge import run_blocking
from manycall.store.atomic_write import storage_errors
from manycall.store.output_reader import OutputReader

NAME_BYTES = 180
"""Maximum length of a model or task name within a file name. Most file systems allow 255 bytes in total."""


def export_lm_eval(
    output: str | Path,
    folder: str | Path,
    *,
    scorer: str | Task | None = None,
    data: str | Path | None = None,
    fewshot_data: str | Path | None = None,
) -> list[Path]:
    """Write an output in the file formats of lm-eval.

    Args:
        output: an output of `evaluate`.
        folder: the destination, lm-eval's `--output_path`.
        scorer: a task or its name. Default: the task that wrote the output.
        data, fewshot_data: the input files of the run, as for `evaluate`. The samples are in the order of their rows
            and contain the prompts that were sent.

    Returns:
        The paths of the results file and of the samples files.

    Raises:
        UsageError: the output or the task does not exist, or the output contains none of the questions.
        StorageError: the files cannot be written.
    """
    reader = OutputReader(output)
    task = _task(reader, scorer, data, fewshot_data)
    result = score(output, scorer=task)
    model = str(reader.settings.get("model", "unknown"))
    model_folder = Path(folder) / _sanitized(model)
    date = datetime.fromtimestamp(clock.wall_time(), UTC).replace(tzinfo=None).isoformat().replace(":", "-")
    results = model_folder / f"results_{date}.json"
    with storage_errors(model_folder):
        model_folder.mkdir(parents=True, exist_ok=True)
        writer = SamplesWriter(reader, task, lambda name: model_folder / f"samples_{_sanitized(name)}_{date}.jsonl")
        parts = run_blocking(writer.write())
        summary = _results(reader, task, result, model, parts)
        results.write_text(json.dumps(summary, indent=2, ensure_ascii=False), encoding="utf-8")
    return [results, *(part.path for part in parts if part.answered)]


def _task(
    output: OutputReader, scorer: str | Task | None, data: str | Path | None, fewshot_data: str | Path | None
) -> Task:
    """Return the task with the rows of the run."""
    task = scorer if isinstance(scorer, Task) else find_scorer(scorer)[0] if scorer else task_of(output)
    if task.name in BENCHMARKS:
        if data is None and output.settings.get(SAMPLE_SETTING) is True:
            data = SAMPLE
        return resolve_task(task.name, data=data, fewshot_data=fewshot_data, num_fewshot=num_fewshot(output))
    if isinstance(scorer, Task):
        return with_num_fewshot(task, num_fewshot(output))
    if output.manifest is None:
        raise UsageError(f"{output.path} does not record its task. Pass the task with {option('scorer')}.")
    (scorer_name,), prompt = task.filters, output.settings.get("prompt")
    if is_function_identity(prompt):
        raise UsageError(
            f"{output.path} was written with a prompt function, so the prompts that were sent are not known. "
            f"Pass a Task with this function as {option('scorer')}."
        )
    return custom_task(Path(data or output.manifest.source["input"]), prompt, scorer_name)


def _sanitized(name: str) -> str:
    """Return the name of a model or task in a form that is valid as the name of one file or folder.

    Applies lm-eval's `sanitize_model_name`, then replaces names that are not valid for a file: `..`, an empty name,
    control characters, a name that is too long.
    """
    name = re.sub(r'["<>:/|\\?*\[\]]+', "__", name)
    safe = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]+|^\.+|^$", "__", name)
    if len(safe.encode()) > NAME_BYTES:
        safe = safe.encode()[:NAME_BYTES].decode(errors="ignore") + f"_{sha256_hex(safe)[:8]}"
    return safe


def _results(
    output: OutputReader, task: Task, result: EvalResult, model: str, parts: list[TaskSamples]
) -> dict[str, Any]:
    sessions = output.manifest.sessions if output.manifest else []
    fewshot = task.fewshot(0) if callable(task.fewshot) else task.fewshot
    version = BENCHMARKS[task.name].version if task.name in BENCHMARKS else None
    params, metrics = sent_params(output, task.params), {metric_name(task, name): True for name in task.filters}
    return {
        "results": {part.name: task_entry(task, part) for part in parts},
        **({"groups": group_entries(task, parts)} if task.groups else {}),
        "group_subtasks": group_members(task, parts) if task.groups else {task.name: []},
        "configs": {part.name: {"task": part.name, "generation_kwargs": params} for part in parts},
        "versions": {part.name: version for part in parts},
        "task_hashes": {part.name: part.digest for part in parts},
        "n-shot": {part.name: len(fewshot) // 2 for part in parts},
        "higher_is_better": {part.name: metrics for part in parts},
        "n-samples": {part.name: {"original": part.questions, "effective": part.answered} for part in parts},
        "config": {"model": "manycall", "model_args": {"model": model}, "limit": None},
        "date": sessions[0]["started_at"] if sessions else None,
        "model_source": "manycall",
        "model_name": model,
        "model_name_sanitized": _sanitized(model),
        "system_instruction": None,
        "fewshot_as_multiturn": True,
        "chat_template": None,
        "total_evaluation_time_seconds": str(sum(session["seconds"] for session in sessions)),
        "manycall": {
            "version": __version__,
            "no_answer": result.no_answer,
            "failed": result.failed,
            "failure_counts": result.failure_counts,
            "truncated": result.truncated,
            "scores": msgspec.to_builtins(result.scores),
        },
    }

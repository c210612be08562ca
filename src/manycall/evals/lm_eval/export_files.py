"""Export of an output in the file formats of lm-evaluation-harness 0.4.13: results_*.json and samples_*.jsonl.

    FOLDER/<model>/results_2026-01-31T12-00-00.000000.json
    FOLDER/<model>/samples_gsm8k_2026-01-31T12-00-00.000000.jsonl

These are the files that `--output_path FOLDER --log_samples` writes, so tools that read lm-eval's files can read them.
As in lm-eval, a question without an answer has an empty text and score 0. Questions whose call failed are in neither
file. `n-samples` contains the number of questions with and without these, and the key `manycall` the number of failed
rows and the scores that lm-eval would have reported.
"""

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from manycall import clock
from manycall._version import __version__
from manycall.errors import UsageError
from manycall.evals.eval_result import EvalResult, MeanEstimate
from manycall.evals.evaluate import resolve_task
from manycall.evals.lm_eval.export_samples import SamplesWriter, WrittenSamples, metric_name, sha256_hex
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
        The paths of the results file and the samples file.

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
    samples = model_folder / f"samples_{_sanitized(task.name)}_{date}.jsonl"
    results = model_folder / f"results_{date}.json"
    with storage_errors(model_folder):
        model_folder.mkdir(parents=True, exist_ok=True)
        with samples.open("w", encoding="utf-8") as file:
            written = run_blocking(SamplesWriter(reader, task).write(file))
        summary = _results(reader, task, result, model, written)
        results.write_text(json.dumps(summary, indent=2, ensure_ascii=False), encoding="utf-8")
    return [results, samples]


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
    (scorer_name,) = task.filters
    return custom_task(Path(data or output.manifest.source["input"]), output.settings.get("prompt"), scorer_name)


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


def lm_eval_mean(scores: list[float]) -> MeanEstimate:
    """Return mean and standard error as lm-eval computes them (`mean`, `mean_stderr` in its api/metrics.py).

    The scores are added in the order of the questions, so that the results are equal to the last bit.
    """
    count = len(scores)
    mean = sum(scores) / count
    variance = sum([(x - mean) ** 2 for x in scores]) / (count - 1) if count > 1 else None
    return MeanEstimate(mean, None if variance is None else math.sqrt(variance) / math.sqrt(count), count)


def _results(
    output: OutputReader, task: Task, result: EvalResult, model: str, written: WrittenSamples
) -> dict[str, Any]:
    sessions = output.manifest.sessions if output.manifest else []
    numbers: dict[str, Any] = {}
    for name, scores in written.scores.items():
        estimate = lm_eval_mean(scores)
        metric, filter_name = metric_name(task, name), "none" if metric_name(task, name) == name else name
        numbers[f"{metric},{filter_name}"] = estimate.value
        numbers[f"{metric}_stderr,{filter_name}"] = "N/A" if estimate.stderr is None else estimate.stderr
    answered = max(map(len, written.scores.values()), default=0)
    fewshot = task.fewshot(0) if callable(task.fewshot) else task.fewshot
    return {
        "results": {task.name: {"name": task.name, "alias": task.name, "sample_len": answered, **numbers}},
        "group_subtasks": {task.name: []},
        "configs": {task.name: {"task": task.name, "generation_kwargs": sent_params(output, task.params)}},
        "versions": {task.name: BENCHMARKS[task.name].version if task.name in BENCHMARKS else None},
        "task_hashes": {task.name: written.digest},
        "n-shot": {task.name: len(fewshot) // 2},
        "higher_is_better": {task.name: {metric_name(task, name): True for name in written.scores}},
        "n-samples": {task.name: {"original": written.questions, "effective": answered}},
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

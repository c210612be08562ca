"""Export of an output in the file formats of lm-evaluation-harness 0.4.13: results_*.json and samples_*.jsonl.

    FOLDER/<model>/results_2026-01-31T12-00-00.000000.json
    FOLDER/<model>/samples_gsm8k_2026-01-31T12-00-00.000000.jsonl

These are the files that `--output_path FOLDER --log_samples` writes, so tools that read lm-eval's files can read them.
Questions without an answer are in neither file. lm-eval would write an empty text for them and score it 0. `n-samples`
contains the number of questions with and without an answer, and the key `manycall` the number of failed rows and the
scores that lm-eval would have reported.
"""

import json
import math
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from manycall import clock
from manycall._version import __version__
from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.evals.eval_result import EvalResult, MeanEstimate
from manycall.evals.evaluate import resolve_task
from manycall.evals.rescore import score, task_of
from manycall.evals.scoring.scorer_process import grade_function
from manycall.evals.stats.repeated_samples import ScoredSample, majority_sample
from manycall.evals.tasks import TASKS, Task, TaskPrompt
from manycall.evals.tasks.custom import custom_task, find_scorer
from manycall.ids import IdTable
from manycall.option_flags import option
from manycall.records import Row
from manycall.run.async_bridge import run_blocking
from manycall.store.atomic_write import storage_errors
from manycall.store.output_reader import OutputReader

VERSIONS = {"gsm8k_cot_llama": 4.0, "gsm8k_cot_self_consistency": 2.0, "gsm8k_platinum_cot_self_consistency": 2.0}
"""Versions of lm-eval's tasks. All other built-in tasks have version 3.0."""

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
    model = str(reader.identity.get("model", "unknown"))
    model_folder = Path(folder) / _sanitized(model)
    date = datetime.fromtimestamp(clock.wall_time(), UTC).replace(tzinfo=None).isoformat().replace(":", "-")
    samples = model_folder / f"samples_{_sanitized(task.name)}_{date}.jsonl"
    results = model_folder / f"results_{date}.json"
    with storage_errors(model_folder):
        model_folder.mkdir(parents=True, exist_ok=True)
        with samples.open("w", encoding="utf-8") as file:
            written = run_blocking(_Samples(reader, task).write(file))
        summary = _results(reader, task, result, model, written)
        results.write_text(json.dumps(summary, indent=2, ensure_ascii=False), encoding="utf-8")
    return [results, samples]


def _task(
    output: OutputReader, scorer: str | Task | None, data: str | Path | None, fewshot_data: str | Path | None
) -> Task:
    """Return the task with the rows of the run."""
    task = scorer if isinstance(scorer, Task) else find_scorer(scorer)[0] if scorer else task_of(output)
    if task.name in TASKS:
        return resolve_task(task.name, data=data, fewshot_data=fewshot_data)
    if isinstance(scorer, Task):
        return task
    if output.manifest is None:
        raise UsageError(f"{output.path} does not record its task. Pass the task with {option('scorer')}.")
    (scorer_name,) = task.filters
    return custom_task(Path(data or output.manifest.source["rows"]), output.identity.get("prompt"), scorer_name)


class _Written(NamedTuple):
    """Summary of the samples file.

    Attributes:
        digest: lm-eval's hash of all questions, prompts and targets.
        questions: number of questions of the task.
        scores: scores by filter, in the order of the questions.
    """

    digest: str
    questions: int
    scores: dict[str, list[float]]


class _Samples:
    """Writes the samples of an output, one for each question and filter."""

    def __init__(self, output: OutputReader, task: Task) -> None:
        self._output, self._task, self._prompt, self._grade = output, task, TaskPrompt(task), grade_function(task)
        self._metric = metric(task)
        params = output.identity.get("params", task.params)
        temperature = params.get("temperature", 1.0)
        self._settings = {
            "until": params.get("stop", []),
            "do_sample": temperature != 0,
            "temperature": temperature,
            "max_gen_toks": params.get("max_tokens", params.get("max_completion_tokens")),
        }

    async def write(self, file: TextIO) -> _Written:
        """Write the samples to a file, grouped by filter as in lm-eval."""
        offsets = {str(row.get("id")): offset for offset, row in self._output.rows()}
        digest, question_count = sha256(), 0
        scores: dict[str, list[float]] = {}
        for name in [*self._task.filters, *self._task.votes]:
            needed, question_count, scores[name] = self._task.votes.get(name, 1), 0, list[float]()
            async with aclosing(self._questions()) as questions:
                async for rows in questions:
                    question_count += 1
                    if len(rows) < needed or any(row.id not in offsets for row in rows[:needed]):
                        continue
                    row_offsets = [offsets[row.id] for row in rows if row.id in offsets]
                    texts = [row["response"] for row in self._output.read_at(row_offsets)]
                    line = self._sample(rows[0], texts, name)
                    digest.update((line["doc_hash"] + line["prompt_hash"] + line["target_hash"]).encode())
                    scores[name].append(line[self._metric])
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if offsets and not any(scores.values()):
            raise UsageError(
                f"{self._output.path} contains no question of {self._task.name}. "
                f"Pass the input file with {option('data')}."
            )
        return _Written(digest.hexdigest(), question_count, {name: values for name, values in scores.items() if values})

    async def _questions(self) -> AsyncGenerator[list[Row], None]:
        """Yield the rows (samples) of each question together."""
        samples = 1 + max(
            (self._output.split_sample_id(str(row["id"]))[1] for _, row in self._output.rows()), default=0
        )
        source = RowSource(self._task.rows, samples=samples if self._output.has_samples else None)
        rows: list[Row] = []
        async for row in source.pending_rows(IdTable()):
            if rows and row.index != rows[0].index:
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _sample(self, row: Row, texts: list[str], name: str) -> dict[str, Any]:
        task = self._task
        target = row.fields[task.target]
        prompt = json.dumps(self._prompt.messages(row), ensure_ascii=False)
        answer, value = self._score(texts, target, name)
        return {
            "doc_id": row.index,
            "doc": row.fields,
            "target": str(target),
            "arguments": {"gen_args_0": {"arg_0": [prompt], "arg_1": self._settings}},
            "resps": [texts],
            "filtered_resps": [str(answer)],
            "filter": name,
            "metrics": [self._metric],
            "doc_hash": _hash(json.dumps(row.fields, indent=2, ensure_ascii=False)),
            "prompt_hash": _hash(prompt),
            "target_hash": _hash(str(target)),
            self._metric: value,
        }

    def _score(self, texts: list[str], target: Any, name: str) -> tuple[Any, float]:
        """Return (extracted answer, score) of a filter, or of a majority vote over the first samples."""
        task = self._task
        if name in task.filters:
            return self._grade(texts[0], target)[name]
        (only_filter,) = task.filters
        grades = (self._grade(text, target)[only_filter] for text in texts[: task.votes[name]])
        winner = majority_sample([ScoredSample(n, str(answer), value) for n, (answer, value) in enumerate(grades)])
        return winner.answer, winner.score


def _sanitized(name: str) -> str:
    """Return the name of a model or task in a form that is valid as the name of one file or folder.

    Applies lm-eval's `sanitize_model_name`, then replaces names that are not valid for a file: `..`, an empty name,
    control characters, a name that is too long.
    """
    name = re.sub(r'["<>:/|\\?*\[\]]+', "__", name)
    safe = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]+|^\.+|^$", "__", name)
    if len(safe.encode()) > NAME_BYTES:
        safe = safe.encode()[:NAME_BYTES].decode(errors="ignore") + f"_{_hash(safe)[:8]}"
    return safe


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def metric(task: Task) -> str:
    """Return lm-eval's name of the metric of a task."""
    return "exact_match" if task.name in TASKS else "score"


def lm_eval_mean(scores: list[float]) -> MeanEstimate:
    """Return mean and standard error as lm-eval computes them (`mean`, `mean_stderr` in its api/metrics.py).

    The scores are added in the order of the questions, so that the results are equal to the last bit.
    """
    count = len(scores)
    mean = sum(scores) / count
    variance = sum([(x - mean) ** 2 for x in scores]) / (count - 1) if count > 1 else None
    return MeanEstimate(mean, None if variance is None else math.sqrt(variance) / math.sqrt(count), count)


def _results(output: OutputReader, task: Task, result: EvalResult, model: str, written: _Written) -> dict[str, Any]:
    kind, identity = metric(task), output.identity
    sessions = output.manifest.sessions if output.manifest else []
    numbers: dict[str, Any] = {}
    for name, scores in written.scores.items():
        estimate = lm_eval_mean(scores)
        numbers[f"{kind},{name}"] = estimate.value
        numbers[f"{kind}_stderr,{name}"] = "N/A" if estimate.stderr is None else estimate.stderr
    answered = max(map(len, written.scores.values()), default=0)
    fewshot = task.fewshot(0) if callable(task.fewshot) else task.fewshot
    return {
        "results": {task.name: {"name": task.name, "alias": task.name, "sample_len": answered, **numbers}},
        "group_subtasks": {task.name: []},
        "configs": {task.name: {"task": task.name, "generation_kwargs": identity.get("params", task.params)}},
        "versions": {task.name: VERSIONS.get(task.name, 3.0) if task.name in TASKS else None},
        "task_hashes": {task.name: written.digest},
        "n-shot": {task.name: len(fewshot) // 2},
        "higher_is_better": {task.name: {kind: True}},
        "n-samples": {task.name: {"original": written.questions, "effective": answered}},
        "config": {"model": "manycall", "model_args": {"model": model}, "limit": None},
        "date": sessions[0]["started"] if sessions else None,
        "model_source": "manycall",
        "model_name": model,
        "model_name_sanitized": _sanitized(model),
        "system_instruction": None,
        "fewshot_as_multiturn": True,
        "chat_template": None,
        "total_evaluation_time_seconds": str(sum(session["seconds"] for session in sessions)),
        "manycall": {
            "version": __version__,
            "failed": result.failed,
            "unfinished": result.failure_counts,
            "truncated": result.truncated,
            "scores": msgspec.to_builtins(result.scores),
        },
    }

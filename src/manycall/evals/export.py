"""An output as lm-evaluation-harness 0.4.13 would have written it: results_*.json and samples_*.jsonl.

    FOLDER/<model>/results_2026-01-31T12-00-00.000000.json
    FOLDER/<model>/samples_gsm8k_2026-01-31T12-00-00.000000.jsonl

as its `--output_path FOLDER --log_samples` does; whatever reads those reads these. A question without an answer is in
neither, where lm-eval would write an empty text and score it 0: `n-samples` says how many there are, and `manycall`
how many failed and what lm-eval would have said of them.
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
from manycall.data.sources import Source
from manycall.engine.blocking import blocking
from manycall.errors import UsageError
from manycall.evals.evaluate import resolve
from manycall.evals.own import own, scoring
from manycall.evals.report import Counted, Evaluation
from manycall.evals.score import score, written_by
from manycall.evals.scorer_process import grade_function
from manycall.evals.stats.repeats import Sample, winner
from manycall.evals.tasks import TASKS, Asker, Task
from manycall.ids import IdTable
from manycall.records import Row
from manycall.store.lines import writing
from manycall.store.output import Output

VERSIONS = {"gsm8k_cot_llama": 4.0, "gsm8k_cot_self_consistency": 2.0, "gsm8k_platinum_cot_self_consistency": 2.0}
"""lm-eval's versions of its tasks; of all others here it is 3.0."""

NAME_BYTES = 180
"""Of a model's or task's name in that of a file; most file systems take 255 in all."""


def export(
    out: str | Path,
    folder: str | Path,
    *,
    as_: str | Task | None = None,
    data: str | Path | None = None,
    shots: str | Path | None = None,
) -> list[Path]:
    """Write an output in the shapes of lm-eval.

    Args:
        out: what `evaluate` wrote.
        folder: where to; lm-eval's `--output_path`.
        as_: a task, or its name; default: the one that wrote it.
        data, shots: the files that it was asked from, as for `evaluate`: samples stand in their order, with
            what was sent.

    Returns:
        The two files.

    Raises:
        UsageError: no such output or task, or the questions are not those that were asked.
        StoreError: the folder would not take them.
    """
    output = Output(out)
    task = _task(output, as_, data, shots)
    result = score(out, as_=task)
    model = str(output.identity.get("model", "unknown"))
    place = Path(folder) / _sanitized(model)
    date = datetime.fromtimestamp(clock.wall(), UTC).replace(tzinfo=None).isoformat().replace(":", "-")
    samples = place / f"samples_{_sanitized(task.name)}_{date}.jsonl"
    results = place / f"results_{date}.json"
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        with samples.open("w", encoding="utf-8") as file:
            written = blocking(_Samples(output, task).write(file))
        summary = _results(output, task, result, model, written)
        results.write_text(json.dumps(summary, indent=2, ensure_ascii=False), encoding="utf-8")
    return [results, samples]


def _task(output: Output, as_: str | Task | None, data: str | Path | None, shots: str | Path | None) -> Task:
    """The task with the rows that were asked."""
    task = as_ if isinstance(as_, Task) else scoring(as_)[0] if as_ else written_by(output)
    if task.name in TASKS:
        return resolve(task.name, data=data, shots=shots)
    if isinstance(as_, Task):
        return task
    if output.manifest is None:
        raise UsageError(f"{output.path} does not say what was asked: name the task with --as")
    (matched,) = task.filters
    return own(Path(data or output.manifest.source["rows"]), output.identity.get("prompt"), matched)


class _Written(NamedTuple):
    """What stands in the samples: lm-eval's hash of all questions, prompts and targets; how many questions were asked;
    by filter, the scores in the order of the questions."""

    digest: str
    asked: int
    scores: dict[str, list[float]]


class _Samples:
    """The samples of an output, one for each question and filter."""

    def __init__(self, output: Output, task: Task) -> None:
        self._output, self._task, self._asker, self._grade = output, task, Asker(task), grade_function(task)
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
        """Write them, all of one filter and then all of the next, as lm-eval does."""
        offsets = {str(row.get("id")): offset for offset, row in self._output.rows()}
        digest, asked = sha256(), 0
        scores: dict[str, list[float]] = {}
        for name in [*self._task.filters, *self._task.votes]:
            needed, asked, scores[name] = self._task.votes.get(name, 1), 0, list[float]()
            async with aclosing(self._questions()) as questions:
                async for rows in questions:
                    asked += 1
                    if len(rows) < needed or any(row.id not in offsets for row in rows[:needed]):
                        continue
                    found_at = [offsets[row.id] for row in rows if row.id in offsets]
                    texts = [row["response"] for row in self._output.at(found_at)]
                    line = self._sample(rows[0], texts, name)
                    digest.update((line["doc_hash"] + line["prompt_hash"] + line["target_hash"]).encode())
                    scores[name].append(line[self._metric])
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if offsets and not any(scores.values()):
            raise UsageError(f"{self._output.path}: none of its rows is a question of {self._task.name}: give --data")
        return _Written(digest.hexdigest(), asked, {name: found for name, found in scores.items() if found})

    async def _questions(self) -> AsyncGenerator[list[Row], None]:
        """All rows of each question: its samples."""
        samples = 1 + max((self._output.split(str(row["id"]))[1] for _, row in self._output.rows()), default=0)
        source = Source(self._task.rows, samples=samples if self._output.sampled else None)
        together: list[Row] = []
        async for row in source.rows(IdTable()):
            if together and row.index != together[0].index:
                yield together
                together = []
            together.append(row)
        if together:
            yield together

    def _sample(self, row: Row, texts: list[str], name: str) -> dict[str, Any]:
        task = self._task
        target = row.fields[task.target]
        prompt = json.dumps(self._asker.messages(row), ensure_ascii=False)
        read, value = self._found(texts, target, name)
        return {
            "doc_id": row.index,
            "doc": row.fields,
            "target": str(target),
            "arguments": {"gen_args_0": {"arg_0": [prompt], "arg_1": self._settings}},
            "resps": [texts],
            "filtered_resps": [str(read)],
            "filter": name,
            "metrics": [self._metric],
            "doc_hash": _hash(json.dumps(row.fields, indent=2, ensure_ascii=False)),
            "prompt_hash": _hash(prompt),
            "target_hash": _hash(str(target)),
            self._metric: value,
        }

    def _found(self, texts: list[str], target: Any, name: str) -> tuple[Any, float]:
        """Return (extracted answer, score) under a filter, or a vote of the only filter over the first samples."""
        task = self._task
        if name in task.filters:
            return self._grade(texts[0], target)[name]
        (only,) = task.filters
        grades = (self._grade(text, target)[only] for text in texts[: task.votes[name]])
        won = winner([Sample(n, str(read), value) for n, (read, value) in enumerate(grades)])
        return won.answer, won.score


def _sanitized(name: str) -> str:
    """The name of a model or a task as the name of one file or folder.

    lm-eval's `sanitize_model_name`, and after it whatever a file cannot be called: `..`, nothing, control characters, a
    name that is too long.
    """
    name = re.sub(r'["<>:/|\\?*\[\]]+', "__", name)
    safe = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]+|^\.+|^$", "__", name)
    if len(safe.encode()) > NAME_BYTES:
        safe = safe.encode()[:NAME_BYTES].decode(errors="ignore") + f"_{_hash(safe)[:8]}"
    return safe


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def metric(task: Task) -> str:
    """What lm-eval calls the score of a task."""
    return "exact_match" if task.name in TASKS else "score"


def counted(scores: list[float]) -> Counted:
    """Mean and standard error as lm-eval reckons them (`mean`, `mean_stderr` in its api/metrics.py): added up in the
    order of the questions, so that they are the same to the last bit."""
    count = len(scores)
    mean = sum(scores) / count
    variance = sum([(x - mean) ** 2 for x in scores]) / (count - 1) if count > 1 else None
    return Counted(mean, None if variance is None else math.sqrt(variance) / math.sqrt(count), count)


def _results(output: Output, task: Task, result: Evaluation, model: str, written: _Written) -> dict[str, Any]:
    kind, identity = metric(task), output.identity
    sessions = output.manifest.sessions if output.manifest else []
    numbers: dict[str, Any] = {}
    for name, scores in written.scores.items():
        said = counted(scores)
        numbers[f"{kind},{name}"] = said.value
        numbers[f"{kind}_stderr,{name}"] = "N/A" if said.stderr is None else said.stderr
    answered = max(map(len, written.scores.values()), default=0)
    turns = task.shots(0) if callable(task.shots) else task.shots
    return {
        "results": {task.name: {"name": task.name, "alias": task.name, "sample_len": answered, **numbers}},
        "group_subtasks": {task.name: []},
        "configs": {task.name: {"task": task.name, "generation_kwargs": identity.get("params", task.params)}},
        "versions": {task.name: VERSIONS.get(task.name, 3.0) if task.name in TASKS else None},
        "task_hashes": {task.name: written.digest},
        "n-shot": {task.name: len(turns) // 2},
        "higher_is_better": {task.name: {kind: True}},
        "n-samples": {task.name: {"original": written.asked, "effective": answered}},
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
            "unfinished": result.unfinished,
            "truncated": result.truncated,
            "scores": msgspec.to_builtins(result.scores),
        },
    }

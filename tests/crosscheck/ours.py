"""The same questions to our own code, answered in the shape in which harness.py answers."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from manycall.data.row_files import read_rows
from manycall.data.row_source import RowSource
from manycall.evals.lm_eval.export_files import export_lm_eval
from manycall.evals.rescore import score
from manycall.evals.stats.repeated_samples import ScoredSample, majority_score
from manycall.evals.tasks import mmlu
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.ids import IdTable
from manycall.records import Row
from manycall.run.async_bridge import run_blocking

GSM8K = tuple(name for name in TASKS if name.startswith("gsm8k"))
NAMES = (*GSM8K, "mmlu_generative")
MOST_SAMPLES = 64


def samples_of(name: str) -> int:
    """How many responses there are to each question."""
    return TASKS[name].samples or 1


def filters_of(name: str) -> list[str]:
    """The names of its filters and votes."""
    return [*TASKS[name].filters, *TASKS[name].votes]


def loaded(name: str, test: Path, train: Path) -> Task:
    """The task on these files."""
    task = TASKS[name]
    assert task.loader is not None
    return task.loader(task, test, examples_of(name, train))


def examples_of(name: str, train: Path, num_fewshot: int | None = None) -> Path | None:
    """Return the file from which the examples of a task are taken; None: from no file."""
    return train if name in ("gsm8k", "mmlu_generative") and num_fewshot != 0 else None


def rows_of(name: str, test: Path) -> list[dict[str, Any]]:
    """Its questions."""
    read = mmlu.read_questions if name == "mmlu_generative" else read_rows
    return [fields for _, fields in read(test)]


def digest(lines: Iterator[str]) -> str:
    """SHA-256 of lines."""
    return sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def whole(name: str, test: Path, train: Path, responses: list[list[str]], folder: Path) -> dict[str, Any]:
    """What we send, read, score and say of one task."""
    task, rows = loaded(name, test, train), rows_of(name, test)
    asker = TaskPrompt(task)
    prompts = digest(json.dumps(asker.messages(Row("x", row, n)), ensure_ascii=False) for n, row in enumerate(rows))
    graded = [[task.score_response(text, row) for text in texts] for row, texts in zip(rows, responses, strict=True)]
    filters: dict[str, Any] = {}
    for key in task.filters:
        filters[key] = {
            "read": digest(str(first[key][0]) for first, *_ in graded),
            "scores": digest(repr(first[key][1]) for first, *_ in graded),
        }
        for vote, k in task.votes.items():
            filters[vote] = {"scores": digest(repr(majority_score(_samples(texts[:k], key))) for texts in graded)}
    out = _output(folder, task, responses)
    for said in score(out, scorer=name).scores:
        filters[said.filter] |= {"shown": (said.value, said.stderr), "count": said.count}
    results, _ = export_lm_eval(out, folder / "exported", scorer=name, data=test, fewshot_data=examples_of(name, train))
    (numbers,) = json.loads(results.read_text())["results"].values()  # MMLU has one subject here
    for key, found in filters.items():
        found |= {"mean": numbers[f"exact_match,{key}"], "stderr": numbers[f"exact_match_stderr,{key}"]}
    return {"prompts": prompts, "filters": filters}


def _samples(grades: list[dict[str, tuple[Any, float]]], key: str) -> list[ScoredSample]:
    return [ScoredSample(n, str(grade[key][0]), grade[key][1]) for n, grade in enumerate(grades)]


def _output(folder: Path, task: Task, responses: list[list[str]]) -> Path:
    """The file that `evaluate` would have written."""
    out = folder / f"{task.name}.jsonl"
    run = out.with_name(out.name + ".run")
    run.mkdir(parents=True)
    identity = {"job": f"eval {task.name}", "samples": task.samples is not None}
    (run / "manifest.json").write_text(json.dumps({"manycall_version": "0", "settings": identity}))
    with out.open("w") as file:
        for row in run_blocking(_rows(task)):
            text = responses[row.index][row.sample]
            file.write(json.dumps({**row.fields, "id": row.id, "response": text}) + "\n")
    return out


async def _rows(task: Task) -> list[Row]:
    return [row async for row in RowSource(task.rows, samples=task.samples).pending_rows(IdTable())]


def fuzzed(name: str, pairs: list[dict[str, str]]) -> Iterator[list[list[Any]]]:
    """What the filters of a task make of responses."""
    task = TASKS[name]
    for pair in pairs:
        target = pair["letter" if name.startswith("mmlu") else "answer"]
        yield [
            [key, read, value]
            for key, (read, value) in task.score_response(pair["response"], {"answer": target}).items()
        ]

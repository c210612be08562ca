"""What we send, read, score and report in multiple-choice tasks."""

import json
import math
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from crosscheck import letters
from crosscheck.choice_data import OPENCOMPASS, chinese_files, gpqa_file, pro_files, redux_files
from manycall.evals.rescore import score
from manycall.evals.scoring.text_answers import UNPARSED
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Fields, Row

LM_EVAL = ("gpqa_diamond_cot_zeroshot", "mmlu_pro", "mmlu_redux_generative")
SIMPLE_EVALS_SAMPLES = 4
RECORDED_RESPONSES = 1000
Said = dict[str, Any]
"""What one side says of a task: `prompts` and `rows` by subject, `figures` by subject or group."""


def digest(value: Any) -> str:
    """Return the SHA-256 of a value as JSON."""
    return sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def loaded(name: str, data: Path, fewshot_data: Path | None = None) -> Task:
    """Return the task on these files."""
    task = TASKS[name]
    assert task.loader is not None
    return task.loader(task, data, fewshot_data)


def rows_of(task: Task) -> list[Fields]:
    """Return the rows of a task."""
    assert isinstance(task.rows, list)
    return task.rows


def by_subject(task: Task) -> dict[str, list[tuple[int, Fields]]]:
    """Return the rows of each subject with their positions."""
    found: dict[str, list[tuple[int, Fields]]] = {}
    for index, row in enumerate(rows_of(task)):
        found.setdefault(row["subject"] if task.subtask else task.name, []).append((index, row))
    return found


def made_up_responses(task: Task, seed: int) -> dict[str, list[str]]:
    """Return a response to each row, by subject."""
    rng, said = random.Random(seed), dict[str, list[str]]()
    for subject, rows in by_subject(task).items():
        rights = [letters.LETTERS.index(row["answer"].strip("()")) for _, row in rows]
        # an empty response is a row without an answer, which is not graded; lm-eval grades it
        said[subject] = [
            letters.response(rng, row["choices"], right) or "?" for (_, row), right in zip(rows, rights, strict=True)
        ]
    return said


def our_whole(task: Task, said: dict[str, list[str]], folder: Path) -> Said:
    """Return what we send, read, score and report."""
    prompt, prompts, graded = TaskPrompt(task), {}, {}
    out = folder / f"{task.name}-out.jsonl"
    run = out.with_name(out.name + ".run")
    run.mkdir(parents=True)
    settings = {"job": f"eval {task.name}", "samples": False}
    (run / "manifest.json").write_text(json.dumps({"manycall_version": "0", "settings": settings}))
    with out.open("w") as file:
        for subject, rows in by_subject(task).items():
            prompts[subject] = [prompt.messages(Row("x", row, index)) for index, row in rows]
            pairs = [(row, text) for (_, row), text in zip(rows, said[subject], strict=True)]
            file.writelines(json.dumps({**row, "response": text}) + "\n" for row, text in pairs)
            graded[subject] = [task.score_response(text, row) for row, text in pairs]
    result = score(out, scorer=task.name)
    shown = {task.name: result.scores, **result.groups, **result.aggregates}
    return {
        "prompts": prompts,
        "rows": {
            subject: [[n, key, *grade[key]] for n, grade in enumerate(grades) for key in task.filters]
            for subject, grades in graded.items()
        },
        "figures": {name: {s.filter: (s.value, s.stderr) for s in scores} for name, scores in shown.items()},
    }  # fmt: skip


def prepared(name: str, folder: Path) -> tuple[Task, dict[str, Any], dict[str, list[str]]]:
    """Return a task of lm-eval on made-up data, the same data for lm-eval, and the responses."""
    folder.mkdir(parents=True)
    if name.startswith("gpqa"):
        path = gpqa_file(folder)
        task, data = loaded(name, path), {"all": {"train": str(path)}}
    elif name == "mmlu_pro":
        test, validation = pro_files(folder)
        task, data = loaded(name, test, validation), {"all": {"test": str(test), "validation": str(validation)}}
    else:
        path, files = redux_files(folder)
        task, data = loaded(name, path), {subject: {"test": str(file)} for subject, file in files.items()}
    return task, data, made_up_responses(task, 18)


def simple_evals_input(folder: Path) -> tuple[Path, list[str]]:
    """Return the questions of GPQA and a response to each call of simple-evals."""
    folder.mkdir(parents=True, exist_ok=True)
    data, rng = gpqa_file(folder), random.Random(17)
    rows = rows_of(loaded("gpqa_diamond_simple_evals", data))
    calls = (row for _ in range(SIMPLE_EVALS_SAMPLES) for row in rows)
    return data, [letters.response(rng, row["choices"], rng.randrange(4)) for row in calls]


def our_simple_evals(data: Path, replies: list[str]) -> dict[str, Any]:
    """Return what we send and score in GPQA, in the order of simple-evals' calls: by sample, then by row."""
    task = loaded("gpqa_diamond_simple_evals", data)
    assert task.vary is not None
    prompt, vary = TaskPrompt(task), task.vary
    rows = [vary(row, sample) for sample in range(SIMPLE_EVALS_SAMPLES) for row in rows_of(task)]
    grades = [task.score_response(text, row)["first"][1] for row, text in zip(rows, replies, strict=True)]
    sent = [prompt.messages(Row("x", row, 0)) for row in rows]
    return {"sent": sent, "scores": grades, "mean": math.fsum(grades) / len(grades)}


def our_fuzz(name: str, pairs: list[Fields]) -> Iterator[list[list[Any]]]:
    """Yield what the filters of a task make of each pair."""
    task = TASKS[name]
    for pair in pairs:
        letter = letters.LETTERS[pair["right"]]
        fields = {
            "choices": pair["choices"],
            "answer": f"({letter})" if name.startswith("gpqa_diamond_cot") else letter,
        }
        yield [[key, read, value] for key, (read, value) in task.score_response(pair["response"], fields).items()]


def our_readers(texts: list[str]) -> dict[str, list[str | None]]:
    """Return the answers that the readers of the other authorities find in texts; None where they find none."""
    found: dict[str, list[str | None]] = {}
    for name in ("gpqa_diamond_simple_evals", "mmlu_pro/official", *OPENCOMPASS):
        task, _, key = name.partition("/")
        extract = TASKS[task].filters[key or next(iter(TASKS[task].filters))]
        assert callable(extract)
        found[name] = [None if (answer := extract(text)) == UNPARSED else answer for text in texts]
    return found


def our_chinese_messages(name: str, folder: Path) -> list[Any]:
    """Return the messages of C-Eval or CMMLU."""
    val, dev = chinese_files(folder, name)
    task = loaded(name, val, dev if TASKS[name].num_fewshot else None)
    return [TaskPrompt(task).messages(Row("x", row, index)) for index, row in enumerate(rows_of(task))]


def recorded_forms(folder: Path) -> dict[str, Any]:
    """Return what is recorded, in hashes and figures. It was compared with the authorities when it was recorded."""
    forms: dict[str, Any] = {}
    for name in LM_EVAL:
        task, _, said = prepared(name, folder / name)
        ours = our_whole(task, said, folder / name)
        pairs = list(letters.fuzz(RECORDED_RESPONSES, 15, 10 if name == "mmlu_pro" else 4))
        forms[name] = {
            "prompts": digest(ours["prompts"]), "rows": digest(ours["rows"]), "figures": ours["figures"],
            "fuzz": digest(list(our_fuzz(name, pairs))),
        }  # fmt: skip
    forms["simple_evals"] = digest(our_simple_evals(*simple_evals_input(folder)))
    texts = [pair["response"] for pair in letters.fuzz(RECORDED_RESPONSES, 16, 10)]
    forms["readers"] = {name: digest(read) for name, read in our_readers(texts).items()}
    forms["messages"] = {name: digest(our_chinese_messages(name, folder)) for name in OPENCOMPASS}
    return dict(json.loads(json.dumps(forms)))

"""Comparison of multiple choice with its authorities.

python -m crosscheck.choices --python LM_EVALS_PYTHON --authorities FOLDER [--count 20000] [--record]
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crosscheck import letters, responses
from crosscheck.choice_data import OPENCOMPASS, chinese_files
from crosscheck.compared import ENOUGH, Comparison, note
from crosscheck.our_choices import (
    LM_EVAL,
    SIMPLE_EVALS_SAMPLES,
    Said,
    by_subject,
    loaded,
    our_fuzz,
    our_readers,
    our_simple_evals,
    our_whole,
    prepared,
    recorded_forms,
    rows_of,
    simple_evals_input,
)  # fmt: skip
from manycall.evals.tasks.benchmark import LM_EVAL as HARNESS
from manycall.evals.tasks.gpqa_data import COLUMNS
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Fields, Row

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "recorded_choices.json"
SECONDS = 3600
READERS = {
    "gpqa_diamond_simple_evals/first": "openai/simple-evals", "mmlu_pro/official": "MMLU-Pro, evaluate_from_local.py",
    "ceval_opencompass/first-capital": "OpenCompass 0.5.4", "cmmlu_opencompass/first-answer": "OpenCompass 0.5.4",
}  # fmt: skip
"""Our task and filter -> the authority whose reader it is."""


def run_harness(python: str, script: str, job: dict[str, Any], folder: Path) -> Path:
    """Do a job in the environment of the authority; return the file with what it said."""
    folder.mkdir(parents=True, exist_ok=True)
    path, out = folder / "job.json", folder / "said.json"
    path.write_text(json.dumps({**job, "out": str(out), "folder": job.get("folder", str(folder / "tasks"))}))
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(FOLDER.parent), "HOME": str(folder),
        "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
    }  # fmt: skip
    done = subprocess.run(
        [python, FOLDER / script, path], check=False, cwd=folder, env=environment, capture_output=True, text=True,
        timeout=SECONDS,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-4000:]}")
    return out


def group_members(task: Task, subjects: list[str]) -> dict[str, list[str]]:
    """Return the subjects with rows in each group of a task."""
    return {
        group.name: [name for name in subjects if group.subtasks is None or name in group.subtasks]
        for group in task.groups
    }


def lm_eval_whole(python: str, task: Task, data: dict[str, Any], said: dict[str, list[str]], folder: Path) -> Said:
    """Return what lm-eval sends, reads, scores and reports."""
    folder.mkdir(parents=True)
    spoken = {name.replace(" ", "_"): texts for name, texts in said.items()}
    groups = {g: [n.replace(" ", "_") for n in names] for g, names in group_members(task, list(said)).items()}
    (folder / "responses.json").write_text(json.dumps(spoken))
    job = {"task": task.name, "data": data, "groups": groups, "responses": str(folder / "responses.json")}
    return dict(json.loads(run_harness(python, "choice_harness.py", job, folder).read_text()))


def compare_whole(task: Task, ours: Said, theirs: Said) -> list[str]:
    """Return every difference between us and lm-eval, which does not have our filter `official`."""
    bad, filters = list[str](), [name for name in task.filters if name != "official"]
    for subject, sent in ours["prompts"].items():
        name = subject.replace(" ", "_")
        mine = [*sent, *sorted(row for row in ours["rows"][subject] if row[1] in filters)]
        said = [*map(json.loads, theirs["prompts"][name]), *sorted(theirs["rows"][name])]
        bad += [f"{task.name}/{name}: {o}, lm-eval {t}" for o, t in zip(mine, said, strict=True) if o != t]
    for name, figures in ours["figures"].items():
        said = theirs["figures"][name if name in theirs["figures"] else name.replace(" ", "_")]
        for key in filters:
            expected = said[f"exact_match,{key}"], said[f"exact_match_stderr,{key}"]
            if not all(map(_close, figures[key], expected)):
                bad.append(f"{task.name}/{name}/{key}: {figures[key]}, lm-eval {expected}")
    return bad


def _close(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-15)


def compare_fuzz(python: str, name: str, count: int, folder: Path) -> list[str]:
    """Return the differences from lm-eval in what the filters and the metric make of made-up responses."""
    pairs = list(letters.fuzz(count, 15, 10 if name == "mmlu_pro" else 4))
    folder.mkdir(parents=True)
    path, row = folder / "pairs.jsonl", folder / "row.jsonl"
    responses.write(path, pairs)
    gpqa_columns = dict.fromkeys(("Question", *COLUMNS), "a")
    shown = {"answer": 1, "category": "biology", "options": ["a"], "cot_content": "", **gpqa_columns}
    responses.write(row, [{**pairs[0], **shown}])
    data = {"all": {split: str(row) for split in ("train", "test", "validation")}}
    out = run_harness(python, "choice_harness.py", {"task": name, "data": data, "pairs": str(path)}, folder)
    bad = []
    with out.open() as lines:
        for pair, ours, line in zip(pairs, our_fuzz(name, pairs), lines, strict=True):
            mine, theirs = [grade for grade in ours if grade[0] != "official"], json.loads(line)
            bad += [f"{name}: {pair}: {mine}, lm-eval {theirs}"] if mine != theirs else []
    return bad


def compare_authorities(python: str, authorities: str, count: int, folder: Path) -> list[str]:
    """Return the differences from simple-evals, OpenCompass and MMLU-Pro."""
    pairs = list(letters.fuzz(count, 16, 10))
    texts, (data, replies) = [pair["response"] for pair in pairs], simple_evals_input(folder)
    job = {"authorities": authorities, "texts": texts, "gpqa": str(data), "gpqa_responses": replies}
    said = json.loads(
        run_harness(python, "authority_harness.py", {**job, "samples": SIMPLE_EVALS_SAMPLES}, folder).read_text()
    )
    bad = [*compare_simple_evals(data, replies, said["simple_evals"]), *compare_templates(said["opencompass"], folder)]
    theirs = {
        "gpqa_diamond_simple_evals": said["simple_evals"]["read"],
        "mmlu_pro/official": said["mmlu_pro"],
        **{name: said["opencompass"][name] for name in OPENCOMPASS},
    }
    for name, read in our_readers(texts).items():
        triples = zip(texts, read, theirs[name], strict=True)
        bad += [f"{name}: {text!r}: {ours}, authority {its}" for text, ours, its in triples if ours != (its or None)]
    return bad


def compare_simple_evals(data: Path, replies: list[str], said: dict[str, Any]) -> list[str]:
    """Return the differences in messages, scores and mean."""
    ours = our_simple_evals(data, replies)
    pairs = zip([*ours["sent"], *ours["scores"]], [*said["sent"], *said["scores"]], strict=True)
    bad = [f"simple-evals: {o}, {t}" for o, t in pairs if o != t]
    return bad if _close(ours["mean"], said["mean"]) else [*bad, f"simple-evals: {ours['mean']}, {said['mean']}"]


def compare_templates(said: dict[str, Any], folder: Path) -> list[str]:
    """Return the differences from OpenCompass's messages."""
    bad = []
    for name in OPENCOMPASS:
        val, dev = chinese_files(folder, name)
        task = loaded(name, val, dev if TASKS[name].num_fewshot else None)
        prompt, examples = TaskPrompt(task), rows_of(loaded(name, dev, dev if TASKS[name].num_fewshot else None))
        for subject, rows in by_subject(task).items():
            turns = said["templates"][name][subject]
            for index, row in rows:
                shown = [each for each in examples if each["subject"] == subject][: task.num_fewshot or 0]
                expected = [_turn(turn, each) for each in shown for turn in turns] + [_turn(turns[0], row)]
                sent = prompt.messages(Row("x", row, index))
                bad += [f"{name}/{subject}: {sent}, OpenCompass {expected}"] if sent != expected else []
    return bad


def _turn(turn: dict[str, str], row: Fields) -> dict[str, str]:
    text = turn["prompt"]
    values = {"question": row["question"], "answer": row["answer"], **dict(zip("ABCD", row["choices"], strict=True))}
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return {"role": {"HUMAN": "user", "BOT": "assistant"}[turn["role"]], "content": text}


def compared(count: int) -> Iterator[Comparison]:
    """Yield what has been compared, with `count` made-up responses for each filter."""
    for name in LM_EVAL:
        for each in TASKS[name].filters:
            if each != "official":
                yield Comparison(name, each, HARNESS, count)
    for reader, authority in READERS.items():
        name, _, each = reader.partition("/")
        yield Comparison(name, each, authority, count)


def main() -> None:
    """Compare, say what was compared, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.choices")
    parser.add_argument("--python", type=os.path.abspath, required=True, help="the Python that has lm_eval")
    parser.add_argument("--authorities", type=os.path.abspath, help="folder with the code of the other authorities")
    parser.add_argument("--count", type=int, default=ENOUGH, help="made-up responses for each task and reader")
    parser.add_argument("--record", action="store_true", help="write recorded_choices.json, and what was compared")
    options = parser.parse_args()
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task_name in LM_EVAL:
            task, data, said = prepared(task_name, folder / task_name)
            ours = our_whole(task, said, folder / task_name)
            theirs = lm_eval_whole(options.python, task, data, said, folder / f"{task_name}-lm-eval")
            found = compare_whole(task, ours, theirs)
            rows = sum(map(len, said.values()))
            fuzzed = compare_fuzz(options.python, task_name, options.count, folder / f"{task_name}-fuzz")
            print(f"{task_name}: {rows} rows and {options.count:,} responses, {len(found) + len(fuzzed)} differences")
            bad += [*found, *fuzzed]
        if options.authorities:
            found = compare_authorities(options.python, options.authorities, options.count, folder / "authorities")
            print(f"simple-evals, OpenCompass, MMLU-Pro: {options.count:,} responses each, {len(found)} differences")
            bad += found
        if options.record and options.authorities and not bad:
            note(compared(options.count))
            RECORDED.write_text(json.dumps(recorded_forms(folder / "recorded"), indent=1, sort_keys=True) + "\n")
    sys.exit("\n".join(bad[:20]) or 0)


if __name__ == "__main__":
    main()

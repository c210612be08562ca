"""Comparison of the tasks of task_cases.py with lm-eval's own, as in_parts.py runs it.

Messages, request bodies, what is extracted, each score, the means and the standard errors are compared. Each made-up
row has one made-up response.
"""

import json
import math
import os
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from crosscheck.task_cases import CASES, TaskCase
from manycall.client.encoded_call import encode_call
from manycall.evals.lm_eval.results_file import lm_eval_mean
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Request, Row

HARNESS = Path(__file__).with_name("task_harness.py")
RECORDED = Path(__file__).with_name("recorded_tasks.json")
RECORDED_ROWS = 60
SECONDS = 3600


def write_lines(path: Path, values: Any) -> Path:
    """Write values as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def make_case(name: str, case: TaskCase, count: int, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Write the rows and the responses of a case; the job of the harness for it."""
    rng = random.Random(f"{name} {count} {seed}")
    rows = list(case.rows(rng, count))
    rows_file = write_lines(folder / name / f"{case.file}.jsonl", rows)
    responses = write_lines(folder / name / "responses.jsonl", (case.response(rng, row) for row in rows))
    return {
        "yaml": case.yaml,
        "split": case.split,
        "more_splits": case.more_splits,
        "rows": str(rows_file),
        "responses": str(responses),
    }


def ask_lm_eval(python: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what lm-eval says of a job.

    Raises:
        SystemExit: it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, out = folder / "job.json", folder / "said.json"
    path.write_text(json.dumps({**job, "folder": str(folder / "lm-eval"), "out": str(out)}), encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HOME": str(folder / "hf")}
    command = [python, str(HARNESS), str(path)]
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        sys.exit(f"lm-eval failed:\n{done.stderr[-4000:]}")
    return dict(json.loads(out.read_text(encoding="utf-8")))


def ask_ours(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Return the same of our task."""
    task = TASKS[name]
    assert task.loader is not None
    task = task.loader(task, job["rows"])
    prompt = TaskPrompt(task)
    rows: Any = task.rows
    messages = [prompt.messages(Row("x", row, n)) for n, row in enumerate(rows)]
    requests = (Request("chat", "any", each, task.params, task.body_format) for each in messages)
    bodies = [encode_call(request).body.decode() for request in requests]
    with Path(job["responses"]).open(encoding="utf-8") as lines:
        grades = [task.score_response(json.loads(line), row) for line, row in zip(lines, rows, strict=True)]
    return {
        "prompts": digest(json.dumps(each, ensure_ascii=False) for each in messages),
        "bodies": digest(bodies),
        "first_body": bodies[0],
        "grades": grades,
    }


def digest(texts: Any) -> str:
    """Return the SHA-256 of texts."""
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def summary(case: TaskCase, mine: dict[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a case: hashes of everything, the mean and the standard error."""
    found = {"prompts": mine["prompts"], "bodies": mine["bodies"], "filters": {}}
    for name in case.metrics:
        grades = [grade[name] for grade in mine["grades"]]
        mean = lm_eval_mean([value for _, value in grades])
        found["filters"][name] = {
            "scores": digest(repr(value) for _, value in grades),
            "read": digest(str(answer) for answer, _ in grades) if case.reads else "",
            "mean": mean.value,
            "stderr": mean.stderr,
        }
    return found


def differences(
    name: str, case: TaskCase, mine: dict[str, Any], theirs: dict[str, Any], job: dict[str, Any]
) -> list[str]:
    """Return all differences between our task and lm-eval's, the first ten of each kind."""
    bad = [f"{name}: other {what}" for what in ("prompts", "bodies") if mine[what] != theirs[what]]
    bad += [f"  lm-eval sends {theirs['first_body'][-300:]}\n  we send {mine['first_body'][-300:]}"] if bad else []
    responses = Path(job["responses"]).read_text(encoding="utf-8").splitlines()
    said = [json.loads(line) for line in Path(theirs["rows"]).read_text(encoding="utf-8").splitlines()]
    for own, (metric, filter_name) in case.metrics.items():
        rows = []
        for grade, row, response in zip(mine["grades"], said, responses, strict=True):
            (read, score), (their_read, scores) = grade[own], row[filter_name]
            if float(scores[metric]) != score or (case.reads and str(read) != str(their_read)):
                rows.append(f"{name}/{own}: {response} read {read!r} {score}, lm-eval {their_read!r} {scores[metric]}")
        bad += [*rows[:10], *([f"{name}/{own}: {len(rows)} rows differ"] if rows else [])]
        mean = lm_eval_mean([grade[own][1] for grade in mine["grades"]])
        for what, value in ((metric, mean.value), (f"{metric}_stderr", mean.stderr)):
            number = theirs["numbers"][f"{what},{filter_name}"]
            if value is None or not math.isclose(number, value, rel_tol=1e-12, abs_tol=1e-15):
                bad.append(f"{name}/{own}: {what} {value}, lm-eval {number}")
    return bad


def compare(python: str, names: list[str], count: int, folder: Path, seed: int = 0) -> list[str]:
    """Compare tasks on `count` rows each; all differences."""
    jobs = {name: make_case(name, CASES[name], count, folder, seed) for name in names}
    said = ask_lm_eval(python, {"tasks": jobs}, folder)
    bad = []
    for name in names:
        mine = ask_ours(name, jobs[name])
        found = differences(name, CASES[name], mine, said["tasks"][name], jobs[name])
        bad += found
        numbers = ", ".join(f"{key} {value:.4f}" for key, value in said["tasks"][name]["numbers"].items())
        print(f"{name:24} {len(mine['grades']):,} rows, {'no difference' if not found else 'DIFFERENT'}: {numbers}")
    return bad


def recorded_now(names: list[str], folder: Path) -> dict[str, Any]:
    """Return what is recorded, as our code says it now."""
    made = {name: make_case(name, CASES[name], RECORDED_ROWS, folder) for name in names}
    return {name: summary(CASES[name], ask_ours(name, job)) for name, job in made.items()}

"""Multiple choice beside its authorities.

python -m crosscheck.choices --python LM_EVALS_PYTHON --authorities FOLDER [--fuzz 20000] [--record]
"""

import argparse
import csv
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from crosscheck import letters, responses
from manycall.evals.rescore import score
from manycall.evals.tasks import gpqa
from manycall.evals.tasks.chinese_subjects import CEVAL_SUBJECTS, CMMLU_SUBJECTS
from manycall.evals.tasks.mmlu_subjects import MMLU_SUBJECTS
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Fields, Row

FOLDER = Path(__file__).parent
RECORDED = FOLDER / "recorded_choices.json"
SECONDS = 3600
LM_EVAL = ("gpqa_diamond_cot_zeroshot", "mmlu_pro", "mmlu_redux_generative")
OPENCOMPASS = {"ceval_opencompass": CEVAL_SUBJECTS, "cmmlu_opencompass": CMMLU_SUBJECTS}
PRO_CATEGORIES = (
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history", "law", "math",
    "other", "philosophy", "physics", "psychology",
)  # fmt: skip
SIMPLE_EVALS_SAMPLES = 4
LEAD = "A: Let's think step by step. "
Said = dict[str, Any]
"""What one side says of a task: `prompts` and `rows` by subject, `figures` by subject or group."""


def digest(value: Any) -> str:
    """Return the SHA-256 of a value as JSON."""
    return sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


# --- made-up data in the published forms -------------------------------------------------------------------------------


def gpqa_file(folder: Path, count: int = 60) -> Path:
    """Write questions in GPQA's columns. Some wrong choices are missing."""
    rng, path = random.Random(11), folder / "gpqa_diamond.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Question", *gpqa.COLUMNS])
        for _ in range(count):
            row = letters.question(rng, 4)
            right, *wrong = row["choices"]
            writer.writerow([row["question"], right, *("" if rng.random() < 0.04 else text for text in wrong)])
    return path


def pro_files(folder: Path) -> tuple[Path, Path]:
    """Write 6 questions and 6 examples of each category of MMLU-Pro."""
    rng, paths = random.Random(12), []
    for split, cot in (("test", False), ("validation", True)):
        rows = []
        for category in PRO_CATEGORIES * 6:
            row = letters.question(rng, rng.randint(3, 10))
            answer = letters.LETTERS[row["right"]]
            text = f"{rng.choice((LEAD, '', LEAD * 2))}It is so. The answer is ({answer})." if cot else ""
            rows.append({
                "question_id": len(rows), "question": row["question"], "options": row["choices"], "answer": answer,
                "answer_index": row["right"], "cot_content": text, "category": category, "src": "made up",
            })  # fmt: skip
        paths.append(responses.write(folder / f"pro-{split}.jsonl", rows))
    return paths[0], paths[1]


def redux_files(folder: Path) -> tuple[Path, dict[str, Path]]:
    """Write 1 to 7 questions of some subjects of MMLU-Redux: one file for us, one per subject for lm-eval."""
    rng, everything, files = random.Random(13), [], {}
    for subjects in MMLU_SUBJECTS.values():
        for number, subject in enumerate(subjects[:4]):
            rows = []
            for _ in range(number * 2 + 2):
                row = letters.question(rng, 4)
                rows.append({"question": row["question"], "choices": row["choices"], "answer": row["right"]})
            files[subject] = responses.write(folder / f"redux-{subject}.jsonl", rows)
            everything += [{"subject": subject, **row, "error_type": "ok", "correct_answer": None} for row in rows]
            everything.append({"subject": subject, **rows[0], "error_type": "wrong_groundtruth", "correct_answer": "1"})
    return responses.write(folder / "redux.jsonl", everything), files


def chinese_files(folder: Path, task: str) -> tuple[Path, Path]:
    """Write 3 questions and 6 examples of each subject of C-Eval or CMMLU."""
    rng, is_ceval = random.Random(14), task.startswith("ceval")
    head = "id question A B C D answer explanation".split() if is_ceval else ["", *"Question A B C D Answer".split()]
    for split, count in (("val", 3), ("dev", 6)):
        (folder / f"{task}-{split}").mkdir()
        for subject in (name for subjects in OPENCOMPASS[task].values() for name in subjects):
            name = f"{subject}_{split}.csv" if is_ceval else f"{subject}.csv"
            with (folder / f"{task}-{split}" / name).open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(head)
                for number in range(count):
                    row = letters.question(rng, 4)
                    cells = [number, row["question"], *row["choices"], letters.LETTERS[row["right"]]]
                    writer.writerow([*cells, *([""] if is_ceval else [])])
    return folder / f"{task}-val", folder / f"{task}-dev"


# --- our side ----------------------------------------------------------------------------------------------------------


def loaded(name: str, data: Path, fewshot_data: Path | None = None) -> Task:
    """Return the task on these files."""
    task = TASKS[name]
    assert task.loader is not None
    return task.loader(task, data, fewshot_data)


def by_subject(task: Task) -> dict[str, list[tuple[int, Fields]]]:
    """Return the rows of each subject with their positions."""
    found: dict[str, list[tuple[int, Fields]]] = {}
    assert isinstance(task.rows, list)
    for index, row in enumerate(task.rows):
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


def our_simple_evals(data: Path, replies: list[str]) -> dict[str, Any]:
    """Return what we send and score in GPQA, in the order of simple-evals' calls: by sample, then by row."""
    task = loaded("gpqa_diamond_simple_evals", data)
    assert task.vary is not None
    assert isinstance(task.rows, list)
    prompt, vary = TaskPrompt(task), task.vary
    rows = [vary(row, sample) for sample in range(SIMPLE_EVALS_SAMPLES) for row in task.rows]
    grades = [task.score_response(text, row)["first"][1] for row, text in zip(rows, replies, strict=True)]
    sent = [prompt.messages(Row("x", row, 0)) for row in rows]
    return {"sent": sent, "scores": grades, "mean": math.fsum(grades) / len(grades)}


def our_fuzz(name: str, pairs: list[Fields]) -> Iterator[list[list[Any]]]:
    """Yield what the filters of a task make of each pair."""
    task = TASKS[name]
    for pair in pairs:
        letter = letters.LETTERS[pair["right"]]
        fields = {"choices": pair["choices"], "answer": f"({letter})" if name.startswith("gpqa_diamond_cot") else letter}
        yield [[key, read, value] for key, (read, value) in task.score_response(pair["response"], fields).items()]


# --- the other side ----------------------------------------------------------------------------------------------------


def run_harness(python: str, script: str, job: dict[str, Any], folder: Path) -> Path:
    """Do a job in the environment of the authority; return the file with what it said."""
    folder.mkdir(parents=True, exist_ok=True)
    path, out = folder / "job.json", folder / "said.json"
    path.write_text(json.dumps({**job, "out": str(out), "folder": str(folder / "tasks")}))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HOME": str(folder / "hf")}
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
        group.name: [name for name in subjects if group.subtasks is None or name in group.subtasks] for group in task.groups
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
    gpqa_columns = dict.fromkeys(("Question", *gpqa.COLUMNS), "a")
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
    readers = {
        "gpqa_diamond_simple_evals": said["simple_evals"]["read"], "mmlu_pro/official": said["mmlu_pro"],
        **{name: said["opencompass"][name] for name in OPENCOMPASS},
    }  # fmt: skip
    for name, read in readers.items():
        task, _, key = name.partition("/")
        extract = TASKS[task].filters[key or next(iter(TASKS[task].filters))]
        assert callable(extract)
        mine = [None if (answer := extract(text)) == "[invalid]" else answer for text in texts]
        bad += [f"{name}: {t!r}: {o}, {a}" for t, o, a in zip(texts, mine, read, strict=True) if o != (a or None)]
    return bad


def simple_evals_input(folder: Path) -> tuple[Path, list[str]]:
    """Return the questions of GPQA and a response to each call of simple-evals."""
    folder.mkdir(parents=True, exist_ok=True)
    data, rng = gpqa_file(folder), random.Random(17)
    rows = loaded("gpqa_diamond_simple_evals", data).rows
    assert isinstance(rows, list)
    calls = (row for _ in range(SIMPLE_EVALS_SAMPLES) for row in rows)
    return data, [letters.response(rng, row["choices"], rng.randrange(4)) for row in calls]


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
        prompt, examples = TaskPrompt(task), _rows(loaded(name, dev, dev if TASKS[name].num_fewshot else None))
        for subject, rows in by_subject(task).items():
            turns = said["templates"][name][subject]
            for index, row in rows:
                shown = [each for each in examples if each["subject"] == subject][: task.num_fewshot or 0]
                expected = [_turn(turn, each) for each in shown for turn in turns] + [_turn(turns[0], row)]
                sent = prompt.messages(Row("x", row, index))
                bad += [f"{name}/{subject}: {sent}, OpenCompass {expected}"] if sent != expected else []
    return bad


def _rows(task: Task) -> list[Fields]:
    assert isinstance(task.rows, list)
    return task.rows


def _turn(turn: dict[str, str], row: Fields) -> dict[str, str]:
    text = turn["prompt"]
    values = {"question": row["question"], "answer": row["answer"], **dict(zip("ABCD", row["choices"], strict=True))}
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return {"role": {"HUMAN": "user", "BOT": "assistant"}[turn["role"]], "content": text}


# --- all of it ---------------------------------------------------------------------------------------------------------


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


def recorded_form(said: Said) -> dict[str, Any]:
    """Return what is recorded of a task: hashes of the messages and rows, and the figures."""
    rows = {name: sorted(row for row in rows if row[1] != "official") for name, rows in said["rows"].items()}
    return {"prompts": digest(said["prompts"]), "rows": digest(rows), "figures": said["figures"]}


def main() -> None:
    """Compare, say what was compared, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.choices")
    parser.add_argument("--python", type=os.path.abspath, required=True, help="the Python that has lm_eval")
    parser.add_argument("--authorities", type=os.path.abspath, help="folder with the code of the other authorities")
    parser.add_argument("--fuzz", type=int, default=20_000, help="made-up responses for each task and reader")
    parser.add_argument("--record", action="store_true", help="write recorded_choices.json")
    options = parser.parse_args()
    bad: list[str] = []
    recorded = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for task_name in LM_EVAL:
            task, data, said = prepared(task_name, folder / task_name)
            ours = our_whole(task, said, folder / task_name)
            theirs = lm_eval_whole(options.python, task, data, said, folder / f"{task_name}-lm-eval")
            found = compare_whole(task, ours, theirs)
            rows = sum(map(len, said.values()))
            fuzzed = compare_fuzz(options.python, task_name, options.fuzz, folder / f"{task_name}-fuzz")
            print(f"{task_name}: {rows} rows, {len(found)} differences; {options.fuzz:,} responses, {len(fuzzed)} differences")
            bad += [*found, *fuzzed]
            recorded[task_name] = recorded_form(ours)
        if options.authorities:
            found = compare_authorities(options.python, options.authorities, options.fuzz, folder / "authorities")
            print(f"simple-evals, OpenCompass, MMLU-Pro: {options.fuzz:,} responses each, {len(found)} differences")
            bad += found
    if options.record and not bad:
        RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    sys.exit("\n".join(bad[:20]) or 0)


if __name__ == "__main__":
    main()

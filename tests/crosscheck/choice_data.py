"""Made-up questions in the published forms of the multiple-choice benchmarks."""

import csv
import random
from pathlib import Path
from typing import Any

from crosscheck import letters, responses
from manycall.evals.tasks.chinese_subjects import CEVAL_SUBJECTS, CMMLU_SUBJECTS
from manycall.evals.tasks.gpqa_data import COLUMNS
from manycall.evals.tasks.mmlu_subjects import MMLU_SUBJECTS

OPENCOMPASS = {"ceval_opencompass": CEVAL_SUBJECTS, "cmmlu_opencompass": CMMLU_SUBJECTS}
PRO_CATEGORIES = (
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history", "law",
    "math", "other", "philosophy", "physics", "psychology",
)  # fmt: skip
LEAD = "A: Let's think step by step. "


def gpqa_file(folder: Path, count: int = 60) -> Path:
    """Write questions in GPQA's columns. Some wrong choices are missing."""
    rng, path = random.Random(11), folder / "gpqa_diamond.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Question", *COLUMNS])
        for _ in range(count):
            row = letters.question(rng, 4)
            right, *wrong = row["choices"]
            writer.writerow([row["question"], right, *("" if rng.random() < 0.04 else text for text in wrong)])
    return path


def pro_files(folder: Path) -> tuple[Path, Path]:
    """Write 6 questions and 6 examples of each category of MMLU-Pro."""
    rng, paths = random.Random(12), []
    for split, cot in (("test", False), ("validation", True)):
        rows = list[dict[str, Any]]()
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

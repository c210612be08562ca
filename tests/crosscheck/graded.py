"""DROP and SimpleQA next to OpenAI's simple-evals.

python -m crosscheck.graded --python PYTHON --authorities FOLDER [--count 20000] [--record]

FOLDER contains a checkout of openai/simple-evals.
"""

import argparse
import csv
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from crosscheck import responses
from crosscheck.choices import run_harness
from crosscheck.compared import ENOUGH, Comparison, note
from crosscheck.texts import close, digest
from manycall.data.prompt_template import PromptTemplate
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.judging.built_in_rubrics import GRADES, LETTERS, RUBRICS, LetterFormat, derived_scores
from manycall.records import Fields, Row

RECORDED = Path(__file__).with_name("recorded_graded.json")
RECORDED_PAIRS, RECORDED_SEED = 2000, 75
COMPARED_FILTERS = (("drop_simple_evals", "em"), ("drop_simple_evals", "f1"), ("simpleqa", "grade of the judge"))
SPANS = (
    "21",
    "21 yards",
    "21-yard",
    "3,500",
    "3500",
    "3500.0",
    "Odell Marsh",
    "the Marsh",
    "an apple",
    "A",
    "Calder and Joss",
    "5 May",
    "5.",
    "$12.50",
    "12.5%",
    "1_000",
    "nan",
    "inf",
    "-7",
    "--",
    "half",
    "４２",
    "四十二",
    "U.S.",
    "it's",
    "",
    "  ",
)
LEADS = (
    "Answer: {}",
    "answer : {}",
    "**Answer:** {}",
    "Answer:\n{}",
    "So {}.",
    "{}",
    "Answer: {}\nAnswer: no",
    "ANSWER:{}",
    "<think>Answer: 3</think>\nAnswer: {}",
    "Answer:",
    "The answer is {}",
    "\n\n{}\n",
    "答案：{}",
    "```\n{}\n```",
)
REPLIES = (
    "{}",
    "{}.",
    " {} ",
    "**{}**",
    '"{}"',
    "({})",
    "{}\n",
    "{}: {w}",
    "{} {w}",
    "{}) {w}",
    "{}：【{w}】",
    "{}. {w}.",
)
MISREAD = (
    "CORRECT",
    "INCORRECT",
    "NOT_ATTEMPTED",
    "NOT ATTEMPTED",
    "正确",
    "【错误】",
    "未尝试",
    "Correct",
    "",
    "D",
    "a",
    "A or B",
    "The grade is A",
    "BECAUSE",
    "I think it is B.",
    "A: INCORRECT",
)
"""Replies that simple-evals reads by the first A, B or C in them, and we by their meaning or not at all."""


def drop_pair(rng: random.Random) -> tuple[str, str]:
    """Return a response and references."""
    spans = [" ".join(rng.choice(SPANS) for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 3))]
    said = rng.choice((rng.choice(spans), rng.choice(SPANS), f"{rng.choice(SPANS)} {rng.choice(spans)}".upper()))
    return rng.choice(LEADS).replace("{}", said), "|".join([*spans, "x 1"])


def drop_files(folder: Path) -> tuple[Path, Path]:
    """Write questions and a training set in the published form."""
    rng = random.Random(71)

    def rows(count: int) -> list[Fields]:
        pairs = [drop_pair(rng) for _ in range(count)]
        return [
            {"context": f"Passage: {n}\nQuestion: {text}\nAnswer:", "completion": f" {text}", "ref_text": right}
            for n, (text, right) in enumerate(pairs)
        ]

    return responses.write(folder / "dev.jsonl", rows(60)), responses.write(folder / "train.jsonl", rows(40))


def simpleqa_file(folder: Path) -> Path:
    """Write questions in the published form."""
    path = folder / "simpleqa.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["metadata", "problem", "answer"])
        writer.writerows(["{}", f'Who "{n}", and\nwhy?', f"Name {n}"] for n in range(60))
    return path


def loaded(name: str, data: Path, fewshot_data: Path | None = None) -> Task:
    """Return a task on these files."""
    task = TASKS[name]
    assert task.loader is not None
    return task.loader(task, data, fewshot_data)


def our_drop(task: Task, texts: list[str]) -> dict[str, Any]:
    """Return what we send and score."""
    assert isinstance(task.rows, list)
    prompt = TaskPrompt(task)
    grades = [task.score_response(text, row) for row, text in zip(task.rows, texts, strict=True)]
    return {
        "sent": [prompt.messages(Row("x", row, index)) for index, row in enumerate(task.rows)],
        "scores": [{"em_score": grade["em"][1], "f1_score": round(grade["f1"][1] * 100, 2)} for grade in grades],
    }


def our_drop_pairs(pairs: list[tuple[str, str]]) -> list[list[float]]:
    """Return exact match and F1 in percent of each pair."""
    grades = (TASKS["drop_simple_evals"].score_response(text, {"answer": right}) for text, right in pairs)
    return [[grade["em"][1], round(grade["f1"][1] * 100, 2)] for grade in grades]


def judge_replies(count: int, seed: int) -> list[str]:
    """Return replies of a judge that contain one letter, in the ways in which judges write it."""
    rng = random.Random(seed)
    letters = [rng.choice("ABC") for _ in range(count)]
    return [rng.choice(REPLIES).replace("{}", letter).replace("{w}", LETTERS[letter]) for letter in letters]


def read_grade(reply: str) -> str | None:
    """Return the grade that we read, as a letter; None if the judge would be asked again."""
    try:
        word = LetterFormat(GRADES).parse(reply)
    except ValueError:
        return None
    return next(letter for letter, each in LETTERS.items() if each == word)


def differences(python: str, authorities: str, count: int, folder: Path) -> list[str]:
    """Return every difference from simple-evals."""
    rng = random.Random(72)
    (dev, train), questions = drop_files(folder), simpleqa_file(folder)
    drop, simpleqa = loaded("drop_simple_evals", dev, train), loaded("simpleqa", questions)
    assert isinstance(drop.rows, list)
    assert isinstance(simpleqa.rows, list)
    texts = [drop_pair(rng)[0] for _ in drop.rows]
    pairs = [*recorded_pairs(), *(drop_pair(rng) for _ in range(count))]
    answers = [rng.choice(("It is Name 7.", "I don't know.", "{{ x }} {question}", "中文")) for _ in simpleqa.rows]
    letters = judge_replies(len(answers), 73)
    replies = [*judge_replies(200, RECORDED_SEED), *judge_replies(count, 74), *MISREAD]
    job = {
        "authorities": authorities,
        "drop": {"dev": str(dev), "train": str(train), "responses": texts, "pairs": pairs},
        "simpleqa": {"simpleqa": str(questions), "answers": answers, "grades": letters, "replies": replies},
    }
    said = json.loads(run_harness(python, "graded_harness.py", job, folder / "simple-evals").read_text())
    ours = our_drop(drop, texts)
    bad = [
        f"drop: {o}, simple-evals {t}"
        for part in ours
        for o, t in zip(ours[part], said["drop"][part], strict=True)
        if o != t
    ]
    both = zip(pairs, our_drop_pairs(pairs), said["drop"]["pairs"], strict=True)
    bad += [f"drop {pair}: {o}, simple-evals {t}" for pair, o, t in both if o != t]
    return [*bad, *_simpleqa_differences(simpleqa, answers, letters, replies, said["simpleqa"])]


def _simpleqa_differences(
    task: Task, answers: list[str], letters: list[str], replies: list[str], said: dict[str, Any]
) -> list[str]:
    assert isinstance(task.rows, list)
    prompt, rubric = TaskPrompt(task), PromptTemplate(RUBRICS["simpleqa"].text, RUBRICS["simpleqa"].system)
    rows = [
        Row("x", {**row, "response": text}, n) for n, (row, text) in enumerate(zip(task.rows, answers, strict=True))
    ]
    sent = [(prompt.messages(row), rubric.messages(row)) for row in rows]
    bad = [
        f"simpleqa: {o}, simple-evals {t}"
        for o, *t in zip(sent, said["sent"], said["judged"], strict=True)
        if list(o) != t
    ]
    counts = Counter(LETTERS[str(read_grade(reply))] for reply in letters)
    theirs = {name: sum(each[f"is_{name.lower()}"] for each in said["grades"]) for name in GRADES}
    bad += [] if counts == theirs else [f"simpleqa: {counts}, simple-evals {theirs}"]
    n, attempted = len(rows), theirs["CORRECT"] + theirs["INCORRECT"]
    given, share = theirs["CORRECT"] / attempted, theirs["CORRECT"] / n
    expected = [given, 2 * given * share / (given + share)]  # the formulas of simple-evals
    bad += [f"{name}: {o}" for (name, o), t in zip(derived_scores(counts), expected, strict=True) if not close(o, t)]
    read = zip(replies, map(read_grade, replies), said["read"], strict=True)
    return [*bad, *(f"{reply!r}: {o}, simple-evals {t}" for reply, o, t in read if o != t and reply not in MISREAD)]


def recorded_pairs() -> list[tuple[str, str]]:
    """Return the responses and references of DROP whose scores are recorded."""
    rng = random.Random(RECORDED_SEED)
    return [drop_pair(rng) for _ in range(RECORDED_PAIRS)]


def recorded() -> dict[str, str]:
    """Return the digests of what our code makes of the recorded responses."""
    replies = judge_replies(200, RECORDED_SEED)
    return {"drop": digest(our_drop_pairs(recorded_pairs())), "simpleqa": digest([*map(read_grade, replies)])}


def main() -> None:
    """Compare, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.graded")
    parser.add_argument("--python", type=os.path.abspath, required=True, help="a Python with pandas and scipy")
    parser.add_argument("--authorities", type=os.path.abspath, required=True, help="the folder of simple-evals")
    parser.add_argument("--count", type=int, default=ENOUGH, help="made-up responses")
    parser.add_argument("--record", action="store_true", help="write recorded_graded.json, and what was compared")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bad = differences(options.python, options.authorities, options.count, Path(name))
    print(f"DROP, SimpleQA: {options.count:,} made-up responses and replies of judges each, {len(bad)} differences")
    if options.record and not bad:
        note(Comparison(*each, "openai/simple-evals", options.count) for each in COMPARED_FILTERS)
        RECORDED.write_text(json.dumps(recorded(), indent=1, sort_keys=True) + "\n")
    sys.exit("\n".join(bad[:20]) or 0)


if __name__ == "__main__":
    main()

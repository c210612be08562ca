"""python -m crosscheck [--python LM_EVALS_PYTHON] [--gsm8k FOLDER] [--count 20000] [--record]"""

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crosscheck import ours, responses
from crosscheck.compared import ENOUGH, Comparison, note
from manycall.evals.tasks import mmlu
from manycall.evals.tasks.benchmark import LM_EVAL
from manycall.evals.tasks.registry import TASKS

HARNESS = Path(__file__).with_name("harness.py")
RECORDED = Path(__file__).with_name("recorded.json")
SECONDS = 1800
SEED = 20_26
TENTHS = [0.1] * 10
VOTED = "votes"
"""Name of the larger set for votes, which need all samples of a question."""

Files = dict[str, tuple[Path, Path]]
"""Family ("gsm8k", "mmlu") -> its questions and its examples."""


def made_up(folder: Path, count: int = 80) -> Files:
    """Small data in the formats of the real, the same everywhere: `count` problems of GSM8K, 60 questions of MMLU."""
    test, dev = folder / "anatomy_test.csv", folder / "anatomy_dev.csv"
    for path, rows, seed in ((test, 60, 1), (dev, 6, 2)):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(responses.choices(rows, seed))
    problems = [*responses.made_up(count, 3), *responses.made_up(4, 3)]  # four stand there twice
    questions = responses.write(folder / "test.jsonl", problems)
    return {
        "gsm8k": (questions, responses.write(folder / "train.jsonl", responses.made_up(40, 4))),
        "mmlu": (test, dev),
    }


def family(name: str) -> str:
    """Which data a task takes."""
    return name.partition("_")[0]


def recorded(name: str, files: Files, folder: Path) -> Path:
    """The responses to the questions of a task, a list a line."""
    test, _ = files[family(name)]
    answers = [str(row["answer"]) for row in ours.rows_of(name, test)]
    return responses.write(folder / f"responses-{name}.jsonl", responses.recorded(answers, ours.samples_of(name), SEED))


def said_by_us(names: list[str], files: Files, folder: Path) -> dict[str, Any]:
    """Our results, by task."""
    return {
        name: ours.whole(name, *files[family(name)], _lists(recorded(name, files, folder)), folder / "ours")
        for name in names
    }


def said_by_lm_eval(python: str, names: list[str], files: Files, folder: Path) -> dict[str, Any]:
    """lm-eval's results, by task, and its version."""
    tasks = {name: str(recorded(name, files, folder)) for name in names}
    return dict(json.loads(harness(python, {"do": "whole", "tasks": tasks}, files, folder).read_text()))


def harness(python: str, job: dict[str, Any], files: Files, folder: Path) -> Path:
    """Have lm-eval do a job; the file with what it said."""
    out = folder / f"{job['do']}.out"
    data = {name: _as_lm_eval_has_it(name, *paths, folder) for name, paths in files.items()}
    path = folder / "job.json"
    path.write_text(json.dumps({**job, **data, "folder": str(folder / "lm-eval"), "out": str(out)}))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HOME": str(folder / "hf")}
    done = subprocess.run(
        [python, HARNESS, path],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        sys.exit(f"lm-eval failed:\n{done.stderr[-4000:]}")
    return out


def _as_lm_eval_has_it(name: str, test: Path, examples: Path, folder: Path) -> dict[str, str]:
    if name != "mmlu":
        return {"test": str(test), "train": str(examples)}
    paths = {}
    for split, path in (("test", test), ("dev", examples)):
        rows = [
            {"question": row["question"], "choices": row["choices"], "answer": "ABCD".index(row["answer"])}
            for _, row in mmlu.read_questions(path)
        ]
        paths[split] = str(responses.write(folder / f"mmlu-{split}.jsonl", rows))
    return paths


def fuzz(python: str, count: int, files: Files, folder: Path, names: Sequence[str] = ours.NAMES) -> int:
    """Compare `count` made-up responses with each filter; return the number of extractions and scores.

    Raises:
        SystemExit: one differs; it is shown.
    """
    pairs = list(responses.fuzz(count))
    path = responses.write(folder / "pairs.jsonl", pairs)
    out = harness(python, {"do": "fuzz", "tasks": dict.fromkeys(names, ""), "pairs": str(path)}, files, folder)
    compared = 0
    with out.open() as lines:
        for name in names:
            for pair, mine in zip(pairs, ours.fuzzed(name, pairs), strict=True):
                theirs = json.loads(next(lines))
                if mine != theirs:
                    sys.exit(f"{name}: {pair!r}\n  lm-eval {theirs!r}\n  ours    {mine!r}")
                compared += len(mine)
    return compared


def differences(mine: dict[str, Any], theirs: dict[str, Any], adds_up: float) -> list[str]:
    """Everything that lm-eval said of the tasks and we said otherwise: in the files of its shape, to the last bit; on
    the screen, where ours does not depend on the order of the questions, but for rounding.

    Args:
        adds_up: TENTHS, added up by lm-eval's Python; where ours does it otherwise (since 3.12), the last bits differ.
    """
    found = []
    same_sum = adds_up == sum(TENTHS)
    for name, said in theirs.items():
        if mine[name]["prompts"] != said["prompts"]:
            found.append(f"{name}: other messages")
        for key, values in said["filters"].items():
            said_by_ours = mine[name]["filters"][key]
            for what, value in values.items():
                own = said_by_ours.get(what)
                is_same = own == value or (what == "stderr" and not same_sum and _close(own, value))
                if not is_same and not (what == "read" and own is None):  # what a vote read, we do not say
                    found.append(f"{name}/{key}: {what} {own!r}, lm-eval {value!r}")
            if not all(map(_close, said_by_ours["shown"], (values["mean"], values["stderr"]))):
                shown = said_by_ours["shown"]
                found.append(f"{name}/{key}: shown as {shown}, lm-eval {values['mean']}, {values['stderr']}")
    return found


def _close(own: float, theirs: float) -> bool:
    return math.isclose(own, theirs, rel_tol=1e-12, abs_tol=1e-15)


def _lists(path: Path) -> list[list[str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    """Compare, say what was compared, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck")
    parser.add_argument("--python", type=os.path.abspath, default=sys.executable, help="the Python that has lm_eval")
    parser.add_argument("--gsm8k", type=Path, help="a folder with the real test.jsonl and train.jsonl")
    parser.add_argument("--count", type=int, default=ENOUGH, help="made-up responses for each filter")
    parser.add_argument("--record", action="store_true", help="write recorded.json, and record what was compared")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bad = compare(options.python, Path(name), options.gsm8k, options.count, options.record)
    sys.exit("\n".join(bad) or 0)


def compare(python: str, folder: Path, gsm8k: Path | None, count: int, record: bool) -> list[str]:
    """All of it; what differs."""
    small, voted = made_up(folder), folder / "voted"
    voted.mkdir()
    sets: dict[str, tuple[list[str], Files]] = {
        "made-up": (list(ours.NAMES), small),
        VOTED: ([name for name in ours.NAMES if TASKS[name].votes], made_up(voted, count // ours.MOST_SAMPLES + 1)),
    }
    if gsm8k:
        sets["gsm8k"] = (list(ours.GSM8K), {"gsm8k": (gsm8k / "test.jsonl", gsm8k / "train.jsonl")})
    noted: dict[str, Any] = {}
    bad: list[str] = []
    for title, (names, files) in sets.items():
        place = folder / f"with-{title}"
        place.mkdir()
        theirs = said_by_lm_eval(python, names, files, place)
        noted |= {**theirs, title: theirs["tasks"]}
        bad += differences(said_by_us(names, files, place), theirs["tasks"], theirs["adds_up"])
        show(title, theirs["tasks"])
    noted.pop(VOTED)
    if not bad:
        print(f"lm-eval {noted['version']} and ours: the same messages, answers, scores, means and standard errors")
    noted.pop("tasks")
    print(f"{fuzz(python, count, small, folder):,} extractions and scores of made-up responses are the same")
    if record and not bad:
        note(Comparison(name, each, LM_EVAL, count) for name in ours.NAMES for each in ours.filters_of(name))
        if gsm8k:
            RECORDED.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n")
    return bad


def show(title: str, said: dict[str, Any]) -> None:
    """lm-eval's scores."""
    for name, task in said.items():
        for key, v in task["filters"].items():
            print(f"{title:8} {name:36} {key:17} {v['mean']:.4f} ± {v['stderr']:.4f} of {v['count']}")


if __name__ == "__main__":
    main()

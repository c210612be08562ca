"""Answers made to stop a scorer: the built-in ones read them in time, a user's own loses no more than the row."""

import json
import random

import shell
from hostile_answers import LENGTH, SLOW_SECONDS, hostile_answers, readers, seconds
from servers import serving
from test_scorer_process import FOR_EVER, OWN, echo
from torture.trial import Case, Plan, Result

ROWS, ONE_IN = 400, 40
"""Rows of the user's own benchmark, and how seldom an answer takes for ever."""


def trial(plan: Plan) -> Result:
    """Give every hostile answer to every built-in parser, and run a benchmark whose own scorer hangs on some rows."""
    result = Result()
    for name, reader in readers().items() if plan.long else ():  # test_hostile_answers.py is the short form
        with result.case(name) as case:
            for what, answer in hostile_answers(LENGTH).items():
                case.faults += 1
                if (took := seconds(reader, answer)) > SLOW_SECONDS:
                    case.violations.append(f"{what}: {took:.1f} s")
    with result.case("a scorer of the user's own") as case:
        _own(plan, case)
    return result


def _own(plan: Plan, case: Case) -> None:
    rng = random.Random(plan.seed)
    count = ROWS if plan.long else ROWS // 10
    questions = {str(n): FOR_EVER if n % ONE_IN == 1 else rng.choice(["right", "wrong"]) for n in range(count)}
    rows = [{"id": name, "question": text, "answer": "right"} for name, text in questions.items()]
    (plan.folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (plan.folder / "own.py").write_text(OWN.replace("questions.jsonl", str(plan.folder / "questions.jsonl")))
    out, hung = plan.folder / "out.jsonl", {name for name, text in questions.items() if text == FOR_EVER}
    with serving(echo) as url:
        for _ in range(2):
            case.faults += len(hung)
            ended = shell.manycall(
                "eval",
                f"{plan.folder / 'own.py'}:task",
                "-m",
                "any",
                "-u",
                url,
                "-o",
                out,
                "--no-progress",
                seconds=300,
            )
            failed = {row["id"] for row in shell.rows(out.with_name("out.jsonl.run") / "failures.jsonl")}
            scored = {row["id"]: row["score"]["score"] for row in shell.rows(out)}
            right = {name: float(text == "right") for name, text in questions.items() if name not in hung}
            case.violations += [f"it ended with {ended.code}: {ended.err[-2000:]}"] * (ended.code != 3)
            case.violations += [f"failed: {sorted(failed ^ hung)}"] * (failed != hung)
            case.violations += ["other scores"] * (scored != right)

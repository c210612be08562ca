"""Comparison of mathematics with other authorities than lm-eval.

python -m crosscheck.variants --python LM_EVALS_PYTHON --authorities FOLDER [--count 20000] [--record] [TASK ...]

The cases are in variant_cases.py. Messages, scores and figures are compared. What both sides read explains differences.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from crosscheck import responses
from crosscheck.choices import run_harness
from crosscheck.compared import ENOUGH, Comparison, note
from crosscheck.texts import close, digest
from crosscheck.variant_cases import VARIANT_CASES, Graded, VariantCase
from manycall.evals.rescore import score
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Fields, Row

RECORDED = Path(__file__).with_name("recorded_variants.json")
RECORDED_RESPONSES = 25
EQUAL, UNEXPLAINED = "", "?"


class Both(NamedTuple):
    """What both sides make of the same rows and responses.

    Attributes:
        rows: our rows, all of them.
        texts: the response to each row.
        given: the part of each response that the authority gets; None: nothing.
        scores: our score of each response.
        graded: what both sides make of each response that the authority gets.
        said: what the authority reports otherwise (variant_harness.py).
    """

    rows: list[Fields]
    texts: list[str]
    given: list[str | None]
    scores: list[float]
    graded: list[Graded]
    said: dict[str, Any]


def made_up(case: VariantCase, count: int, seed: int) -> list[tuple[Fields, str]]:
    """Return rows and responses, at least `count` of which the authority gets. No response is empty."""
    rng, pairs = random.Random(f"{case.task} {case.filter} {seed}"), list[tuple[Fields, str]]()
    while sum(case.given(text) is not None for _, text in pairs) < count:
        pairs += [(row, case.response(rng, row) or "?") for row in case.rows(rng, count)]
    return pairs


def ask_both(python: str, authorities: str, case: VariantCase, pairs: list[tuple[Fields, str]], folder: Path) -> Both:
    """Have both sides grade responses."""
    folder.mkdir(parents=True)
    task = loaded(case, responses.write(folder / case.file, [row for row, _ in pairs]))
    assert isinstance(task.rows, list)
    texts = [text for _, text in pairs]
    given = [case.given(text) for text in texts]
    asked = [(row, part) for (row, _), part in zip(pairs, given, strict=True) if part is not None]
    job = {"authorities": authorities, "names": [case.function]}
    job["pairs"] = str(responses.write(folder / "pairs.jsonl", asked))
    said = json.loads(run_harness(python, "variant_harness.py", job, folder).read_text())[case.function]
    mine = [task.score_response(text, row)[case.filter] for row, text in zip(task.rows, texts, strict=True)]
    theirs = iter(said["graded"])
    graded = [
        Graded(row, part, *grade, *next(theirs))
        for row, part, grade in zip(task.rows, given, mine, strict=True)
        if part is not None
    ]
    return Both(task.rows, texts, given, [value for _, value in mine], graded, said)


def loaded(case: VariantCase, rows: Path) -> Task:
    """Return the task of a case on a file, with the filter of the case alone."""
    task = TASKS[case.task]
    assert task.loader is not None
    return replace(task.loader(task, rows), extract={case.filter: task.filters[case.filter]})


def reason(case: VariantCase, graded: Graded) -> str:
    """Return why two scores differ: EQUAL if they do not, UNEXPLAINED if no deliberate difference explains it."""
    if graded.score == graded.their_score:
        return EQUAL
    return next((name for name, explains in case.deliberate.items() if explains(graded)), UNEXPLAINED)


def other_scores(case: VariantCase, both: Both) -> list[str]:
    """Return the differences that are not deliberate."""
    bad = [str(each) for each in both.graded if reason(case, each) == UNEXPLAINED]
    rest = zip(both.given, both.scores, both.texts, strict=True)
    return bad + [
        f"{text!r} is right, but there is nothing to read" for part, value, text in rest if value and part is None
    ]


def other_messages(case: VariantCase, both: Both) -> list[str]:
    """Return the messages that differ, as far as the authority has messages."""
    prompt, benchmark = TaskPrompt(TASKS[case.task]), case.authority.rpartition(" ")[2]
    ours = [prompt.messages(Row("x", each.row, 0)) for each in both.graded]
    if "sent" in both.said:
        theirs = both.said["sent"]
    elif template := both.said.get("templates", {}).get(benchmark):
        theirs = [[{"role": "user", "content": template.format(question=each.row["question"])}] for each in both.graded]
    else:
        return []
    return [f"{mine}, {case.authority} {its}" for mine, its in zip(ours, theirs, strict=True) if mine != its]


def other_figures(case: VariantCase, both: Both, folder: Path) -> list[str]:
    """Return the means that we report and that differ, as far as the authority reports means of all responses."""
    figures = both.said.get("figures", {})
    if not figures or case.given is not str:
        return []
    out = folder / "out.jsonl"
    run = out.with_name(out.name + ".run")
    run.mkdir()
    settings = {"job": f"eval {case.task}", "samples": False}
    (run / "manifest.json").write_text(json.dumps({"manycall_version": "0", "settings": settings}))
    responses.write(out, [{**row, "response": text} for row, text in zip(both.rows, both.texts, strict=True)])
    result = score(out, scorer=case.task)
    shown = {"mean": result.scores, **result.groups, **result.aggregates}
    pairs = {name: (scores[0].value, figures[name]) for name, scores in shown.items() if name in figures}
    bad = [f"{name}: {ours}, {case.authority} {its}" for name, (ours, its) in pairs.items() if not close(ours, its)]
    return bad if len(pairs) > len(both.rows[0]) else [*bad, f"only {sorted(pairs)} are compared"]


def compare(
    python: str, authorities: str, case: VariantCase, count: int, seed: int = 0
) -> tuple[Comparison, list[str]]:
    """Compare a case; return what was compared, and all differences that are not deliberate."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "case"
        both = ask_both(python, authorities, case, made_up(case, count, seed), folder)
        bad = [*other_scores(case, both), *other_messages(case, both), *other_figures(case, both, folder)]
    found = Counter(reason(case, each) for each in both.graded)
    deliberate = {name: found[name] for name in case.deliberate if found[name]}
    comparison = Comparison(case.task, case.filter, case.authority, len(both.graded), deliberate)
    return comparison, [f"{case.task}/{case.filter}: {line}" for line in bad]


def recorded_now(case: VariantCase, folder: Path) -> str:
    """Return the digest of our messages and scores of the recorded responses."""
    pairs = made_up(case, RECORDED_RESPONSES, 0)
    task = loaded(case, responses.write(folder / case.file, [row for row, _ in pairs]))
    assert isinstance(task.rows, list)
    prompt = TaskPrompt(task)
    return digest([
        [prompt.messages(Row("x", row, n)), task.score_response(text, row)[case.filter][1]]
        for n, (row, (_, text)) in enumerate(zip(task.rows, pairs, strict=True))
    ])  # fmt: skip


def record(python: str, authorities: str) -> list[str]:
    """Write recorded_variants.json if nothing differs in the recorded responses; return all differences."""
    bad = [line for case in VARIANT_CASES for line in compare(python, authorities, case, RECORDED_RESPONSES)[1]]
    with tempfile.TemporaryDirectory() as name:
        digests = {f"{case.task}/{case.filter}": recorded_now(case, Path(name)) for case in VARIANT_CASES}
    if not bad:
        RECORDED.write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n")
    return bad


def main() -> None:
    """Compare, print what was compared, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.variants")
    parser.add_argument("--python", type=os.path.abspath, required=True, help="the Python that has lm_eval")
    parser.add_argument("--authorities", type=os.path.abspath, required=True, help="folder with the authorities' code")
    parser.add_argument("--count", type=int, default=ENOUGH, help="responses of each case")
    parser.add_argument("--seed", type=int, default=0, help="other rows and responses")
    parser.add_argument("--record", action="store_true", help="record what was compared, if nothing differs")
    parser.add_argument("names", nargs="*", default=sorted({case.task for case in VARIANT_CASES}))
    options = parser.parse_args()
    everything = list[str]()
    for case in (each for each in VARIANT_CASES if each.task in options.names):
        comparison, bad = compare(options.python, options.authorities, case, options.count, options.seed)
        print(f"{case.task}/{case.filter}: {comparison.responses:,} responses, {len(bad)} differences", flush=True)
        for name, number in comparison.deliberate.items():
            print(f"  deliberate: {name}: {number}")
        if options.record and not bad:
            note([comparison])
        everything += bad
    if options.record and not everything:
        everything = record(options.python, options.authorities)
    sys.exit("\n".join(everything[:40]) or 0)


if __name__ == "__main__":
    main()

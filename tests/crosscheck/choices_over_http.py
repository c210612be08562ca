"""Multiple choice by both commands at one endpoint: the same request bodies, the same scores.

python -m crosscheck.choices_over_http --python LM_EVALS_PYTHON
"""

import argparse
import json
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import manycall
from crosscheck.choices import run_harness
from crosscheck.our_choices import LM_EVAL, prepared
from crosscheck.over_http import CALLS_AT_ONCE, Endpoint, lm_eval, serving


def compare(python: str, name: str, folder: Path) -> list[str]:
    """Run both programs on the made-up data of a task; return all differences."""
    _, data, _ = prepared(name, folder)
    files = sorted(str(path) for path in folder.iterdir())  # the questions, and the examples of MMLU-Pro
    data_file = next(path for path in files if path.endswith(("gpqa_diamond.csv", "pro-test.jsonl", "redux.jsonl")))
    fewshot = next((path for path in files if path.endswith("pro-validation.jsonl")), None)
    job = {"task": name, "data": data, "groups": {}, "folder": str(folder / "lm-eval" / "tasks")}
    names = json.loads(run_harness(python, "choice_harness.py", job, folder / "lm-eval").read_text())
    endpoint, bad = Endpoint({}), list[str]()
    with serving(endpoint) as url:
        said = lm_eval(python, url, [local.removesuffix("_local") for local in names], folder, CALLS_AT_ONCE)
        theirs = endpoint.taken()
        ran = manycall.evaluate(
            name, data=data_file, fewshot_data=fewshot, model="any", base_url=url, out=folder / "out.jsonl",
            progress=False, concurrency=CALLS_AT_ONCE,
        )  # fmt: skip
        mine = endpoint.taken()
    for body in [*(mine - theirs), *(theirs - mine)][:4]:
        bad.append(f"{name}: sent {mine[body]} times by us, {theirs[body]} times by lm-eval: {body[:2000]!r}")
    results = json.loads(next(said.glob("results_*.json")).read_text())["results"]
    by_subject = {subject.replace(" ", "_"): scores for subject, scores in ran.groups.items()} or {name: ran.scores}
    for local, subject in names.items():
        again = manycall.score(next(said.glob(f"samples_{local}_*.jsonl")), scorer=name)  # lm-eval's own samples
        for score in (*by_subject[subject], *again.scores):
            keys = (f"exact_match,{score.filter}", f"exact_match_stderr,{score.filter}")
            theirs_here = [results[local].get(key) for key in keys]
            if score.filter != "official" and not all(map(_same, (score.value, score.stderr), theirs_here)):
                bad.append(f"{name}/{subject}/{score.filter}: {score.value}, lm-eval {theirs_here}")
    print(f"{name}: {mine.total():,} request bodies of ours, {theirs.total():,} of lm-eval's, {len(bad)} differences")
    return bad


def _same(ours: float | None, theirs: Any) -> bool:
    if ours is None or not isinstance(theirs, float):
        return ours is None and theirs == "N/A"
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12)


def main() -> None:
    """Compare, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.choices_over_http")
    parser.add_argument("--python", type=os.path.abspath, required=True, help="the Python that has lm_eval")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bad = [line for task in LM_EVAL for line in compare(options.python, task, Path(name) / task)]
    sys.exit("\n".join(bad) or 0)


if __name__ == "__main__":
    main()

"""IFEval and BIG-Bench Hard by both commands at one endpoint: the same request bodies.

python -m crosscheck.texts_over_http --python LM_EVALS_PYTHON
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import manycall
from crosscheck import responses
from crosscheck.choices import run_harness
from crosscheck.ifeval_responses import made_up_rows
from crosscheck.over_http import CALLS_AT_ONCE, Endpoint, lm_eval, serving
from crosscheck.texts import BBH, bbh_folder, made_up_prompts, write_rows
from manycall.evals.evaluate import resolve_task


def compare(python: str, name: str, folder: Path) -> list[str]:
    """Run both programs on the made-up data of a task; return the request bodies that only one of them sent."""
    folder.mkdir()
    if name == "ifeval":
        data = responses.write(folder / "ifeval.jsonl", made_up_rows(50, 21))
    else:
        data = bbh_folder(folder / "bbh", 3)
    task = resolve_task(name, data=data)
    files = write_rows(task, folder / "home")
    job = {"task": name, "data": files, "prompts": made_up_prompts(task), "filters": [*task.filters]}
    run_harness(python, "text_harness.py", {**job, "out": ""}, folder / "home" / "lm-eval")
    endpoint = Endpoint({})
    with serving(endpoint) as url:
        names = ["ifeval"] if name == "ifeval" else [f"{name}_{subtask}" for subtask in files]
        lm_eval(python, url, names, folder / "home", CALLS_AT_ONCE)
        theirs = endpoint.taken()
        manycall.evaluate(name, data=data, model="any", base_url=url, out=folder / "out.jsonl", progress=False)
        mine = endpoint.taken()
    print(f"{name}: {mine.total():,} request bodies of ours, {theirs.total():,} of lm-eval's")
    differing = [*(mine - theirs), *(theirs - mine)]
    return [f"{name}: {mine[body]} by us, {theirs[body]} by lm-eval: {body[:2000]!r}" for body in differing[:4]]


def main() -> None:
    """Compare, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.texts_over_http")
    parser.add_argument("--python", type=os.path.abspath, required=True, help="the Python that has lm_eval[ifeval]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bad = [line for task in ("ifeval", *BBH) for line in compare(options.python, task, Path(name) / task)]
    sys.exit("\n".join(bad) or 0)


if __name__ == "__main__":
    main()

"""python -m crosscheck.in_parts [--python LM_EVALS_PYTHON] [--count 20000] [--keep FOLDER] [--record] [TASK ...]

Compares the tasks of task_cases.py with lm-eval's own in parts of at most `TaskCase.part` responses. With --keep, the
result of each part is kept, so that a run that was interrupted continues after its last part. A change of the code that
is compared starts again.
"""

import argparse
import json
import math
import os
import re
import sys
import tempfile
from pathlib import Path

from crosscheck.compared import ENOUGH, Comparison, note
from crosscheck.task_cases import CASES
from crosscheck.tasks import HARNESS, RECORDED, RECORDED_ROWS, compare, digest, recorded_now
from manycall.evals.tasks.benchmark import LM_EVAL
from manycall.evals.tasks.registry import MODULES

COMPARING = ("task_cases.py", "tasks.py", "task_harness.py")
EVALS = Path(str(MODULES[0].__file__)).parents[1]
BY_NAME = {EVALS / "scoring" / "math_equality.py": EVALS / "scoring" / "math_worker.py"}
"""Module -> what it loads by its name, in a separate process."""


def code_digest(name: str) -> str:
    """Return the SHA-256 of the module of a task, of the modules of evals/ that it imports, and of the comparison."""
    module = next(each for each in MODULES if name in {benchmark.task.name for benchmark in each.BENCHMARKS})
    files, found = [Path(str(module.__file__))], set[Path]()
    while files:
        found.add(file := files.pop())
        names = re.findall(r"(?m)^from manycall\.evals\.(\S+) import", file.read_text(encoding="utf-8"))
        imported = {EVALS / f"{each.replace('.', '/')}.py" for each in names}
        files += (imported | {BY_NAME.get(file, file)}) - found
    return digest(path.read_text(encoding="utf-8") for path in (*sorted(found), *map(HARNESS.with_name, COMPARING)))


def compare_in_parts(python: str, name: str, count: int, keep: Path) -> tuple[int, list[str]]:
    """Compare a task on at least `count` responses; return their number and all differences."""
    bad, size = list[str](), min(count, CASES[name].part)
    parts = math.ceil(count / size)
    for part in range(parts):
        kept = keep / f"{name}-{size}-{part}-{code_digest(name)[:12]}.json"
        if not kept.exists():
            with tempfile.TemporaryDirectory() as folder:
                found = compare(python, [name], size, Path(folder), part)
            kept.write_text(json.dumps(found), encoding="utf-8")
        bad += json.loads(kept.read_text(encoding="utf-8"))
    return parts * size, bad


def compare_all(python: str, names: list[str], count: int, keep: Path, record: bool) -> list[str]:
    """Compare tasks, and record what was compared if nothing differs; all differences."""
    keep.mkdir(parents=True, exist_ok=True)
    everything = list[str]()
    for name in names:
        responses, bad = compare_in_parts(python, name, count, keep)
        print(f"{name}: {responses:,} responses, {len(bad)} differences", flush=True)
        if record and not bad:
            authority = LM_EVAL if name != "aime26" else f"{LM_EVAL}, aime25"
            note(Comparison(name, each, authority, responses) for each in CASES[name].metrics)
        everything += bad
    return everything


def main() -> None:
    """Compare, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.in_parts")
    parser.add_argument("--python", type=os.path.abspath, default=sys.executable, help="the Python that has lm_eval")
    parser.add_argument("--count", type=int, default=ENOUGH, help="made-up rows and responses of each task")
    parser.add_argument("--keep", type=Path, help="folder for the results of parts")
    parser.add_argument("--record", action="store_true", help="record what was compared, if nothing differs")
    parser.add_argument("names", nargs="*", default=[*CASES])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bad = compare_all(
            options.python, options.names, options.count, options.keep or folder / "parts", options.record
        )
        if options.record and not bad and options.names == [*CASES]:
            bad = compare(options.python, options.names, RECORDED_ROWS, folder / "recorded")
            now = recorded_now(options.names, folder / "now")
            RECORDED.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    sys.exit("\n".join(bad) or 0)


if __name__ == "__main__":
    main()

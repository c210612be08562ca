"""All trials, or one: `python -m torture --only kills --seed 7`. Ends with 1 if something was not as promised."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from manycall.render import markdown_table
from torture import TRIALS, Plan, Result

KILLS = 200


def main() -> int:
    """Try, and print a line as each trial ends and a table at the end."""
    words = argparse.ArgumentParser(prog="torture", description=__doc__)
    words.add_argument("--only", choices=TRIALS, help="one trial")
    words.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of everything that is drawn")
    words.add_argument("--kills", type=int, default=KILLS, help=f"how often to kill (default {KILLS})")
    words.add_argument("--seconds", type=float, default=60.0, help="of fuzzing, for each kind of input (default 60)")
    words.add_argument("--short", action="store_true", help="as `make test` does it")
    asked = words.parse_args()
    print(f"seed {asked.seed}", flush=True)
    lines, broken = [], 0
    for name in [asked.only] if asked.only else TRIALS:
        folder = Path(tempfile.mkdtemp(prefix=f"torture-{name}-"))
        began = time.monotonic()
        result = TRIALS[name](Plan(folder, asked.seed, asked.kills, not asked.short, asked.seconds))
        if not result.faults and not result.skipped:
            result.violations.append("nothing was tried")
        seconds = f"{time.monotonic() - began:.0f} s"
        lines.append([name, *_cells(result), seconds])
        print(f"{name}: {_outcome(result)}, {seconds}", flush=True)
        for violation in result.violations:
            print(f"  {violation}", flush=True)
        broken += len(result.violations)
        if result.violations:
            print(f"  its files: {folder}; again: --only {name} --seed {asked.seed}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(markdown_table(("trial", "faults", "survived", "violations", "time"), lines))
    return 1 if broken else 0


def _cells(result: Result) -> list[str]:
    if result.skipped:
        return ["skipped", "", ""]
    return [str(result.faults), str(result.survived), str(len(result.violations))]


def _outcome(result: Result) -> str:
    if result.skipped:
        return f"skipped: {result.skipped}"
    figures = "".join(f", {count:,} {what}" for what, count in sorted(result.figures.items()))
    return f"{result.survived} of {result.faults} faults survived{figures}"


if __name__ == "__main__":
    sys.exit(main())

"""Every state that a crash may leave on the disk, and the strangers' bytes that may stand anywhere."""

import subprocess
import sys
from pathlib import Path

import fuzz
from test_crashes import every_state
from torture.trial import Plan, Result

HERE = Path(__file__).parents[1]
HISTORIES = 4
"""Of some 200 changes of the disk each, in the long form."""


def crashes(plan: Plan) -> Result:
    """Recover from every state of some histories; in the short form from one in twenty."""
    result = Result()
    for seed in range(plan.seed, plan.seed + (HISTORIES if plan.long else 1)):
        with result.case(f"history {seed}") as case:
            figures = every_state(seed, 1.0 if plan.long else 0.05)
            case.faults += figures["states"]
            result.figures["changes of the disk"] += figures["changes"]
    return result


def fuzzing(plan: Plan) -> Result:
    """Feed every reader for so many seconds."""
    result = Result()
    for tried in fuzz.fuzz(plan.seconds if plan.long else 1.0, seed=plan.seed):
        with result.case(tried.target) as case:
            case.faults += tried.outcomes.total()
            result.figures[f"{tried.target}: outcomes"] = len(tried.outcomes)
            case.violations += [tried.failure] * bool(tried.failure)
    return result


def leaks(plan: Plan) -> Result:
    """The whole suite with a key of its own, which must be found nowhere."""
    if not plan.long:
        return Result(skipped="it is the tests themselves")
    result = Result()
    with result.case("the suite with a key") as case:
        command = [sys.executable, "leaks.py"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=1900, check=False)
        case.faults += 1
        last = done.stdout.strip().rpartition("\n")[2]
        result.figures[last] = 1
        case.violations += [done.stdout[-3000:] + done.stderr[-1000:]] * bool(done.returncode)
    return result

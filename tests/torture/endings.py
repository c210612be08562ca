"""Parallel calls in every ending: nothing hangs, nothing is lost, and the same command finishes the rest."""

import random
import signal
import time
from pathlib import Path
from typing import NamedTuple

from endings import ENDINGS, SHAPES, Case, check, possible
from shapes import FAILING, THREADED
from shell import Ended, Sim, finish, sim, start
from torture.trial import Case as TrialCase
from torture.trial import Plan, Result
from torture.work import Output, wait_until

SHORT_SECONDS = 3.0
"""Of cases in memory, in the short form."""
END_SECONDS = 40.0
"""How long a real process has to end after it was stopped."""
ROWS = 60
HERE = Path(__file__).parents[1]
PACE = ("--latency", "0.2", "--token-latency", "0")
REAL = ("gather", "task_group", "as_completed", "impatient", "retrying", "subtask_exits", "cancels_itself", *THREADED)
"""Functions that real processes run."""
BLOCKED = ("never_ending", "blocked_thread")
"""Functions that end only if something ends them."""


def trial(plan: Plan) -> Result:
    """Draw cases in memory until the time is up; then try every ending of a real process with some functions."""
    result = Result()
    _in_memory(plan, result)
    names = [*REAL, *BLOCKED] if plan.long else random.Random(plan.seed).sample(REAL, 1)
    with sim(*PACE, seconds=3600) as server:
        for name in names:
            for ending, end in STOPS.items():
                with result.case(f"{name}, {ending}") as case:
                    _real(plan.folder / f"{name} {ending}".replace(" ", "-"), name, end, server, case)
                result.figures["endings of real processes"] += 1
    return result


def _in_memory(plan: Plan, result: Result) -> None:
    deadline = time.monotonic() + (plan.seconds if plan.long else SHORT_SECONDS)
    pairs = [(shape, ending) for shape in SHAPES for ending in ENDINGS if possible(shape, ending)]
    rng, number = random.Random(plan.seed), 0
    rng.shuffle(pairs)
    while time.monotonic() < deadline:
        shape, ending = pairs[number % len(pairs)]
        folder = plan.folder / str(number)
        folder.mkdir()
        with result.case("in memory") as case:
            case.faults += 1
            case.violations += check(Case(shape, ending, plan.seed + number), folder)
        number += 1
    result.figures["endings in memory"] = number


class Stop(NamedTuple):
    """How a process is ended.

    Attributes:
        code: its exit code. options: of its command. signals: that it is sent, 0.1 s apart.
    """

    code: int
    options: tuple[str, ...] = ()
    signals: tuple[signal.Signals, ...] = ()


STOPS = {
    "Ctrl-C": Stop(130, signals=(signal.SIGINT,)),
    "two Ctrl-Cs": Stop(130, signals=(signal.SIGINT, signal.SIGINT)),
    "SIGTERM": Stop(130, signals=(signal.SIGTERM,)),
    "a deadline": Stop(4, ("--max-time", "1")),
}


def _real(folder: Path, name: str, stop: Stop, server: Sim, case: TrialCase) -> None:
    folder.mkdir()
    rows, out = folder / "in.jsonl", Output(folder / "out.jsonl")
    rows.write_text("".join(f'{{"id":"{folder.name} {n}","q":{n}}}\n' for n in range(ROWS)))
    before = server.stats["finished"]
    work = ("run", f"{HERE / 'shapes.py'}:{name}", rows, "-m", "any", "-u", server.url, "-o", out.path, "--no-progress")
    process = start(*work, "-j", "8", *stop.options)
    case.faults += 1
    wait_until(lambda: out.has(8), process)
    for number in stop.signals:
        process.send_signal(number)
        time.sleep(0.1)
    ended = finish(process, END_SECONDS)
    if ended.code != stop.code:
        case.violations.append(f"it ended with {ended.code}, not {stop.code}: {ended.err}")
    finished = server.stats["finished"] - before
    if len(stop.signals) < 2 and finished != out.calls:
        case.violations.append(f"{finished} calls were answered, and {out.calls} are in the journal")
    case.violations += out.damage(at_rest=True)
    if name not in BLOCKED:
        case.violations += _resumed(finish(start(*work), END_SECONDS), out, all_done=name not in FAILING)


def _resumed(ended: Ended, out: Output, *, all_done: bool) -> list[str]:
    found = []
    if ended.code != (0 if all_done else 3):
        found.append(f"the same command ended with {ended.code}: {ended.err}")
    if out.done != len(out.answers()) or (all_done and out.done != ROWS):
        found.append(f"{out.done} rows of {ROWS} are in the output, {len(out.answers())} of them different")
    return found

"""`kill -9` at any moment: while it starts, resumes, works, ends."""

import random
import time
from contextlib import ExitStack
from functools import partial
from subprocess import Popen
from typing import Any, NamedTuple

from shell import Sim, finish, sim
from torture.trial import Case, Plan, Result
from torture.work import IN_FLIGHT, Output, Work, changed, wait_until, works

FAULTS = ("--drop-rate", "0.02", "--error-rate", "0.03")
MOST_KILLS = 8
"""Of one output, before it may be finished."""
RUNS = 4
"""In which it must be, with those faults: a row that was given up is taken up by the next."""
AT_THE_END = "at the end"
ENOUGH = 20
"""Violations, after which it is pointless to go on."""


class Ground(NamedTuple):
    """A job, its endpoint, and what it comes to when nothing disturbs it."""

    work: Work
    server: Sim
    answers: dict[str, dict[str, Any]]


def trial(plan: Plan) -> Result:
    """So many kills, over the three jobs in turn, each resumed until it is done.

    A case draws from its own seed, which also chooses the job, so that it can be tried again alone.
    """
    result, seed = Result(), plan.seed
    with ExitStack() as servers:
        grounds = []
        for work in works(plan.folder):
            server = servers.enter_context(sim(*work.sim, *FAULTS, seconds=3600))
            calm = Output(plan.folder / f"{work.name}-calm.jsonl")
            assert work.run(server.url, calm).code == 0
            grounds.append(Ground(work, server, calm.answers()))
        while result.faults < plan.kills and len(result.violations) < ENOUGH:
            ground = grounds[seed % len(grounds)]
            with result.case(f"{ground.work.name}, --seed {seed}") as case:
                out = Output(plan.folder / f"{ground.work.name}-{seed}.jsonl")
                most = min(MOST_KILLS, plan.kills - result.faults)
                _until_done(ground, out, random.Random(seed), most, case, result)
            seed += 1
    return result


def _until_done(ground: Ground, out: Output, rng: random.Random, most: int, case: Case, result: Result) -> None:
    work, server, answers = ground
    before, wanted = server.stats, work.rows * work.calls
    while case.faults < most:
        process = work.begin(server.url, out)
        moment = _kill(process, work, out, rng)
        if finish(process).code >= 0:
            break
        case.faults += 1
        result.figures[f"killed {moment}"] += 1
        case.violations += out.damage(at_rest=False)
        if moment == AT_THE_END:
            break
    for _ in range(RUNS):
        ended = work.run(server.url, out)
        if not ended.code:
            break
    else:
        case.violations.append(f"not done after {RUNS} more runs: {ended.out}{ended.err}")
    stats = server.stats
    paid = sum(sign * (stats[name] - before[name]) for name, sign in (("finished", 1), ("dropped", -1)))
    result.figures["calls"] += wanted
    result.figures["answers lost in flight"] += paid - wanted
    case.violations += out.audit(answers, calls=wanted, finished=paid, most=wanted + case.faults * IN_FLIGHT)
    case.violations += changed(answers, out.answers())


def _kill(process: Popen[str], work: Work, out: Output, rng: random.Random) -> str:
    """Kill it at some moment, and say what it was at. It may have ended before."""
    calls, wanted = out.calls, work.rows * work.calls
    match rng.choice(("time", "time", "calls", "calls", "end")):
        case "time":
            at = time.monotonic() + rng.uniform(0, 0.9)
            wait_until(lambda: time.monotonic() >= at, process)
        case "calls":
            wait_until(partial(out.has, rng.randint(min(calls + 1, wanted), wanted)), process)
        case _:
            wait_until(lambda: out.done >= work.rows, process)
            time.sleep(rng.uniform(0, 0.03))
    process.kill()
    process.wait()
    if out.done >= work.rows:
        return AT_THE_END
    if out.calls > calls:
        return "at work"
    return "as it resumed" if calls else "as it began"

"""The clocks jump in mid-run."""

import os
import signal
import time
from pathlib import Path

from shell import finish, sim
from torture.trial import Plan, Result
from torture.work import Output, wait_until, works

DAY, HOUR = 86_400, 3600
JUMPS = {
    "the wall clock, a day forward": (DAY, 0),
    "the wall clock, a day back": (-DAY, 0),
    "both, an hour forward": (HOUR, HOUR),
}
SECONDS = 30.0
"""In which all must be done, where it takes about three."""
QUOTA = ("--rpm", "12000", "--dialect", "anthropic")
"""So that there is something to wait for, and the server tells of it in dates."""


def trial(plan: Plan) -> Result:
    """All rows once, no failure, no time lost."""
    result, work = Result(), works(plan.folder, 600)[0]
    ids = {f"row {n}" for n in range(work.rows)}
    path = os.pathsep.join([str(Path(__file__).parent / "moved"), os.environ.get("PYTHONPATH", "")])
    for name, (wall, monotonic) in JUMPS.items():
        with sim(*work.sim, *QUOTA) as server, result.case(name) as case:
            out = Output(plan.folder / f"{name}.jsonl")
            began = time.monotonic()
            moves = {"MOVE_WALL": str(wall), "MOVE_MONOTONIC": str(monotonic)}
            process = work.begin(server.url, out, "--timeout", "60", **moves, PYTHONPATH=path)
            assert wait_until(lambda out=out: out.calls >= work.rows // 4, process)
            case.faults += 1
            process.send_signal(signal.SIGUSR1)
            ended = finish(process)
            took = time.monotonic() - began
            if ended.code or took > SECONDS:
                case.violations.append(f"it ended with {ended.code} after {took:.0f} s: {ended.err}")
            case.violations += _unmoved(out, wall)
            most = work.rows + out.doubtful
            case.violations += out.audit(ids, calls=work.rows, finished=server.stats["finished"], most=most)
    return result


def _unmoved(out: Output, wall: float) -> list[str]:
    """Whether the journal shows no jump: then this trial has tried nothing."""
    first, last = (out.moments()[at] for at in (0, -1))
    return [] if abs(last - first - wall) < SECONDS else [f"the clock went on by {last - first:.0f} s"]

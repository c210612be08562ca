"""The clocks jump in mid-run."""

import os
import signal
import time
from contextlib import ExitStack
from functools import partial
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
"""In which all must be done, where it takes about five."""
QUOTA = ("--rpm", "6000", "--rate-limit-headers", "anthropic")
"""So that there is something to wait for, and the server tells of it in dates."""


def trial(plan: Plan) -> Result:
    """All rows once, no failure, no time lost. All jumps at the same time."""
    result, work = Result(), works(plan.folder, 400)[0]
    ids = {f"row {n}" for n in range(work.rows)}
    path = os.pathsep.join([str(Path(__file__).parent / "moved"), os.environ.get("PYTHONPATH", "")])
    with ExitStack() as servers:
        running = []
        for name, (wall, monotonic) in JUMPS.items():
            server = servers.enter_context(sim(*work.sim, *QUOTA))
            out = Output(plan.folder / name / "out.jsonl")
            moves = {"MOVE_WALL": str(wall), "MOVE_MONOTONIC": str(monotonic)}
            command = work.begin(server.url, out, "--timeout", "60", **moves, PYTHONPATH=path)
            running.append((name, wall, out, server, command))
        for *_, out, _, command in running:
            if wait_until(partial(out.has, work.rows // 4), command):
                command.send_signal(signal.SIGUSR1)
        jumped = time.monotonic()
        for name, wall, out, server, command in running:
            with result.case(name) as case:
                case.faults += 1
                ended = finish(command)
                took = time.monotonic() - jumped
                if ended.code or took > SECONDS:
                    case.violations.append(f"it ended with {ended.code}, {took:.0f} s later: {ended.err}")
                moments = out.moments()
                if abs(moments[-1] - moments[0] - wall) > SECONDS:
                    case.violations.append(f"nothing was tried: its clock moved by {moments[-1] - moments[0]:.0f} s")
                most = work.rows + out.doubtful
                case.violations += out.audit(ids, calls=work.rows, finished=server.stats["finished"], most=most)
    return result

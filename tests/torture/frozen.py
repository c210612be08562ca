"""The command, or its server, is stopped in mid-run and goes on later, as with Ctrl-Z."""

import signal
import time
from contextlib import ExitStack
from functools import partial
from subprocess import Popen
from typing import NamedTuple

from shell import Sim, finish, sim
from torture.trial import Plan, Result
from torture.work import Output, wait_until, works

LONG, SHORT = 60.0, 3.0
"""Seconds; servers and we ourselves close connections that are idle for a few."""
RECOVERY_SECONDS = 30.0
"""After which it must be done, where an undisturbed run takes about two."""

CASES: tuple[tuple[str, bool, tuple[str, ...]], ...] = (
    ("command", False, ("-j", "24")),
    ("command without -j", False, ("--timeout", "600")),
    ("command with a short --timeout", False, ("-j", "24", "--timeout", "2")),
    ("server", True, ("--timeout", "600")),
)
"""Who is stopped, whether that is the server, and options of the command."""


class Running(NamedTuple):
    """A command in mid-run, and which process of it and its server is to be stopped."""

    name: str
    out: Output
    server: Sim
    command: Popen[str]
    victim: Popen[str]


def trial(plan: Plan) -> Result:
    """All rows once, no failure, and soon afterwards as fast as before. All cases at the same time."""
    result, work = Result(), works(plan.folder, 400)[0]
    ids = {f"row {n}" for n in range(work.rows)}
    with ExitStack() as servers:
        running = []
        for name, is_server, options in CASES:
            server, out = servers.enter_context(sim("--latency", "0.1")), Output(plan.folder / name / "out.jsonl")
            command = work.begin(server.url, out, *options)
            running.append(Running(name, out, server, command, server.process if is_server else command))
        for each in running:
            wait_until(partial(each.out.has, work.rows // 4), each.command)
            each.victim.send_signal(signal.SIGSTOP)
        time.sleep(LONG if plan.long else SHORT)
        for each in running:
            each.victim.send_signal(signal.SIGCONT)
        again = time.monotonic()
        for name, out, server, command, _ in running:
            with result.case(f"the {name} was stopped") as case:
                case.faults += 1
                ended = finish(command)
                took = time.monotonic() - again
                result.figures[f"seconds until the {name} was done"] = round(took)
                if ended.code or took > RECOVERY_SECONDS:
                    case.violations.append(f"it ended with {ended.code}, {took:.0f} s later: {ended.err}")
                most = work.rows + out.doubtful
                case.violations += out.audit(ids, calls=work.rows, finished=server.stats["finished"], most=most)
    return result

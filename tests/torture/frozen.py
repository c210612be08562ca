"""The command, or its server, is stopped in mid-run and goes on later, as a laptop's lid or a debugger would have it."""

import signal
import time
from subprocess import Popen

from shell import finish, sim
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


def trial(plan: Plan) -> Result:
    """All rows once, no failure, and soon afterwards as fast as before."""
    result, work = Result(), works(plan.folder, 600)[0]
    ids = {f"row {n}" for n in range(work.rows)}
    for name, is_server, options in CASES:
        with sim("--latency", "0.05") as server, result.case(f"the {name} was stopped") as case:
            out = Output(plan.folder / f"{name}.jsonl")
            process = work.begin(server.url, out, *options)
            assert wait_until(lambda out=out: out.calls >= work.rows // 4, process)
            case.faults += 1
            _freeze(server.process if is_server else process, LONG if plan.long else SHORT)
            again = time.monotonic()
            ended = finish(process)
            took = time.monotonic() - again
            result.figures[f"seconds left for the {name}"] = round(took)
            if ended.code or took > RECOVERY_SECONDS:
                case.violations.append(f"it ended with {ended.code}, {took:.0f} s later: {ended.err}")
            most = work.rows + out.doubtful
            case.violations += out.audit(ids, calls=work.rows, finished=server.stats["finished"], most=most)
    return result


def _freeze(process: Popen[str], seconds: float) -> None:
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)

"""Two commands on one output: the second is refused, and the first does not notice."""

import os
import signal
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

from shell import finish, sim
from torture.trial import Plan, Result
from torture.work import Output, wait_until, works

AT_ONCE = 8


def _linked(link: Callable[[Path, Path], None], path: Path) -> Path:
    alias = path.with_suffix(".alias.jsonl")
    link(path, alias)
    return alias


NAMES: dict[str, Callable[[Path], Path]] = {
    "the same name": lambda path: path,
    "a symbolic link": partial(_linked, os.symlink),
    "a hard link": partial(_linked, os.link),
}


def trial(plan: Plan) -> Result:
    """A second one in the middle of the first, by each name of the output; several at once, of which one may win."""
    result = Result()
    work = works(plan.folder)[0]
    ids = {f"row {n}" for n in range(work.rows)}
    with sim("--latency", "0.1", seconds=300) as server:
        for name, link in NAMES.items():
            with result.case(f"a second one, by {name}") as case:
                out, before = Output(plan.folder / f"{name}.jsonl"), server.stats["finished"]
                first = work.begin(server.url, out)
                assert wait_until(partial(out.has, 1), first)
                first.send_signal(signal.SIGSTOP)  # otherwise it may end before the second begins
                second = work.run(server.url, Output(link(out.path)))
                first.send_signal(signal.SIGCONT)
                case.faults += 1
                holder = "another process, " if name == "a hard link" else f"process {first.pid} "
                if second.code != 2 or f"is locked by {holder}" not in second.err:
                    case.violations.append(f"the second ended with {second.code}: {second.err}")
                ended = finish(first)
                case.violations += [f"the first ended with {ended.code}: {ended.err}"] * bool(ended.code)
                paid = server.stats["finished"] - before
                case.violations += out.audit(ids, calls=work.rows, finished=paid, most=work.rows)
        with result.case(f"{AT_ONCE} at once") as case:
            out, before = Output(plan.folder / "race.jsonl"), server.stats["finished"]
            ends = [finish(process) for process in [work.begin(server.url, out) for _ in range(AT_ONCE)]]
            case.faults += AT_ONCE - 1
            codes, sessions = sorted(end.code for end in ends), out.sessions
            expected = [0] * len(sessions) + [2] * (AT_ONCE - len(sessions))  # one may begin after another has ended
            case.violations += [f"they ended with {codes}"] * (codes != expected)
            overlaps = any(first["ended_at"] > second["started_at"] for first, second in pairwise(sessions))
            case.violations += ["two ran at the same time"] * overlaps
            paid = server.stats["finished"] - before
            case.violations += out.audit(ids, calls=work.rows, finished=paid, most=work.rows)
    return result

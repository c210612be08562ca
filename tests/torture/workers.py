"""Runs with several processes: workers and drivers killed or frozen, a worker without disk space, bad links."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from pathlib import Path
from subprocess import Popen

from shell import Sim, finish, sim
from torture.trial import Case, Plan, Result
from torture.work import IN_FLIGHT, Output, Work, wait_until, works

LEASE_SECONDS = 10.0
ROWS = 150
PROCESSES = ("-j", str(IN_FLIGHT), "--processes", "2")
SMALL_FILE = 20_000
"""Bytes of the longest file of a worker whose disk is full."""


def workers_of(driver: int) -> list[int]:
    """Return the process ids of the workers."""
    children = [
        int(child) for thread in Path(f"/proc/{driver}/task").glob("*/children") for child in thread.read_text().split()
    ]
    return [pid for pid in children if b"worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def calls_of(out: Output) -> int:
    """Return the number of calls in all journals, those of the segments among them."""
    journals = [out.journal, *out.folder.glob("segments/*/calls.jsonl")]
    return sum(path.read_bytes().count(b"\n") for path in journals if path.exists())


Fault = Callable[[Popen[str], random.Random], int]
"""Does something to a running command. Returns how many faults that were."""


def kill_worker(driver: "Popen[str]", rng: random.Random) -> int:
    """Kill one of the workers."""
    if not (workers := workers_of(driver.pid)):
        return 0
    os.kill(rng.choice(workers), signal.SIGKILL)
    return 1


def kill_driver(driver: "Popen[str]", rng: random.Random) -> int:
    """Kill the driver."""
    driver.kill()
    return 1


def freeze_worker(driver: "Popen[str]", rng: random.Random) -> int:
    """Freeze one of the workers for three leases."""
    if not (workers := workers_of(driver.pid)):
        return 0
    worker = rng.choice(workers)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(3 * LEASE_SECONDS)
    os.kill(worker, signal.SIGCONT)
    return 1


def fill_disk(driver: "Popen[str]", rng: random.Random) -> int:
    """Let one of the workers write no file longer than SMALL_FILE."""
    if not (workers := workers_of(driver.pid)):
        return 0
    resource.prlimit(rng.choice(workers), resource.RLIMIT_FSIZE, (SMALL_FILE, SMALL_FILE))
    return 1


def trial(plan: Plan) -> Result:
    """Kill workers and drivers, each a quarter as often as commands are killed elsewhere; freeze one, fill a disk."""
    result, rng = Result(), random.Random(plan.seed)
    faults = [(kill_worker, ROWS, max(1, plan.kills // 4)), (kill_driver, ROWS, max(1, plan.kills // 4))]
    if plan.long:
        faults += [(freeze_worker, 10 * ROWS, 1), (fill_disk, 2 * ROWS, 1)]
    with ExitStack() as servers:
        for fault, rows, count in faults:
            folder = plan.folder / fault.__name__
            folder.mkdir()
            for number, work in enumerate(cycle(works(folder, rows))):
                server = servers.enter_context(sim(*work.sim, seconds=600))
                with result.case(f"{fault.__name__}, {work.name}, {number}") as case:
                    _one(work, server, Output(folder / f"{work.name}-{number}.jsonl"), fault, rng, case)
                result.figures[fault.__name__] += case.faults
                server.process.kill()
                if result.figures[fault.__name__] >= count or number > 3 * count:
                    break
    return result


def _one(work: Work, server: Sim, out: Output, fault: Fault, rng: random.Random, case: Case) -> None:
    """One fault in the middle of a run, which is then continued with another number of processes until it is done."""
    calls = work.rows * work.calls
    running = work.begin(server.url, out, *PROCESSES)
    wait_until(partial(_has_calls, out, rng.randint(1, calls * 3 // 4)), running)
    case.faults += fault(running, rng)
    codes = [finish(running).code]
    for more in (("-j", "24"), ("-j", "24", "--processes", "3"), ("-j", "24")):
        if codes[-1] == 0:
            break
        codes.append(work.run(server.url, out, *more).code)
    case.violations += [f"not done: the commands ended with {codes}"] * bool(codes[-1])
    most = calls + case.faults * IN_FLIGHT
    found = out.audit(list(out.answers()), calls=calls, finished=server.stats["finished"], most=most)
    if fault is freeze_worker:  # others have made the calls that were in flight, before it wrote the answers
        found = [each for each in found if not each.endswith("calls in the journal twice")]
    case.violations += found
    case.violations += [f"{len(out.answers())} rows of {work.rows}"] * (len(out.answers()) != work.rows)
    case.violations += ["segments are left"] * bool([*out.folder.glob("segments/0*")])


def _has_calls(out: Output, count: int) -> bool:
    return calls_of(out) >= count

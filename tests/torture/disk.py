"""The disk is full, or a file may grow no further, or few files may be open."""

import os
import random
import re
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shell import Ended, Sim, finish, sim
from torture.trial import Case, Plan, Result
from torture.work import Output, Work, wait_until, works

DISK = "16m"
CASES = 8
"""Of each kind, in the long form."""
SMALLEST, LARGEST = 20_000, 120_000
"""Bytes of the longest file, where the journal needs more."""
FEW_FILES = 64


def trial(plan: Plan) -> Result:
    """Stop for want of room in one sentence; say so again; go on once there is room, with nothing lost."""
    result, rng = Result(), random.Random(plan.seed)
    work = works(plan.folder, 300)[0]
    with sim(*work.sim, seconds=1200) as server:
        for number in range(CASES if plan.long else 1):
            with result.case(f"a full disk, {number}") as case, small_disk(plan.folder / "disk") as disk:
                if disk is None:
                    result.figures["full disks (mounting one is not allowed here)"] = 0
                    continue
                _full(work, server, disk, rng.randint(1, 250), case)
                result.figures["full disks"] += 1
            with result.case(f"a file's greatest length, {number}") as case:
                out = Output(plan.folder / f"limit-{number}.jsonl")
                _limited(work, server, out, rng.randint(SMALLEST, LARGEST), case)
                result.figures["file limits"] += 1
        with result.case(f"{FEW_FILES} open files") as case:
            out, before = Output(plan.folder / "few.jsonl"), server.stats["finished"]
            process = work.begin(server.url, out, "-j", str(10 * FEW_FILES))
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (FEW_FILES, FEW_FILES))
            case.faults += 1
            _goes_on(work, out, finish(process), server.stats["finished"] - before, case)
    return result


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of its own; None where mounting is not allowed."""
    folder.mkdir(exist_ok=True)
    mount = ("mount", "-t", "tmpfs", "-o", f"size={DISK}", "manycall-torture", str(folder))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=False)


def _full(work: Work, server: Sim, disk: Path, calls: int, case: Case) -> None:
    """Something else fills the disk in mid-run."""
    out, before, other = Output(disk / "out.jsonl"), server.stats["finished"], disk / "other"
    process = work.begin(server.url, out)
    assert wait_until(lambda: out.calls >= calls, process)
    _fill(other)
    case.faults += 1
    case.violations += _says_so(finish(process))
    _fill(other)  # what the run had kept in reserve
    case.violations += _says_so(work.run(server.url, out), 2, 4)
    other.unlink()
    _goes_on(work, out, work.run(server.url, out), server.stats["finished"] - before, case)


def _limited(work: Work, server: Sim, out: Output, most: int, case: Case) -> None:
    """The journal comes to the greatest length that a file may have."""
    before = server.stats["finished"]
    for _ in range(2):
        process = work.begin(server.url, out)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        case.faults += 1
        case.violations += _says_so(finish(process))
    _goes_on(work, out, work.run(server.url, out), server.stats["finished"] - before, case)


def _fill(path: Path) -> None:
    """Write until nothing more fits, not a byte."""
    with path.open("ab", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                os.write(file.fileno(), bytes(size))
            except OSError:
                size //= 2


def _says_so(ended: Ended, *codes: int) -> list[str]:
    said = re.findall(r"^manycall: .*(?:no space left|file too large)", ended.err, re.M)
    return [] if ended.code in (codes or (4,)) and len(said) == 1 else [f"it ended with {ended.code}: {ended.err}"]


def _goes_on(work: Work, out: Output, ended: Ended, finished: int, case: Case) -> None:
    """With room again, all is done, and only what was reported as doubtful is paid twice."""
    case.violations += [f"it ended with {ended.code}: {ended.err}"] * bool(ended.code)
    ids = {f"row {n}" for n in range(work.rows)}
    case.violations += out.audit(ids, calls=work.rows, finished=finished, most=work.rows + out.doubtful)

"""An input file that changes while a run reads it: no id twice, nothing paid twice, and the next run does the rest."""

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from shell import Sim, finish, sim
from torture.trial import Case, Plan, Result
from torture.work import PACE, Output, Work, wait_until

CHANGED = 4
"""The exit code."""
SHORT, LONG = 150, 3000
"""Rows of 1 kB: one block of the file that is compared, and three."""
ROUNDS = 2
"""Of each change, in the long form."""


def trial(plan: Plan) -> Result:
    """Each kind of change, at a random moment; then a writer that goes on while run after run reads."""
    result, seed = Result(), plan.seed
    with sim(*PACE, seconds=900) as server:
        for _ in range(ROUNDS if plan.long else 1):
            for name, change in CHANGES.items():
                with result.case(f"{name}, --seed {seed}") as case:
                    folder = plan.folder / f"{name}-{seed}"
                    folder.mkdir()
                    _changed(Ground(folder, LONG if plan.long else SHORT, server), change, random.Random(seed), case)
                seed += 1
        with result.case("a writer that goes on") as case:
            folder = plan.folder / "writer"
            folder.mkdir()
            _written_on(Ground(folder, SHORT, server), case)
    return result


class Ground:
    """A file of rows and the command that reads it.

    Attributes:
        lines: the rows as they should be in the end.
    """

    def __init__(self, folder: Path, count: int, server: Sim) -> None:
        self.path, self.out, self.server = folder / "in.jsonl", Output(folder / "out.jsonl"), server
        self.lines = [_line(n) for n in range(count)]
        self.write(self.lines)
        self.before = server.stats["finished"]
        self.work = Work("generate", ("generate", str(self.path), "-p", "Tell of {{ q }}", "--temperature", "0"), count)

    def write(self, lines: list[str]) -> None:
        """Write the file anew, in place."""
        self.path.write_text("".join(lines))

    def finish(self, case: Case) -> None:
        """Run to the end over a file at rest; nothing may be lost, nothing doubled, nothing paid twice."""
        ended = self.work.run(self.server.url, self.out)
        case.violations += [f"over the file at rest it ended with {ended.code}: {ended.err}"] * bool(ended.code)
        ids = {json.loads(line)["id"] for line in self.lines}
        paid = self.server.stats["finished"] - self.before
        case.violations += self.out.audit(ids, calls=len(ids), finished=paid, most=len(ids))


def _changed(ground: Ground, change: Callable[[Ground], None], rng: random.Random, case: Case) -> None:
    process = ground.work.begin(ground.server.url, ground.out)
    reached = wait_until(partial(ground.out.has, rng.randrange(1, len(ground.lines) // 2)), process)
    change(ground)
    ended = finish(process)
    case.faults += 1
    if not reached or ended.code != CHANGED or "changed while the run was reading it" not in ended.err:
        case.violations.append(f"it ended with {ended.code}: {ended.err}")
    ids = list(ground.out.answers())
    case.violations += [f"{ground.out.done - len(ids)} ids stand there twice"] * (ground.out.done != len(ids))
    ground.write(ground.lines)
    ground.finish(case)


def _written_on(ground: Ground, case: Case) -> None:
    with _appending(ground):
        for _ in range(3):
            process = ground.work.begin(ground.server.url, ground.out)
            ended = finish(process)
            case.faults += 1
            if ended.code not in (2, CHANGED):  # 2: the last line was not whole when it was checked
                case.violations.append(f"it ended with {ended.code}: {ended.err}")
    ground.finish(case)


@contextmanager
def _appending(ground: Ground) -> Iterator[None]:
    """While a program appends a row every 10 ms, in two halves."""
    done = threading.Event()

    def append() -> None:
        with ground.path.open("a") as file:
            while not done.wait(0.005):
                line = _line(len(ground.lines))
                ground.lines.append(line)
                file.write(line[:500])
                file.flush()
                done.wait(0.005)
                file.write(line[500:])
                file.flush()

    thread = threading.Thread(target=append)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _line(n: int) -> str:
    return json.dumps({"id": f"row {n}", "q": f"tale {n} {'x' * 960}"}) + "\n"


def _append(ground: Ground) -> None:
    """The first rows again, behind the last."""
    with ground.path.open("a") as file:
        file.writelines(ground.lines[:50])


def _truncate(ground: Ground) -> None:
    """In the middle of a row."""
    os.truncate(ground.path, ground.path.stat().st_size - 5_500)


def _replace(ground: Ground) -> None:
    """By another file, whose last rows are the first again."""
    new = ground.path.with_name("new")
    new.write_text("".join(_first_again(ground)))
    new.replace(ground.path)


def _edit(ground: Ground) -> None:
    """In place, to the same length, and with the old time."""
    before = ground.path.stat()
    lines = [line[:-1].ljust(len(old) - 1) + "\n" for line, old in zip(_first_again(ground), ground.lines, strict=True)]
    with ground.path.open("r+") as file:
        file.write("".join(lines))
    os.utime(ground.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _first_again(ground: Ground) -> list[str]:
    return ground.lines[:-50] + ground.lines[:50]


CHANGES: dict[str, Callable[[Ground], None]] = {
    "append": _append,
    "truncate": _truncate,
    "replace": _replace,
    "edit": _edit,
}

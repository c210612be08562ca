"""What all drivers share, so that they are measured alike. Only the standard library: each has packages of its own.

    python NAME.py URL ROWS.jsonl OUT.jsonl IN_FLIGHT COUNT

A driver first runs 64 of the rows for practice: imports, and what a library builds when it is first used, are not
what a row costs. Then it runs COUNT rows and prints one line of JSON: `rows` answered, `wall` seconds, `cpu` seconds
(user and system, all threads, no children), `rss` (its peak in MB), of which all but the last are of the second run
alone. Opening the connections is in it, for all alike.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

PRACTICE = 64


@dataclass(frozen=True)
class Job:
    """What a driver is to do: rows (`id`, `prompt`) from one file, answers into another."""

    url: str
    rows: Path
    out: Path
    in_flight: int
    count: int

    def lines(self) -> Iterator[bytes]:
        """The rows, not decoded, one after the other."""
        with self.rows.open("rb") as file:
            yield from islice(file, self.count)

    def read(self) -> list[dict[str, str]]:
        """All rows at once, as scripts do it."""
        return [json.loads(line) for line in self.lines()]


def drive(run: Callable[[Job], int]) -> None:
    """Practise, measure `run`, which returns how many rows were answered, and print what it took."""
    url, rows, out, in_flight, count = sys.argv[1:]
    job = Job(url, Path(rows), Path(out), int(in_flight), int(count))
    run(_practice(job))
    wall, cpu = time.perf_counter(), _cpu()
    answered = run(job)
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    if answered != job.count:
        sys.exit(f"{answered:,} of {job.count:,} rows were answered")
    print(json.dumps({"rows": answered, "wall": wall, "cpu": cpu, "rss": _peak()}))


def _practice(job: Job) -> Job:
    rows, out = job.out.with_name("practice-rows.jsonl"), job.out.with_name("practice.jsonl")
    count = min(PRACTICE, job.count)
    rows.write_bytes(b"".join(islice(job.lines(), count)))
    return replace(job, rows=rows, out=out, in_flight=min(8, job.in_flight), count=count)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> float:
    """MB. Not `ru_maxrss` on Linux, in which a child begins with what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

"""Shared part of all drivers, so that they are measured in the same way.

It uses only the standard library, because each driver has a separate environment.

    python NAME.py URL ROWS.jsonl OUT.jsonl IN_FLIGHT COUNT

A driver first runs 64 rows as a warm-up, because imports and lazy initialisation are not part of the cost of a row.
Then it runs COUNT rows and prints one line of JSON: `rows` answered, `wall` seconds, `cpu` seconds (user and system,
all threads, no child processes) and `rss` (peak in MB). All values except `rss` are those of the second run only.
They include opening the connections, for all drivers.
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
    """Task of a driver: read rows (`id`, `prompt`) from one file and write answers to another."""

    url: str
    rows: Path
    out: Path
    in_flight: int
    count: int

    def lines(self) -> Iterator[bytes]:
        """Yield the rows one at a time, as undecoded lines."""
        with self.rows.open("rb") as file:
            yield from islice(file, self.count)

    def read(self) -> list[dict[str, str]]:
        """Return all rows as a list, as typical scripts do."""
        return [json.loads(line) for line in self.lines()]


def drive(run: Callable[[Job], int]) -> None:
    """Warm up, measure `run`, which returns the number of answered rows, and print the measurements."""
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
    """Return the peak memory in MB. On Linux `ru_maxrss` is not used, because a child inherits its parent's value."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

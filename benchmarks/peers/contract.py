"""Shared part of all drivers, so that they are measured in the same way.

It uses only the standard library, because each driver has a separate environment.

    python NAME.py URL ROWS.jsonl OUT.jsonl IN_FLIGHT COUNT

A driver first runs 64 rows as a warm-up, because imports and lazy initialisation are not part of the cost of a row.
Then it runs COUNT rows and prints one line of JSON: `rows` answered, `wall` seconds, `cpu` seconds (user and system,
all threads, no child processes), `switches` (context switches) and `rss` (peak in MB). All values except `rss` are
those of the second run only. They include opening the connections, for all drivers.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

PRACTICE = int(os.environ.get("PRACTICE", "64"))
"""Number of rows of the warm-up; 0: none, if the whole command is measured from outside."""


@dataclass(frozen=True)
class Job:
    """Task of a driver: read rows (`id`, `prompt`) from one file and write answers to another."""

    url: str
    rows: Path
    out: Path
    in_flight: int
    count: int

    @property
    def key(self) -> str:
        """The API key that is sent."""
        return os.environ["OPENAI_API_KEY"]

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a call, for clients without an SDK."""
        return {"content-type": "application/json", "authorization": f"Bearer {self.key}"}

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
    if PRACTICE:
        run(_practice(job))
    wall, (cpu, switches) = time.perf_counter(), _used()
    answered = run(job)
    wall, (total_cpu, total_switches) = time.perf_counter() - wall, _used()
    spent = {"wall": wall, "cpu": total_cpu - cpu, "switches": total_switches - switches}
    if answered != job.count:
        sys.exit(f"{answered:,} of {job.count:,} rows were answered")
    print(json.dumps({"rows": answered, **spent, "rss": _peak()}))


def _practice(job: Job) -> Job:
    rows, out = job.out.with_name("practice-rows.jsonl"), job.out.with_name("practice.jsonl")
    count = min(PRACTICE, job.count)
    rows.write_bytes(b"".join(islice(job.lines(), count)))
    return replace(job, rows=rows, out=out, in_flight=min(8, job.in_flight), count=count)


def _used() -> tuple[float, int]:
    """Return the CPU seconds and the context switches of this process up to now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_nvcsw + used.ru_nivcsw


def _peak() -> float:
    """Return the peak memory in MB. On Linux `ru_maxrss` is not used, because a child inherits its parent's value."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

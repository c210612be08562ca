"""Limits of this machine on the calls in flight: open files, memory and cores."""

import os
import resource
from contextlib import suppress
from pathlib import Path

from manycall.control.concurrency_window import MAX_WINDOW

SPARE_FILES = 64
"""Open files reserved for other uses than connections: the output, the journal, the user's files."""
CALL_BYTES = 256 * 1024
"""Assumed memory of a call in flight: its row, request, connection and response."""
MEMORY_SHARE = 0.25


def max_in_flight() -> int:
    """Return the maximum number of calls in flight: limited by connections, memory and MAX_WINDOW."""
    return max(1, min(MAX_WINDOW, max_connections(), int(MEMORY_SHARE * _memory() / CALL_BYTES)))


def max_connections() -> int:
    """Return the maximum number of connections, limited by open files (`ulimit -n`, raised as far as permitted)."""
    files = _files()
    return files - min(SPARE_FILES, files // 2)


def max_permits(concurrency: int | None) -> int:
    """Return how many calls may be in flight: as the user says, as far as there are connections, or `max_in_flight`."""
    return max_in_flight() if concurrency is None else min(concurrency, max_connections())


def _files() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_WINDOW if hard == resource.RLIM_INFINITY else min(hard, 2 * MAX_WINDOW)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # some systems allow less than they report
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * MAX_WINDOW if soft == resource.RLIM_INFINITY else soft


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> float:
    """Return the available memory in bytes."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    return 4e9  # assumed on systems other than Linux

"""How many calls this machine can have in flight, whatever the servers say."""

import os
import resource
from contextlib import suppress
from pathlib import Path

from manycall.control.window import MOST

SPARE_FILES = 64
"""Open files that are not connections: the output, the journal, what the user has open."""
CALL_BYTES = 256 * 1024
"""What a call in flight may take: its row, its request, its connection, its reply."""
MEMORY_SHARE = 0.25


def most_in_flight() -> int:
    """As many as there can be connections, and memory lasts for; at most MOST."""
    return max(1, min(MOST, most_connections(), int(MEMORY_SHARE * _memory() / CALL_BYTES)))


def most_connections() -> int:
    """As many as files can be opened (`ulimit -n`, which we raise as far as we may)."""
    files = _files()
    return files - min(SPARE_FILES, files // 2)


def _files() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST if hard == resource.RLIM_INFINITY else min(hard, 2 * MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * MOST if soft == resource.RLIM_INFINITY else soft


def cores() -> int:
    """On how many this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> float:
    """Bytes that are free for us."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    return 4e9  # not Linux: it does not say

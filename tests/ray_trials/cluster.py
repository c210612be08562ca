"""A Ray cluster on this machine: each node has a raylet and workers."""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""Without the first one, Ray uses the address of the network on Linux. Ray reads both when it is imported."""
STORE_BYTES = 80 << 20
"""The least that a node's object store may have (ray_constants.OBJECT_STORE_MINIMUM_MEMORY_BYTES is 75 MiB)."""
ADOPT_ORPHANS = 36
"""PR_SET_CHILD_SUBREAPER of linux/prctl.h."""


class Nodes:
    """A cluster that is up.

    Attributes:
        address: of its head.
    """

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address: str = cluster.address

    def add(self, cores: int) -> Any:
        """Add a node."""
        return self._cluster.add_node(
            num_cpus=cores, object_store_memory=STORE_BYTES, node_ip_address="127.0.0.1", include_dashboard=False
        )

    def remove(self, node: Any) -> None:
        """Let a node end as if its machine had lost its power."""
        self._cluster.remove_node(node, allow_graceful=False)


@contextmanager
def cluster(cores: int) -> Iterator[Nodes]:
    """Start a cluster of one node, the head. At the end no process is left."""
    os.environ.update(ON_LOOPBACK)
    ctypes.CDLL(None).prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    from ray.cluster_utils import Cluster

    head = {"num_cpus": cores, "object_store_memory": STORE_BYTES, "node_ip_address": "127.0.0.1"}
    up = Cluster(initialize_head=True, head_node_args={**head, "include_dashboard": False})
    try:
        yield Nodes(up)
    finally:
        with contextlib.suppress(Exception):
            up.shutdown()
        sweep()


def raylet(node: Any) -> int:
    """Return the process id of a node's raylet."""
    return int(node.all_processes["raylet"][0].process.pid)


def parent_of(process: int) -> int:
    """Return the parent of a process; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that these have started."""
    parents = {int(each.name): parent_of(int(each.name)) for each in Path("/proc").iterdir() if each.name.isdecimal()}
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def sweep(seconds: float = 5.0) -> None:
    """End all processes that this one has started: after a killed head, some ignore SIGTERM."""
    deadline = time.monotonic() + seconds
    while (left := descendants(os.getpid())) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(OSError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.05)

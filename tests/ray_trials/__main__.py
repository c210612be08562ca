"""All trials, or some: `python -m ray_trials actor_killed`. Ends with 1 if something was not as promised."""

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ray_trials import faults
from ray_trials.cluster import Nodes, cluster, sweep
from ray_trials.ground import LATENCY, Ground, begin, end, generate_words
from shell import rows, sim

Trial = Callable[[Ground], list[str]]
TOGETHER: list[tuple[Trial, ...]] = [
    (faults.same_output,),
    (faults.actor_killed, faults.driver_killed, faults.rpc_failures),
    (faults.node_removed,),
    (faults.raylet_frozen,),
]
"""The trials of a line run at the same time."""
CORES = 3
"""Of each of the two nodes, as Ray counts them: two for each trial of a line."""
MAX_SECONDS = 240


def main(names: list[str]) -> int:
    """Try, and print a line for each trial."""
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(MAX_SECONDS)
    began = time.monotonic()
    groups = [[getattr(faults, each)] for each in names] or TOGETHER
    with tempfile.TemporaryDirectory(prefix="ray-trials-") as name, cluster(CORES) as nodes:
        nodes.add(CORES)
        answers = undisturbed(Path(name))
        print(f"a cluster and a run in one process: {time.monotonic() - began:.1f} s", flush=True)
        attempt = partial(_try, nodes, Path(name), answers)
        succeeded: list[bool] = []
        with ThreadPoolExecutor() as threads:
            for group in groups:  # Ray adds nodes in the main thread only
                succeeded += threads.map(attempt, group) if len(group) > 1 else map(attempt, group)
    return 0 if all(succeeded) else 1


def undisturbed(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a run in one process, by id."""
    (calm := folder / "calm").mkdir()
    with sim("--latency", "0") as server:
        assert end(begin(*generate_words(calm, server))).code == 0
    return {str(row["id"]): row for row in rows(calm / "out.jsonl")}


def _try(nodes: Nodes, folder: Path, answers: dict[str, dict[str, Any]], trial: Trial) -> bool:
    began = time.monotonic()
    (own := folder / trial.__name__).mkdir()
    with sim(*LATENCY) as server:
        try:
            found = trial(Ground(nodes, server, own, answers))
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
    print(f"{trial.__name__}: {'; '.join(found) or 'as promised'} ({time.monotonic() - began:.1f} s)", flush=True)
    return not found


def _give_up(signum: int, frame: object) -> None:
    sweep()
    sys.exit(f"not done after {MAX_SECONDS} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

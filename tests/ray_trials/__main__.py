"""All trials, or some: `python -m ray_trials actor_killed`. Ends with 1 if something was not as promised."""

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ray_trials import faults
from ray_trials.cluster import cluster, sweep
from ray_trials.ground import LATENCY, Ground, begin, end, generate_words
from shell import rows, sim

TRIALS: dict[str, Callable[[Ground], list[str]]] = {
    each.__name__: each
    for each in (
        faults.same_output, faults.actor_killed, faults.driver_killed, faults.node_removed, faults.raylet_frozen,
        faults.rpc_failures,
    )
}  # fmt: skip
MAX_SECONDS = 240


def main(names: list[str]) -> int:
    """Try, and print a line for each trial."""
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(MAX_SECONDS)
    broken = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ray-trials-") as name, cluster(cores=2) as nodes:
        folder = Path(name)
        nodes.add(cores=2)
        (calm := folder / "calm").mkdir()
        with sim("--latency", "0") as server:
            assert end(begin(*generate_words(calm, server))).code == 0
        answers = {str(row["id"]): row for row in rows(calm / "out.jsonl")}
        print(f"a cluster and a run in one process: {time.monotonic() - began:.1f} s", flush=True)
        for name in names or TRIALS:
            began = time.monotonic()
            (own := folder / name).mkdir()
            with sim(*LATENCY) as server:
                try:
                    found = TRIALS[name](Ground(nodes, server, own, answers))
                except Exception as error:
                    found = [f"{type(error).__name__}: {error}"]
            print(f"{name}: {'; '.join(found) or 'as promised'} ({time.monotonic() - began:.1f} s)", flush=True)
            broken += bool(found)
    return 1 if broken else 0


def _give_up(signum: int, frame: object) -> None:
    sweep()
    sys.exit(f"not done after {MAX_SECONDS} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Real processes and real faults: nothing lost, nothing twice. `make torture` tries for long, test_torture.py shortly.

A trial is a function of a `Plan` that returns a `Result`; it is tried because it stands in `TRIALS`.
"""

from torture import chaos, clocks, disk, endings, frozen, inputs, kills, restart, scoring, states, two, workers
from torture.trial import Plan, Result, Trial, suite

TRIALS: dict[str, Trial] = {
    "kills": kills.trial,
    "disk": disk.trial,
    "two": two.trial,
    "changing-input": inputs.trial,
    "frozen": frozen.trial,
    "clocks": clocks.trial,
    "restart": restart.trial,
    "chaos": chaos.trial,
    "workers": workers.trial,
    "scoring": scoring.trial,
    "signals": suite("test_kill.py"),
    "endings": endings.trial,
    "faults": suite(
        "test_faults.py",
        "test_faults_limits.py",
        "test_faults_network.py",
        "test_faults_memory.py",
        "test_servers_quirks.py",
    ),
    "crashes": states.crashes,
    "fuzzing": states.fuzzing,
    "leaks": states.leaks,
}

__all__ = ["TRIALS", "Plan", "Result"]

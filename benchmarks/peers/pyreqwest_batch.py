"""The bare pyreqwest loop with the scheduling policy SCHED_BATCH (Linux), as manycall sets it.

The thread of the HTTP library wakes the loop's thread for each answer, and is then not preempted by it.
"""

import os

import uvloop

from contract import Job, drive
from pyreqwest_loop import loop


def run(job: Job) -> int:
    """Set the policy, which new threads inherit, and run the same loop."""
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return uvloop.run(loop(job))


if __name__ == "__main__":
    drive(run)

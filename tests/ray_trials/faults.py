"""What may happen to a run on a cluster, and what it should write without accidents."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ray_trials.cluster import parent_of, raylet
from ray_trials.ground import IN_FLIGHT, SECONDS, Ground, end
from shell import sim

RPC_FAILURES = '{"*": {"num_failures": 50, "req_failure_prob": 10, "resp_failure_prob": 10}}'
"""Of every kind of call within Ray, 10 % of the requests and of the replies are lost, 50 in all (ray_config_def.h)."""


def same_output(ground: Ground) -> list[str]:
    """Every kind of job writes what it writes in one process (verbs.py)."""
    with sim("--latency", "0.02", "--token-latency", "0", "--answer-key", "wordmath") as server:
        script = str(Path(__file__).with_name("verbs.py"))
        words = [sys.executable, script, server.url, ground.nodes.address, str(ground.folder)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(words, capture_output=True, text=True, timeout=2 * SECONDS, check=False, env=environment)
    return [text] if (text := (done.stdout + done.stderr).strip()) else []


def actor_killed(ground: Ground) -> list[str]:
    """One of two workers is killed: the run goes on, and another worker takes its place."""
    process = ground.begin("--processes", "2")
    workers = ground.wait_for_workers(process, lambda found: len(found) == 2)
    os.kill(workers[1], signal.SIGKILL)
    return ground.violations(end(process), lost_calls=IN_FLIGHT)


def driver_killed(ground: Ground) -> list[str]:
    """The command is killed, and Ray ends its workers. The same command with another number of them goes on."""
    process = ground.begin("--processes", "2")
    ground.wait_for_workers(process, lambda found: len(found) == 2)
    process.kill()
    process.communicate()
    return ground.violations(end(ground.begin("--processes", "1")), lost_calls=IN_FLIGHT)


def node_removed(ground: Ground) -> list[str]:
    """A node loses its power, with the worker on it. The other worker finishes the rows."""
    node = ground.nodes.add(cores=1)
    process = ground.begin("--processes", "3")
    ground.wait_for_workers(process, lambda found: any(parent_of(each) == raylet(node) for each in found))
    ground.nodes.remove(node)
    return ground.violations(end(process), lost_calls=IN_FLIGHT)


def raylet_frozen(ground: Ground) -> list[str]:
    """The raylet of a node answers nothing for a while, and its workers go on."""
    node = ground.nodes.add(cores=1)
    process = ground.begin("--processes", "3")
    ground.wait_for_workers(process, lambda found: any(parent_of(each) == raylet(node) for each in found))
    os.kill(raylet(node), signal.SIGSTOP)
    try:
        ended = end(process)
    finally:
        os.kill(raylet(node), signal.SIGCONT)
        time.sleep(0.2)
        ground.nodes.remove(node)
    return ground.violations(ended, lost_calls=IN_FLIGHT)


def rpc_failures(ground: Ground) -> list[str]:
    """Calls between the driver and Ray are lost."""
    process = ground.begin("--processes", "2", RAY_testing_rpc_failure=RPC_FAILURES)
    return ground.violations(end(process), lost_calls=0)

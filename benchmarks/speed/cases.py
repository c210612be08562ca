"""The measured cases, one function each, which returns its runs. `Plan` holds the extent of the measurement."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from speed.clients import BARE, CLIENTS, FLOOR, IN_FLIGHT, OURS, SCRIPT, Client
from speed.measure import Run, clear, command, environment, measure, rows, tell
from speed.servers import lean, nginx, on, quick, wrk

SLOW = 8
"""Seconds. In the short form, a client that takes longer is run once instead of three times."""


class Plan(msgspec.Struct):
    """Extent of the measurement.

    Attributes:
        folder: Folder for rows and outputs, which is removed at the end.
        clients: The measured clients.
        in_flight: Numbers of calls in flight.
        rounds: Number of rounds.
        scale: Factor for the numbers of rows in `clients.py`.
        long: Whether slow clients also have all rounds.
    """

    folder: Path
    clients: tuple[Client, ...] = CLIENTS
    in_flight: tuple[int, ...] = IN_FLIGHT
    rounds: int = 3
    scale: float = 1.0
    long: bool = False

    def has(self, *clients: Client) -> list[Client]:
        """Return the selected ones of these clients."""
        return [client for client in clients if client in self.clients]

    def count(self, rows: float) -> int:
        """Return the scaled number of rows."""
        return max(64, int(rows * self.scale))


def cost(plan: Plan) -> Iterator[Run]:
    """Measure CPU per row and rows per second with a server that answers immediately."""
    with quick(plan.folder) as url:
        for in_flight in plan.in_flight:
            at = IN_FLIGHT.index(in_flight)
            chosen = {client: plan.count(each) for client in plan.clients if (each := client.rows[at]) is not None}
            for turn in range(plan.rounds):
                if (load := wrk(url, in_flight, plan.folder)) is not None:
                    yield tell(Run("cost", "wrk", in_flight, turn, load.requests, load.wall, load.cpu))
                yield from _in_turn(plan, chosen, url, in_flight, "cost", turn)


def _in_turn(
    plan: Plan, chosen: dict[Client, int], url: str, in_flight: int, case: str, turn: int, trust: str = "",
    core: int | None = 0,
) -> Iterator[Run]:  # fmt: skip
    """Run every client once, so that a disturbance of the machine affects all of them.

    A client that failed is not run again. In the short form, neither is a slow one.
    """
    for client, count in list(chosen.items()):
        run = tell(measure(client, url, plan.folder, in_flight, count, case=case, turn=turn, trust=trust, core=core))
        if run.fault or (run.wall > SLOW and not plan.long):
            del chosen[client]
        yield run


def unpinned(plan: Plan) -> Iterator[Run]:
    """Measure the cost of a row if clients and server may use all cores, as they do in ordinary use."""
    with quick(plan.folder, core=None) as url:
        for at, in_flight in enumerate(IN_FLIGHT[:3]):
            if in_flight not in plan.in_flight:
                continue
            chosen = {each: plan.count(each.rows[at] or 0) for each in plan.has(OURS, BARE, FLOOR)}
            for turn in range(2 * plan.rounds):
                yield from _in_turn(plan, chosen, url, in_flight, "unpinned", turn, core=None)


def makespan(plan: Plan) -> Iterator[Run]:
    """Compare the run time with the possible minimum: ten waves of calls that take 1 s each, and sixty of 50 ms."""
    for in_flight, delay, waves in ((64, 0.05, 60), (512, 1.0, 10), (4096, 1.0, 10)):
        if in_flight not in plan.in_flight:
            continue
        with lean(delay) as server:
            for turn in range(plan.rounds):
                for client in plan.has(*((OURS, FLOOR) if plan.long or not turn else (OURS,))):
                    count = plan.count(in_flight * waves)
                    yield tell(
                        measure(client, server.url, plan.folder, in_flight, count, case=f"{delay:g} s", turn=turn)
                    )


def tls(plan: Plan) -> Iterator[Run]:
    """Measure the cost of a row over TLS with 64 calls in flight."""
    if not (shutil.which("nginx") and shutil.which("openssl")):
        print("nginx or openssl is not installed; skipping TLS", file=sys.stderr)
        return
    chosen = {client: plan.count(0.7 * (client.rows[1] or 0)) for client in plan.has(OURS, SCRIPT, BARE, FLOOR)}
    with nginx(plan.folder / "tls", tls=True) as url:
        for turn in range(plan.rounds):
            yield from _in_turn(plan, chosen, url, 64, "tls", turn, str(plan.folder / "tls" / "cert.pem"))


def memory(plan: Plan) -> Iterator[Run]:
    """Measure peak memory for few and for many rows, and then the time to resume the large run with new rows."""
    if OURS not in plan.clients:
        return
    sizes = (10_000, 1_000_000)
    with quick(plan.folder) as url:
        for size in sizes:
            yield tell(measure(OURS, url, plan.folder, 64, plan.count(size), case="memory", limit=900))
    yield from _resume(plan, plan.count(sizes[-1]))


def _resume(plan: Plan, done: int) -> Iterator[Run]:
    """Measure resuming an output of `done` rows with 64 more rows."""
    out = plan.folder / "out.jsonl"
    for turn in range(plan.rounds if plan.long else 1):
        more = rows(plan.folder, done + 64 * (turn + 1))
        yield _first_call("resume", "manycall generate", _generate(more, out), turn, rows=done)


def _generate(source: Path, out: Path) -> list[str]:
    words = ("generate", "-p", "{{ prompt }}", str(source), "-m", "mock", "-o", str(out), "-j", "64", "-u")
    return [sys.executable, "-m", "manycall", *words, "URL"]


def _first_call(case: str, who: str, words: list[str], turn: int, **more: int) -> Run:
    """Return the seconds from the start of a process until its first call reaches the server."""
    with lean() as server:
        words = [server.url if word == "URL" else word for word in words]
        began = time.monotonic()
        with on(0):
            done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    fault = "" if server.first else (done.stderr.strip().splitlines() or ["no call came"])[-1]
    return tell(Run(case, who, 64, turn, wall=server.first - began, fault=fault, **more))


def start(plan: Plan) -> Iterator[Run]:
    """Measure the seconds of a new process for the help, the import and the first call."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import manycall": [sys.executable, "-c", "import manycall"],
        "manycall --help": [sys.executable, "-m", "manycall", "--help"],
    }
    for turn in range(2 * plan.rounds + 1):
        for who, words in commands.items():
            began = time.monotonic()
            with on(0):
                subprocess.run(words, env=environment(), capture_output=True, check=True, timeout=60)
            yield tell(Run("start", who, 0, turn, wall=time.monotonic() - began))
    source, out = rows(plan.folder, 64), plan.folder / "out.jsonl"
    for turn in range(plan.rounds):
        clear(plan.folder)
        yield _first_call("first", "manycall generate", _generate(source, out), turn)
        for client in plan.clients:
            if client.venv and (plan.long or not turn):
                clear(plan.folder)
                yield _first_call("first", client.label, command(client, "URL", source, out, 64, 64), turn)


CASES = {"cost": cost, "unpinned": unpinned, "makespan": makespan, "tls": tls, "memory": memory, "start": start}

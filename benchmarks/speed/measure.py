"""Run one client in a separate process and measure it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from speed.clients import PEERS, Client
from speed.servers import KEY, on

TOO_LONG = 60
"""Seconds after which a run is aborted. Its cell in the table is then a dash."""
PROMPT = "Why is the sky blue by day, red in the evening and black at night? " * 15


class Run(msgspec.Struct):
    """Measurements of one run: `wall` and `cpu` in seconds, `rss` in MB; `fault` is the reason if it failed.

    `switches` is the number of context switches of all threads, voluntary or not.

    Attributes:
        case: Case of the benchmark.
        who: Label of the client.
        round: Number of the round. The runs of one round follow each other directly.
    """

    case: str
    who: str
    in_flight: int
    round: int = 0
    rows: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    rss: float = 0.0
    switches: int = 0
    fault: str = ""

    @property
    def per_row(self) -> float:
        """CPU per row in µs."""
        return 1e6 * self.cpu / self.rows

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.wall


def environment(trust: str = "") -> dict[str, str]:
    """Return the environment of a client's process: a made-up key and no proxy. Bytecode is cached, as for users."""
    removed = ("_proxy", "pythondontwritebytecode")
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith(removed)}
    return {**kept, "OPENAI_API_KEY": KEY, "NO_PROXY": "*", **({"SSL_CERT_FILE": trust} if trust else {})}


def rows(folder: Path, count: int) -> Path:
    """Return a file of `count` rows with prompts of 1 KB."""
    path = folder / f"rows-{count}.jsonl"
    if not path.exists():
        with path.open("w") as file:
            file.writelines(json.dumps({"id": f"r{n:07}", "prompt": f"{n}: {PROMPT}"}) + "\n" for n in range(count))
    return path


def command(client: Client, url: str, source: Path, out: Path, in_flight: int, count: int) -> list[str]:
    """Return the command that starts a client's driver (peers/contract.py)."""
    driver = PEERS / f"{client.driver}.py"
    return [client.python, *map(str, (driver, url, source, out, in_flight, count))]


def measure(
    client: Client, url: str, folder: Path, in_flight: int, count: int, *, case: str = "", turn: int = 0,
    trust: str = "", limit: float = TOO_LONG, core: int | None = 0,
) -> Run:  # fmt: skip
    """Run a client once. The output stays in `folder/out.jsonl`; the output of an earlier run is removed first.

    Args:
        trust: Certificate to trust.
        limit: Seconds after which the run is aborted.
        core: 0: on the first core only; None: on all cores.
    """
    out, run = folder / "out.jsonl", Run(case, client.label, in_flight, turn)
    clear(folder)
    words = command(client, url, rows(folder, count), out, in_flight, count)
    try:
        with on(core):
            done = subprocess.run(  # in a separate session, which Linux schedules as one group
                words, env=environment(trust), capture_output=True, text=True, timeout=limit, check=False,
                start_new_session=True,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        return msgspec.structs.replace(run, fault=f"not done in {limit} s")
    if done.returncode != 0:
        return msgspec.structs.replace(run, fault=(done.stderr.strip().splitlines() or ["no word"])[-1][:300])
    said = json.loads(done.stdout.splitlines()[-1])
    if client.writes and (written := _lines(out)) < count:
        return msgspec.structs.replace(run, fault=f"{written:,} of {count:,} rows were written")
    return msgspec.structs.replace(run, **said)


def clear(folder: Path) -> None:
    """Remove the files that a run has written."""
    for path in (*folder.glob("practice*"), *folder.glob("out*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))


def tell(run: Run) -> Run:
    """Print the run to stderr and return it."""
    what = f"{run.wall:8.3f} s"
    if run.cpu:
        what = f"{run.per_row:8,.1f} µs CPU a row, {run.rate:8,.0f} rows/s, {run.wall:5.1f} s, {run.rss:4.0f} MB"
    print(f"{run.case:8} {run.in_flight:5} {run.who:36} {run.fault or what}", file=sys.stderr, flush=True)
    return run

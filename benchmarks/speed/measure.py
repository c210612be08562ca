"""One run of one client in a process of its own, and rounds of them in turn."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from speed.clients import PEERS, Client
from speed.servers import on

TOO_LONG = 60
"""Seconds after which a run is given up; its cell is then a dash."""
PROMPT = "Why is the sky blue by day, red in the evening and black at night? " * 15


class Run(msgspec.Struct):
    """What one run took. `wall` and `cpu` in seconds, `rss` in MB; `fault` says why there is nothing.

    Attributes:
        case: which part of the benchmark.
        who: the client's label.
        round: runs of one round were made in turn, one after the other.
    """

    case: str
    who: str
    in_flight: int
    round: int = 0
    rows: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    rss: float = 0.0
    fault: str = ""

    @property
    def per_row(self) -> float:
        """CPU of a row, in µs."""
        return 1e6 * self.cpu / self.rows

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.wall


def environment(trust: str = "") -> dict[str, str]:
    """What a client's process finds: no key, no proxy, room for its connections."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "OPENAI_API_KEY": "EMPTY", "NO_PROXY": "*", **({"SSL_CERT_FILE": trust} if trust else {})}


def rows(folder: Path, count: int) -> Path:
    """A file of so many rows with prompts of 1 KB."""
    path = folder / f"rows-{count}.jsonl"
    if not path.exists():
        with path.open("w") as file:
            file.writelines(json.dumps({"id": f"r{n:07}", "prompt": f"{n}: {PROMPT}"}) + "\n" for n in range(count))
    return path


def command(client: Client, url: str, source: Path, out: Path, in_flight: int, count: int) -> list[str]:
    """The words that start a client's driver (peers/contract.py)."""
    driver = PEERS / f"{client.driver}.py"
    return [client.python, *map(str, (driver, url, source, out, in_flight, count))]


def measure(
    client: Client, url: str, folder: Path, in_flight: int, count: int, *, case: str = "", turn: int = 0,
    trust: str = "", limit: float = TOO_LONG,
) -> Run:  # fmt: skip
    """One run. The output stays as `folder/out.jsonl`; what an earlier run left there is removed before.

    `trust`: the certificate to trust; `limit`: seconds after which it is given up.
    """
    out, run = folder / "out.jsonl", Run(case, client.label, in_flight, turn)
    clear(folder)
    words = command(client, url, rows(folder, count), out, in_flight, count)
    try:
        with on(0):
            done = subprocess.run(
                words, env=environment(trust), capture_output=True, text=True, timeout=limit, check=False
            )
    except subprocess.TimeoutExpired:
        return msgspec.structs.replace(run, fault=f"not done in {limit} s")
    if done.returncode != 0:
        return msgspec.structs.replace(run, fault=(done.stderr.strip().splitlines() or ["no word"])[-1][:300])
    said = json.loads(done.stdout.splitlines()[-1])
    if client.writes and (written := _lines(out)) < count:
        return msgspec.structs.replace(run, fault=f"{written:,} of {count:,} rows were written")
    return msgspec.structs.replace(run, **said)


def clear(folder: Path) -> None:
    """Remove what a run has written."""
    for path in (*folder.glob("practice*"), *folder.glob("out*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))


def tell(run: Run) -> Run:
    """The same run, which is told on stderr."""
    what = f"{run.wall:8.3f} s"
    if run.cpu:
        what = f"{run.per_row:8,.1f} µs CPU a row, {run.rate:8,.0f} rows/s, {run.wall:5.1f} s, {run.rss:4.0f} MB"
    print(f"{run.case:8} {run.in_flight:5} {run.who:36} {run.fault or what}", file=sys.stderr, flush=True)
    return run

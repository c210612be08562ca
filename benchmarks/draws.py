"""Run many short rows with two random variables, kill the run twice, and check memory and reproducible prompts.

    python benchmarks/draws.py 1000000

Prints a line for each session (rows, peak memory). Then checks that every id occurs once and that every row has the
values that the seed determines, and prints a hash over all prompts in the order of the ids, to compare with other runs.
Needs Linux (/proc).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from manycall.data.variables import VariableSampler

TOPICS = [f"topic {n}" for n in range(1000)]
TONES = {"formal": 3, "casual": 1}
PROMPT = "Write of {{ topic }} in a {{ tone }} tone."
SIM = "sim:latency=0,token_latency=0,tokens=10,slots=4096"


def command(folder: Path, rows: int, seed: int) -> list[str]:
    """Return the command of the run, which is the same for every session."""
    (folder / "topics.txt").write_text("\n".join(TOPICS))
    (folder / "tone.toml").write_text("tone = {formal = 3, casual = 1}\n")
    variables = "--random-var topic=topics.txt --random-var tone.toml"
    words = f"generate -n {rows} --seed {seed} {variables} -u {SIM} -m any -o out.jsonl"
    return [sys.executable, "-m", "manycall", *words.split(), "--no-progress", "-p", PROMPT]


def lines(path: Path) -> int:
    """Count the complete lines of a file that may still be growing."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def session(words: list[str], folder: Path, until: int | None) -> float:
    """Run to the end, or kill -9 the run after `until` rows; return the peak memory in MiB."""
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _peak(process.pid))
        if until is not None and lines(folder / "out.jsonl") >= until:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(0.2)
    if until is None and process.returncode:
        sys.exit(f"the last session ended with {process.returncode}")
    return peak


def _peak(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def output(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows one at a time."""
    with path.open("rb") as file:
        yield from map(json.loads, file)


def check(folder: Path, rows: int, seed: int) -> str:
    """Compare each row with the values that the seed determines; return the hash of all prompts."""
    draw = VariableSampler({"topic": TOPICS, "tone": TONES}, seed)
    seen = bytearray(rows)
    for row in output(folder / "out.jsonl"):
        number = int(row["id"])
        assert not seen[number], f"{number} is listed twice"
        seen[number] = 1
        expected = draw.sample(str(number), {})
        assert (row["topic"], row["tone"]) == (expected["topic"], expected["tone"]), row
    assert all(seen), "a row is missing"
    digest = blake2b(digest_size=8)
    for number in range(rows):
        made = draw.sample(str(number), {})
        digest.update(f"{number} {made['topic']} {made['tone']}\n".encode())
    return digest.hexdigest()


def main() -> None:
    """Run three sessions, of which the first two are killed, and check the result."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("rows", type=int, nargs="?", default=20_000)
    options.add_argument("--seed", type=int, default=7)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = command(folder, given.rows, given.seed)
        for until in (given.rows // 3, 2 * given.rows // 3, None):
            began = time.monotonic()
            peak = session(words, folder, until)
            done, seconds = lines(folder / "out.jsonl"), time.monotonic() - began
            print(f"{done:,} rows after {seconds:.0f} s, {peak:.0f} MiB at most", "" if until is None else "(killed)")
        print(f"every id once, all values as determined by the seed: {check(folder, given.rows, given.seed)}")
        paid = lines(folder / "out.jsonl.run" / "calls.jsonl")
        print(f"{paid:,} calls in the journal")


if __name__ == "__main__":
    main()

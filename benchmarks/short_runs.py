"""Short runs over HTTP: whole commands without `-j`, with the best fixed `-j`, and with other clients.

Writes a table of docs/performance.md. Run it with `make short-runs` on an idle machine; it takes half an hour. The
server is `manycall sim` in a separate process, a new one for each run.

Inspect and lm-evaluation-harness are not run. Their columns are computed from their default number of calls in flight:
rows x mean seconds of a call / calls in flight, without any overhead. The defaults: `--max-connections 10`
(https://inspect.aisi.org.uk/models-concurrency.html) and `num_concurrent=1` (lm_eval 0.4.13, models/api_models.py).
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from commands import AUTOMATIC, SCRIPT_ENVIRONMENT, best_fixed, evaluate, generate, medians, seconds, write_rows
from manycall.sim.process import SimProcess
from scenarios.page import markdown, replace_between
from speed.clients import PEERS, SCRIPT, install

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
STANDARD = 64
"""Fixed setting of the column `-j 64`, and of the script's semaphore."""
OTHER_DEFAULTS = {"Inspect's default, 10²": 10, "lm-eval's default, 1²": 1}


class Case(msgspec.Struct):
    """One short run.

    Attributes:
        name: Description, for the table.
        rows: Number of rows.
        sim: Settings of the simulated server.
        mean: Mean duration of a call in seconds.
        sweep: The fixed settings that are tried.
        is_eval: Whether the command is `eval`; otherwise it is `generate`.
    """

    name: str
    rows: int
    sim: str
    mean: float
    sweep: tuple[int, ...]
    is_eval: bool = False


CASES = (
    Case("GSM8K-like: 1,319 rows, 1.1 s, 512 slots", 1_319, "sim:latency=1.1,token_latency=0,slots=512", 1.1,
         (128, 256, 512, 1_024), is_eval=True),
    Case("600 rows, 8 s, 512 slots", 600, "sim:latency=8,token_latency=0,slots=512", 8.0, (128, 256, 512, 600)),
    Case("300 rows, 0.1 to 30 s, 512 slots", 300, "sim:token_latency=0.01,tokens=270,spread=0.95,slots=512", 2.72,
         (32, 128, 300)),
)  # fmt: skip


def on_new_server(sim: str, command: Callable[[str], list[str]], run: Callable[[list[str]], float]) -> float:
    """Return the seconds of a command against a new simulated server."""
    server = SimProcess(sim)
    try:
        return run(command(server.start()))
    finally:
        server.stop()


def measure(case: Case, folder: Path, rounds: int, scale: float) -> tuple[str, ...]:
    """Return the row of the table of one case."""
    rows, out = max(16, round(case.rows * scale)), folder / "run" / "out.jsonl"
    source = write_rows(folder / f"rows-{rows}.jsonl", rows)
    make = evaluate if case.is_eval else generate
    sizes = sorted({STANDARD, *(min(size, rows) for size in case.sweep)})
    commands = {AUTOMATIC: make(source, out, "sim", None)}
    commands |= {f"-j {size}": make(source, out, "sim", size) for size in sizes}
    runs = {
        name: partial(on_new_server, case.sim, command, partial(seconds, out=out, rows=rows))
        for name, command in commands.items()
    }
    script_run = partial(seconds, out=out, rows=rows, environment=SCRIPT_ENVIRONMENT)
    runs["script"] = partial(on_new_server, case.sim, partial(script, source, out, rows), script_run)
    times = medians(runs, rounds)
    best = best_fixed(times, sizes)
    quickest = times[f"-j {best}"]
    return (
        case.name,
        f"{times[AUTOMATIC]:.1f} s",
        f"{quickest:.1f} s (`-j {best}`)",
        f"{times[AUTOMATIC] / quickest:.2f}",
        f"{times[f'-j {STANDARD}']:.1f} s",
        f"{times['script']:.1f} s",
        *(f"{math.ceil(rows / most) * case.mean:,.0f} s" for most in OTHER_DEFAULTS.values()),
    )


def script(source: Path, out: Path, rows: int, url: str) -> list[str]:
    """Return the command of the AsyncOpenAI script. Its rows have the field `prompt`."""
    prompts = source.with_name(f"prompts-{rows}.jsonl")
    prompts.write_text(source.read_text(encoding="utf-8").replace('"question":', '"prompt":'), encoding="utf-8")
    return [SCRIPT.python, *map(str, (PEERS / "script.py", url, prompts, out, STANDARD, rows))]


def main() -> None:
    """Measure all cases and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the numbers of rows, for a quick test")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    args = parser.parse_args()
    install((SCRIPT,))
    began = time.monotonic()
    heads = ("run", AUTOMATIC, "best fixed", "ratio", f"`-j {STANDARD}`", f"AsyncOpenAI, {STANDARD}", *OTHER_DEFAULTS)
    with tempfile.TemporaryDirectory() as folder:
        chosen = [case for case in CASES if args.only in case.name]
        table = [heads, *(measure(case, Path(folder), args.rounds, args.scale) for case in chosen)]
    minutes = (time.monotonic() - began) / 60
    note = f"{time.strftime('%Y-%m-%d')}, {minutes:.0f} minutes; medians of {args.rounds}. `²` computed, not run."
    print(markdown(table))
    print(note)
    if args.write:
        replace_between("make short-runs", [note, markdown(table)], PAGE)


if __name__ == "__main__":
    main()

"""CPU cost of a row, compared with other clients. Run it with `make bench` on an idle machine (docs/performance.md).

Every client runs in a separate process on the first core, the server on the last. Each peer has a virtual environment
under ~/.cache/manycall-bench (or $BENCH_HOME), which is created at first use. The runs are stored there as JSON.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from speed.cases import CASES, Plan
from speed.clients import CLIENTS, HOME, IN_FLIGHT, install, versions
from speed.measure import Run
from speed.table import Runs, report

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- table: make bench -->", "<!-- end of table -->"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="also run slow clients three times")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {PAGE.name}")
    parser.add_argument("--cases", default=",".join(CASES), help="only these cases, separated by commas")
    parser.add_argument(
        "--only", default="", help="only clients whose label contains one of these; separated by commas"
    )
    parser.add_argument(
        "--in-flight", default=",".join(map(str, IN_FLIGHT)), help="only these numbers of calls in flight"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows, for a quick test")
    return parser.parse_args()


def main() -> None:
    """Measure, print the tables and store the runs."""
    args, began, load = arguments(), time.monotonic(), os.getloadavg()[0]
    clients = tuple(one for one in CLIENTS if any(word in one.label for word in args.only.split(",")))
    install(clients)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # allow 4,096 connections, also in child processes
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(dir=HOME, prefix="run-") as folder:
        in_flight = tuple(map(int, args.in_flight.split(",")))
        plan = Plan(Path(folder), clients, in_flight, args.rounds, args.scale, args.long)
        for name in args.cases.split(","):
            runs.extend(CASES[name](plan))
    minutes = (time.monotonic() - began) / 60
    text = report(Runs(runs), versions(clients), load, minutes, "long" if args.long else "short")
    print(text)
    kept = HOME / f"runs-{time.strftime('%Y%m%d-%H%M%S')}.json"
    kept.write_bytes(msgspec.json.format(msgspec.json.encode(runs)))
    print(f"the runs: {kept}", file=sys.stderr)
    if args.write:
        write(text)


def write(text: str) -> None:
    """Replace the text between the markers of the page by the tables."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

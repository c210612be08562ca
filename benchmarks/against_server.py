"""Compare the automatic concurrency with fixed settings at your own server: whole commands, medians, a table.

    python benchmarks/against_server.py http://localhost:8000/v1 --model M --rows 200,1000 --sweep 8,16,32,64,128

The server should have no other users meanwhile. The first command warms it up and is not measured.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from commands import AUTOMATIC, best_fixed, generate, medians, seconds, write_rows
from scenarios.page import markdown


def numbers(text: str) -> list[int]:
    """Return numbers that are separated by commas."""
    return [int(word) for word in text.split(",")]


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="base URL of the server, which usually ends in /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=numbers, default=[200, 1_000], help="numbers of rows, separated by commas")
    parser.add_argument("--sweep", type=numbers, default=[8, 16, 32, 64, 128], help="fixed settings of -j")
    parser.add_argument("--max-tokens", type=int, default=128, help="maximum length of an answer; default: 128")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each setting; default: 3")
    return parser.parse_args()


def measure(args: argparse.Namespace, rows: int, folder: Path) -> tuple[str, ...]:
    """Return the row of the table for a number of rows."""
    source, out = write_rows(folder / f"rows-{rows}.jsonl", rows), folder / "run" / "out.jsonl"
    settings = {AUTOMATIC: None, **{f"-j {size}": size for size in args.sweep}}
    more = ("--max-tokens", str(args.max_tokens))
    commands = {name: generate(source, out, args.model, size, *more)(args.url) for name, size in settings.items()}
    seconds(commands[AUTOMATIC], out, rows)
    times = medians({name: partial(seconds, words, out, rows) for name, words in commands.items()}, args.rounds)
    best = best_fixed(times, args.sweep)
    ratio = f"{times[AUTOMATIC] / times[f'-j {best}']:.2f}"
    return (f"{rows:,}", *(f"{each:.1f} s" for each in times.values()), f"`-j {best}`", ratio)


def main() -> None:
    """Measure and print the table."""
    args = arguments()
    heads = ("rows", AUTOMATIC, *(f"`-j {size}`" for size in args.sweep), "best", "automatic / best")
    with tempfile.TemporaryDirectory() as folder:
        print(markdown([heads, *(measure(args, rows, Path(folder)) for rows in args.rows)]))


if __name__ == "__main__":
    main()

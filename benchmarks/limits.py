"""Benchmark of the concurrency control in virtual time: throughput of long runs, and the duration of short ones.

Writes the tables of docs/limits.md. Run it with `make sim`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any, NamedTuple

from scenarios import cache, long_figures, long_runs, page, run_classes, short_figures, short_results
from scenarios.rules import OWN

PROCESSES = 2


class Kind(NamedTuple):
    """A table of scenarios and how they are measured."""

    scenarios: Callable[[float], list[Any]]
    rules: Callable[[Any], list[str]]
    measure: Callable[[Any, str, int], Any]
    figures: type[Any]


KINDS = {
    "long": Kind(long_runs.scenarios, long_figures.rules, long_figures.measure, long_figures.Figures),
    "short": Kind(run_classes.short_runs, short_figures.rules, short_figures.measure, short_figures.Times),
}


class Job(NamedTuple):
    """One run of one scenario."""

    kind: str
    name: str
    rule: str
    seed: int


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds; the short runs use their means")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the numbers of rows")
    parser.add_argument("--rules", default="", help="only these rules, separated by commas (and the sweep)")
    parser.add_argument("--tables", default=",".join(KINDS), help="long, short or both (the default)")
    parser.add_argument("--fresh", action="store_true", help="make the stored reference runs again")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {page.PAGE.name}")
    return parser.parse_args()


def jobs(args: argparse.Namespace) -> Iterator[tuple[int, Job]]:
    """Yield (number of rows, job) of the chosen scenarios and rules."""
    for kind in args.tables.split(","):
        for scenario in KINDS[kind].scenarios(args.scale):
            if args.only not in scenario.name:
                continue
            for rule in KINDS[kind].rules(scenario):
                is_swept = rule.removeprefix("fixed ") in map(str, scenario.sweep)
                if not args.rules or is_swept or rule in args.rules.split(","):
                    yield from ((scenario.rows, Job(kind, scenario.name, rule, seed + 1)) for seed in range(args.seeds))


def run_job(job: Job, scale: float, fresh: bool) -> Any:
    """Make one run, or read its stored measurements if they do not depend on manycall's control."""
    kind = KINDS[job.kind]
    scenario = next(each for each in kind.scenarios(scale) if each.name == job.name)

    def measure() -> Any:
        return kind.measure(scenario, job.rule, job.seed)

    if job.rule in OWN:
        return measure()
    return cache.recall(scenario, job.rule, job.seed, kind.figures, measure, fresh=fresh)


def main() -> None:
    """Make all runs, the largest first, and print or write the tables."""
    args, began = arguments(), time.monotonic()
    measured: dict[Job, Any] = {}
    with ProcessPoolExecutor(PROCESSES) as pool:
        wanted = sorted(jobs(args), key=lambda each: -each[0])
        futures: dict[Future[Any], Job] = {pool.submit(run_job, job, args.scale, args.fresh): job for _, job in wanted}
        for count, future in enumerate(as_completed(futures), 1):
            measured[futures[future]] = future.result()
            if count % 100 == 0:
                print(f"{count} of {len(futures)} runs", file=sys.stderr, flush=True)
    seeds = f"Seeds 1 to {args.seeds}" if args.seeds > 1 else "Seed 1"
    made = "both tables" if "," in args.tables else "this table"
    heading = f"{seeds}; run time of {made} {(time.monotonic() - began) / 60:.0f} minutes."
    for kind, make, marker in (("long", long_text, page.LONG), ("short", short_text, page.SHORT)):
        if any(job.kind == kind for job in measured):
            parts = [heading, *make(args, measured)]
            print("\n\n".join(parts[1:]), flush=True)
            if args.write:
                page.replace_between(marker, parts)
    sys.exit(report_failed_rows(args, measured))


def long_text(args: argparse.Namespace, measured: dict[Job, Any]) -> list[str]:
    """Return the table of the long runs, one row for each scenario and seed."""
    lines = []
    for scenario in long_runs.scenarios(args.scale):
        for seed in range(1, args.seeds + 1):
            runs = {j.rule: each for j, each in measured.items() if (j.name, j.seed) == (scenario.name, seed)}
            if runs:
                lines.append(long_figures.line(scenario, runs))
    return [page.markdown([long_figures.HEADS, *(list(line.values()) for line in lines)]), long_figures.behind(lines)]


def short_text(args: argparse.Namespace, measured: dict[Job, Any]) -> list[str]:
    """Return the table of the classes, and the runs that miss their target."""
    results = []
    for run in run_classes.short_runs(args.scale):
        if runs := {(j.rule, j.seed): each for j, each in measured.items() if j.name == run.name}:
            results.append(short_results.compare(run, runs))
    missed = short_results.miss_table(results, page.reasons_on_page())
    heading = f"{len(missed) - 1} of {len(results)} runs miss a target:"
    parts = [page.markdown(short_results.class_table(results)), short_results.other_clients(results)]
    return [*parts, *([heading, page.markdown(missed)] if len(missed) > 1 else ["No run misses a target."])]


def report_failed_rows(args: argparse.Namespace, measured: dict[Job, Any]) -> int:
    """Print which runs of manycall's own rule had failed rows; return the exit code."""
    rows = {(kind, each.name): each.rows for kind, table in KINDS.items() for each in table.scenarios(args.scale)}
    failed = [(job, rows[job.kind, job.name] - each.done) for job, each in measured.items() if job.rule in OWN]
    for job, count in failed:
        if count:
            print(f"{job.name}, {job.rule}, seed {job.seed}: {count} rows failed", file=sys.stderr)
    return int(any(count for _, count in failed))


if __name__ == "__main__":
    main()
